"""A small share of `make fuzz`: no reader of strangers' bytes takes time that grows faster than their size."""

from __future__ import annotations

import ast
import json
import re
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import robmon
from robmon.inputs import codecs
from robmon.inputs.codecs import Row
from robmon.models.remote.as_sent import AsSent
from tests.growth.criterion import doubling, freeze_heap, measure
from tests.growth.hostile import RAW, around, counted, listed, repeated
from tests.growth.readers import LOOP_SECONDS, READERS, Reader, measured

PACKAGE = Path(robmon.__file__).parent
SMALL_BYTES = 2**14
MOST_GENERATORS = 8
"""Of each reader, spread over its list."""


@pytest.fixture(autouse=True, scope="module")
def _frozen_heap() -> None:
    """Else every measurement would begin with a look at all that other tests have left."""
    freeze_heap()


# --- the criterion ---------------------------------------------------------------------------------------------------

QUADRATIC = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)
"""How texts were once looked for in the head of a request: a quote that never closes is searched from every quote."""


def test_a_regular_expression_that_searches_again_from_every_quote_is_found() -> None:
    growth = measure(lambda head: list(QUADRATIC.finditer(head)), RAW["escaped quotes in an object"], 2**13)
    assert growth.is_superlinear
    assert growth.exponent > 1.5


def test_what_is_worse_than_linear_is_found_before_it_takes_minutes() -> None:
    def quadratic(content: bytes) -> int:
        return sum(content[at:].count(b"b") for at in range(0, len(content), 512))

    growth = measure(quadratic, repeated(b"a"), 2**26)
    assert growth.is_superlinear
    assert growth.sizes[-1] < 2**26


@pytest.mark.parametrize("read", [bytes.split, sorted, lambda content: content.count(b"a")])
def test_what_is_linear_but_for_a_logarithm_is_not(read: Any) -> None:
    growth = measure(read, RAW["noise"], 2**20)
    assert not growth.is_superlinear
    assert growth.sizes == tuple(2**power for power in range(16, 21))


def test_what_only_leaves_the_caches_is_not() -> None:
    growth = measure(json.loads, around(b"[", listed(b"[1]"), b"]"), 2**21)
    assert not growth.is_superlinear


def test_an_exception_that_is_none_of_the_readers_own_is_told() -> None:
    growth = measure(lambda content: [][len(content)], RAW["letters"], 4096)
    assert (growth.error, growth.sizes) == ("IndexError", (512,))


def test_sizes_end_with_the_bound() -> None:
    assert doubling(1000) == [125, 250, 500, 1000]
    assert doubling(2**23)[0] == 2**16


# --- the readers -----------------------------------------------------------------------------------------------------


def spread(reader: Reader) -> dict[str, Any]:
    """Some of its hostile bytes."""
    step = -(-len(reader.hostile) // MOST_GENERATORS)
    return dict(list(reader.hostile.items())[::step])


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_reader_is_worse_than_linear(reader: Reader) -> None:
    some = Reader(reader.name, reader.modules, reader.bound, reader.read, spread(reader))
    found = measured(some, SMALL_BYTES)
    assert [name for name, growth in found.items() if growth.is_superlinear or growth.error] == []


@pytest.mark.parametrize(
    ("reader", "generator"),
    [
        ("ids and attributes of a request", "escaped quotes in an object"),
        ("captured records", 'captured CSV: base64 of a wide header and short lines'),
        ("requests to MLflow, JSON", "split: as many columns as cells, one hash"),
        ("answers of a V2 endpoint, bytes", "many outputs"),
        ("MLmodel file", "merged aliases"),
        ("MLmodel file", "merged aliases of merged aliases"),
        ("MLmodel file", "numbers of base 60"),
        ("MLmodel file", "aliases of a large object as flavours"),
        ("memory of verdicts", "entries"),
        ("files of CSV", "a wide header and short lines"),
        ("files of CSV", "lines in a quote that never ends"),
    ],
)  # fmt: skip
def test_what_once_took_longer_is_linear_to_larger_sizes(reader: str, generator: str) -> None:
    [one] = [each for each in READERS if each.name == reader]
    growth = measure(one.read, one.hostile[generator], min(one.bound, 2**16))
    assert not growth.is_superlinear and not growth.error


def test_rows_of_many_columns_are_gathered_in_linear_time() -> None:
    """Alone: as a table they take so long anyway that it would be seen among millions of columns only."""

    def collect(names: bytes) -> None:
        AsSent().collect([Row(columns=dict.fromkeys(names.decode().split(","), 1.5))])

    growth = measure(collect, counted("a%d"), 2**18)
    assert not growth.is_superlinear and not growth.error


def test_what_runs_on_the_event_loop_has_a_small_bound() -> None:
    assert 0 < LOOP_SECONDS <= 0.05
    assert all(reader.bound <= 2**20 for reader in READERS if reader.on_loop)


# --- the list --------------------------------------------------------------------------------------------------------

READING = {
    "loads", "validate_json", "model_validate_json", "safe_load", "load", "reader", "frombuffer", "read_bytes",
    "read_text", "b64decode", "unquote", "unquote_to_bytes", "decompress", "decompressobj", "finditer", "fullmatch",
    "from_json", "ParquetFile", "read_csv", "read_parquet", "splitlines", "unpack_from",
}  # fmt: skip
"""Functions whose call makes a module one that may read strangers' bytes."""
NOT_STRANGERS = {
    "daemon.runner": "loads by asking the worker",
    "daemon.worker.host": "loads by asking the worker",
    "daemon.inputs.kafka_consumer": "files of whoever runs the daemon",
    "worker.model_here": "loads the model, which is code",
    "inputs.codecs": "hands on to the codecs, which are in the list",
    "models.signature.casting": "cells that a codec has read",
    "models.registry.asking": "an error of MLflow's own client",
    "models.registry.download": "the mark of a folder, which robmon wrote",
    "models.registry.registry": "hands artifacts on: a baseline is in the list",
    "models.signature.signature": "MLflow reads it, from a file that `models.mlmodel` has read before",
    "robustness.features.codes": "a name of a setting",
    "models.bearer": "a file of whoever runs the daemon",
    "cli": "what a person types",
    "audit": "files of the person who asks, and results that robmon wrote",
    "models.registry.listing": "why the person's filter was refused",
    "report.html.document": "robmon's own templates",
    "robustness.probes.advice.onnx_reading": "loads the model of the person who asks",
    "incident": "a bundle of the person who asks",
    "hardening.module": "loads the model, which is code",
    "hardening.registration": "loads the model, which is code, and reads the files of it that robmon has written",
    "demo": "robmon's own",
    "library.baselines": "files of the person who asks",
    "processes.guest": "the kernel's files",
    "inputs.files": "a file of the person who asks",
    "inputs.readers.listing": "names, not content",
    "reader.tailer": "hands on what the readers of each kind of file read",
    "worker.judging": "messages of the daemon",
    "processes.channel": "of robmon's own processes",
    "processes.template": "what a copy of our own process told",
    "models.uri": "settings",
    "models.loading": "loads the model, which is code",
    "models.outputs.outputs": "what the model returns",
    "models.flavours.pyfunc_predictor": "loads the model, which is code",
    "models.flavours.torch_module": "loads the model, which is code",
    "models.registry.registry_access": "files of whoever runs the daemon",
    "settings": "of whoever runs the daemon",
    "models.strangers": "source code that is installed",
    "processes.strays": "the kernel's files",
    "processes.memory_limit": "the kernel's files",
    "models.devices.threads": "the kernel's files",
    "daemon.memory.verdict_memory": "hands on what `history.memory` reads",
    "history.state.connection": "the kernel's files",
    "history.state.contents": "what of the state file robmon wrote",
    "history.state.kept_hours": "rows of the state file that robmon wrote",
    "history.past": "rows of the state file that robmon wrote",
    "history.reading": "rows of the state file that robmon wrote",
    "history.state.records": "rows of the state file that robmon wrote",
    "library.detection_power": "a file of whoever runs the command",
    "history.shared": "hands on what `history.memory` reads",
    "tap.sender": "a token's file, of whoever runs the server",
    "export.page.document": "robmon's own style",
    "report.html.page": "robmon's own style",
    "fetch": "hands on what `history.memory` and `models` read",
}
"""Modules that call one of them, and why it is not on bytes of strangers; a room stands for all in it."""


def modules() -> dict[str, Path]:
    """All of robmon, by name without `robmon.` in front."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def reads(path: Path) -> set[str]:
    """The reading functions that a module calls."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in calls}
    return names & READING


def test_every_module_that_reads_is_in_the_list() -> None:
    listed = {module for reader in READERS for module in reader.modules}
    missing = {
        name: sorted(reads(path))
        for name, path in modules().items()
        if reads(path) and name not in listed and name not in NOT_STRANGERS and name.split(".")[0] not in NOT_STRANGERS
    }
    assert missing == {}, "add a reader to tests/growth/readers.py, or say in NOT_STRANGERS whose bytes these are"


def test_every_codec_and_every_kind_of_file_is_in_the_list() -> None:
    listed = {module for reader in READERS for module in reader.modules}
    rooms = ("inputs.codecs.", "inputs.readers.", "models.remote.")
    helpers = {"inputs.readers.answers", "inputs.readers.batches", "inputs.readers.listing", "inputs.readers.position"}
    assert {name for name in modules() if name.startswith(rooms)} - helpers <= listed


def test_every_request_format_is_read() -> None:
    formats = {"mlflow", "v1", "v2", "cloudevents", "file", "kafka"}
    assert set(codecs._CODECS) == formats, "add a reader of the new format to tests/growth/readers.py"


def test_every_module_in_the_list_is_there_and_is_read_with() -> None:
    """A reader that does not come into the modules that it names measures nothing of them."""
    files = {str(path): name for name, path in modules().items()}
    for reader in READERS:
        assert set(reader.modules) <= set(modules())
        entered: set[str] = set()

        def note(frame: FrameType, event: str, argument: object, entered: set[str] = entered) -> None:
            if event == "call":
                entered.add(files.get(frame.f_code.co_filename, ""))

        bodies = [generate(512) for generate in spread(reader).values()]
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            for body in bodies:
                reader.read(body)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        assert set(reader.modules) <= entered, reader.name
