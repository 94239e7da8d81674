"""All that reads bytes of strangers: up to which size, in which process, and which hostile bytes it is given."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pandas as pd

from robmon.daemon.registry import follow
from robmon.errors import CodecError, InvalidInputError, RobmonError
from robmon.export.http import http_application
from robmon.history import memory
from robmon.history.baseline.files import BaselineFiles
from robmon.history.baseline.format import baseline_from_dict
from robmon.history.folder import DamagedStateError
from robmon.history.state.older import OlderFiles
from robmon.history.store import History
from robmon.inputs import feedback, routing
from robmon.inputs.codecs import compression
from robmon.inputs.join_keys import HEAD_BYTES, join_keys
from robmon.inputs.kept_headers import KEPT_HEADERS
from robmon.inputs.receiver import Receiver
from robmon.inputs.repeats import Repeats
from robmon.inputs.sample import Sample
from robmon.models import mlmodel, requirements
from robmon.models.outputs import cells
from robmon.models.registry.registry_access import MAX_ANSWER_BYTES, _unpack
from robmon.models.remote import json_bodies, v2
from robmon.models.remote.as_sent import AsSent
from robmon.models.remote.client import Answer, parse_json
from robmon.ports import signed_events, tokens
from robmon.ports.protocol import MAX_HEAD_BYTES, BoundedHttpProtocol
from robmon.ports.server import PortServer
from robmon.processes.messages.question import SampledRequest
from robmon.vocabulary import PROBE_HEADER
from robmon.worker.decoding import DecodedSample
from robmon.worker.targets import fitting_targets
from tests.growth.criterion import Growth, freeze_heap, measure, measure_again
from tests.growth.hostile import (
    FIELDS,
    ITEMS,
    LINES,
    RAW,
    TEXTS,
    Generate,
    around,
    as_base64,
    counted,
    deep,
    deflated,
    halves,
    listed,
    packed,
    repeated,
    within,
)
from tests.inputs import fuzzed_readers
from tests.inputs.fuzzing import SIGNATURES, TABLE, check
from tests.inputs.senders import CSV, JSON, PARQUET

MIB = 2**20
BODY_BYTES = 8 * MIB
"""`inputs.max_body_bytes`, unless a setting says otherwise."""
LOOP_SECONDS = 0.05
"""The longest that one call may hold the daemon's event loop."""
PACKED_BYTES = 64 * MIB
"""What a compressed body of 2 MiB to 8 MiB may become."""
FIRST_BYTES = MIB // 4
"""So far all hostile bytes are read; beyond it those that may be worse than linear there."""
SLOWEST = 5
"""Of a reader, which are read up to its bound in any case."""
NEARLY_LINEAR = 1.05
"""Exponent at `FIRST_BYTES` above which they are, too."""


@dataclass(frozen=True)
class Reader:
    """What reads strangers' bytes.

    Attributes:
        name: for the table.
        modules: of robmon, which it reads with, without `robmon.` in front.
        bound: the most bytes that it is ever given.
        read: reads them; the errors with which it refuses them are caught.
        hostile: bytes of any size, by name.
        on_loop: whether it runs on the daemon's event loop, so that it may take `LOOP_SECONDS` at most.
    """

    name: str
    modules: tuple[str, ...]
    bound: int
    read: Callable[[bytes], object]
    hostile: Mapping[str, Generate]
    on_loop: bool = False


def pick(generators: Mapping[str, Generate], *names: str) -> dict[str, Generate]:
    """Some of them."""
    return {name: generators[name] for name in names}


# --- on the event loop: the port of inputs ---------------------------------------------------------------------------

PROBE = routing.Filters(exclude_headers=("X-Synthetic",), exclude_paths=("/internal",))
_ROUTER = routing.Router(PROBE)


def read_keys(body: bytes) -> None:
    """The ids of a request, and the attributes of an event."""
    join_keys({}, body)
    routing.event_headers(body)


def read_id_headers(value: bytes) -> None:
    """The ids in headers, as they are kept."""
    kept = {name.decode(): value[:most].decode("latin-1") for name, most in KEPT_HEADERS.items()}
    join_keys(kept, b"")


def read_path(path: bytes) -> None:
    """The path of a request: as uvicorn gives it."""
    _ROUTER.route("POST", "/" + path.decode("latin-1"), {})


def read_event_headers(value: bytes) -> None:
    """The headers that decide about a request."""
    headers = [(name, value) for name in (b"ce-type", b"ce-id", b"ce-metadata", b"ce-inferenceservicename")]
    _, picked = _ROUTER.pick([*headers, (b"content-type", b"application/cloudevents+json" + value)])
    _ROUTER.route("POST", "/", picked)


def read_feedback(body: bytes) -> None:
    """Labels."""
    with contextlib.suppress(feedback.FeedbackError):
        feedback.parse(body)


class _Nowhere(asyncio.Transport):
    """A connection whose client reads nothing."""

    closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: Any) -> None:
        """Thrown away."""

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        """The client sends on."""

    def resume_reading(self) -> None:
        """The client sends on."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is none."""


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _receiver() -> Receiver:
    sample = Sample(sample_rows=256, max_age_seconds=3600, sample_bytes=4 * BODY_BYTES)
    return Receiver(sample, max_body_bytes=BODY_BYTES, max_inflight_bytes=2 * BODY_BYTES, repeats=Repeats(1024))


def converse(application: Any, pieces: Iterator[bytes]) -> None:
    """A connection on which these pieces come, one after the other."""

    async def run() -> None:
        server = PortServer(application, lambda reason: None, max_connections=10)
        protocol, transport = BoundedHttpProtocol(server, admitted=True), _Nowhere()
        protocol.connection_made(transport)
        for piece in pieces:
            if transport.closing:
                break
            protocol.data_received(piece)
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        await asyncio.gather(*server.server_state.tasks)

    _loop().run_until_complete(run())


def pieces_of(content: bytes, size: int) -> Iterator[bytes]:
    """As a client sends it that sends so many bytes at a time."""
    return (content[at : at + size] for at in range(0, len(content), size))


def read_connection(content: bytes) -> None:
    """What comes on a connection to the port of inputs, in pieces of 64 KiB."""
    converse(_receiver(), pieces_of(content, 2**16))


def read_dripping(content: bytes) -> None:
    """The same in pieces of a few bytes."""
    converse(_receiver(), pieces_of(content, 7))


def read_body(body: bytes) -> None:
    """A request body that is kept, in pieces of 1000 bytes."""
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    converse(_receiver(), iter([head, *pieces_of(body, 1000)]))


HEADS: dict[str, Generate] = {
    **within("path", b"POST /", pick(RAW, "letters", "slashes", "percent escapes", "percent signs", "URLs"),
             b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
    **within("query", b"GET /metrics?", pick(RAW, "letters", "equals signs", "semicolons", "percent escapes"),
             b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    **within("header", b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\nce-id: ",
             pick(RAW, "letters", "percent escapes", "spaces", "commas", "quotes"), b"\r\n\r\n"),
    **within("header name", b"POST / HTTP/1.1\r\nHost: x\r\n", pick(RAW, "letters", "hyphens"), b": a\r\n\r\n"),
    "many headers": around(b"POST / HTTP/1.1\r\nHost: x\r\n", counted("a%d: b\r\n", b""), b"\r\n"),
    "many headers of one name": around(b"POST / HTTP/1.1\r\nHost: x\r\n", repeated(b"a:b\r\n"), b"\r\n"),
    "many lengths": around(b"POST / HTTP/1.1\r\n", repeated(b"Content-Length: 1\r\n"), b"\r\n"),
    "long length": around(b"POST / HTTP/1.1\r\nContent-Length: ", repeated(b"9"), b"\r\n\r\n"),
    "many connection words": around(b"POST / HTTP/1.1\r\nConnection: ", repeated(b"close,"), b"a\r\n\r\n"),
    "many requests": repeated(b"GET / HTTP/1.1\r\n\r\n"),
    "chunks": repeated(b"1\r\na\r\n", b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "long chunk extensions": repeated(b"a", b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;"),
    "trailers": repeated(b"a:b\r\n", b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
    "line ends": repeated(b"\r\n"),
    **RAW,
}  # fmt: skip

BODIES = within("feedback", b"", RAW, b"") | within("list", b"[", ITEMS, b"]") | within("object", b"{", FIELDS, b"}")
TARGETS = within("target", b'{"id":"a","target":[', ITEMS, b"]}")
TARGETS |= within("text", b'{"id":"a","target":"', TEXTS, b'"}')
LABELS = BODIES | TARGETS | LINES | {"lines of labels": counted('{"id":"a%d","target":1}', b"\n")}

# --- on the event loop: the port of metrics --------------------------------------------------------------------------

_EVENTS = signed_events.SignedEvents(cast(Any, SimpleNamespace(value=(b"secret",))))
_TOKENS = (b"a" * 64, b"b" * 64, b"c" * 64)


def read_token(value: bytes) -> None:
    """The header of a token, alone and several times."""
    tokens.admits(_TOKENS, [(b"authorization", value)])
    tokens.admits(_TOKENS, [(b"authorization", b"Bearer " + value)])


def read_event_header(value: bytes) -> None:
    """The headers of an event of the registry, each in turn."""
    names = (b"x-mlflow-delivery-id", b"x-mlflow-timestamp", b"x-mlflow-signature")
    right = {names[0]: b"delivery", names[1]: b"1795700000", names[2]: b"v1,"}
    for name in names:
        _EVENTS.check(list((right | {name: value}).items()), b"{}")


def read_event(body: bytes) -> None:
    """The body of one, which is read for its signature alone."""
    headers = [(b"x-mlflow-delivery-id", b"a"), (b"x-mlflow-timestamp", b"1"), (b"x-mlflow-signature", b"v1,")]
    _EVENTS.check(headers, body)


def read_event_secrets(content: bytes) -> None:
    """A file of the secrets that sign them."""
    with contextlib.suppress(RobmonError):
        signed_events.secrets_of({"mlflow.webhook_secret_file": Path("secret")}, [content])


def read_token_file(content: bytes) -> None:
    """A file of tokens."""
    with contextlib.suppress(RobmonError):
        tokens.tokens_of({"http.token_file": Path("token")}, [content])


def read_metrics_request(value: bytes) -> None:
    """What a scrape accepts."""
    from prometheus_client import CollectorRegistry

    application = http_application(cast(Any, None), CollectorRegistry())
    head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: " + value.translate(None, b"\r\n\0") + b"\r\n\r\n"
    converse(application, pieces_of(head, 2**16))


# --- on the event loop: what registry and data folder say ------------------------------------------------------------

ENTRY = '{"version":"%d","accepted":true,"by":"verdict","at":%d}'


def entries(size: int) -> bytes:
    """Entries of a memory."""
    count = max(size // 60, 1)
    return b",".join((ENTRY % (number, number)).encode() for number in range(count))


def read_packed_registry(answer: bytes) -> None:
    """An answer that was packed without being asked for."""
    with contextlib.suppress(RobmonError, httpx.DecodingError):
        _unpack(answer, "gzip", "http://registry")


def read_registry(answer: bytes) -> None:
    """What a registry answers of a model, as far as the daemon reads it itself."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        follow.aliases_and_tags(answer)


def read_memory(text: bytes) -> None:
    """What the registry's tag says of earlier verdicts."""
    with contextlib.suppress(RobmonError):
        memory.from_json(text)


MEMORY = {
    "entries": around(b"[", entries, b"]"),
    "entries that are rejections": around(b"[", lambda size: entries(size).replace(b"true", b"false"), b"]"),
    **within("list", b"[", ITEMS, b"]"),
    **within("entry", b'[{"version":"1","accepted":true,"by":"person","at":1,', FIELDS, b"}]"),
    **within("version", b'[{"accepted":true,"by":"person","at":1,"version":"', TEXTS, b'"}]'),
    **RAW,
}


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """One for files."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def read_state(content: bytes) -> None:
    """The files of the data folder: the state, those of older layouts, and a baseline, all with this content."""
    with folder() as data_dir:
        baselines, older = BaselineFiles(data_dir, "m"), OlderFiles.of(data_dir, "m")
        for file in (older.verdicts, older.number, *older.logs, older.positions, baselines.path("1")):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        older.read()
        with contextlib.suppress(DamagedStateError):
            baselines.read("1")
    with folder() as data_dir:
        history = History(data_dir, "m")
        history.state_file.parent.mkdir(parents=True)
        history.state_file.write_bytes(content)
        with contextlib.suppress(DamagedStateError):
            history.read_scope("champion")


STATE = {
    **within("scope", b'{"scopes":{"champion":{"entries":[', {"entries": entries} | ITEMS, b"]}}}"),
    **within("scopes", b'{"scopes":{', FIELDS, b"}}"),
    **within("numbers", b"", {"numbers": counted('{"number": %d}', b"\n"), "digits": repeated(b'"number": 1')}, b""),
    **RAW,
}


# --- in the worker: requests -----------------------------------------------------------------------------------------


def decoded(request_format: str, **headers: str) -> Callable[[bytes], object]:
    """Requests of a format, for models with signatures of all kinds."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def read(body: bytes) -> None:
        with contextlib.suppress(InvalidInputError):  # there is nothing to perturb
            check((request_format, named, body), (*SIGNATURES, TABLE, AsSent()))

    return read


def decoded_with(name: str, body: bytes, request_format: str = "v2") -> Callable[[bytes], object]:
    """A header of a request."""

    def read(value: bytes) -> None:
        kept = value[: KEPT_HEADERS[name.encode()]].decode("latin-1")
        check((request_format, {name: kept}, body), SIGNATURES)

    return read


def around_json(head: str, tail: str, names: Collection[str] = ("items",)) -> dict[str, Generate]:
    """Items, fields or texts at a place."""
    kinds = {"items": ITEMS, "fields": FIELDS, "texts": TEXTS}
    found: dict[str, Generate] = {}
    for name in names:
        found |= within(f"{head}{name}", head.encode(), kinds[name], tail.encode())
    return found


OF_ANY_JSON = within("", b"", RAW, b"") | around_json("[", "]") | around_json("{", "}", ["fields"])
OF_TENSORS = (
    around_json('{"inputs":[', "]}")
    | around_json('{"inputs":{', "}}", ["fields"])
    | around_json('{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[', "]}]}")
    | around_json('{"inputs":[{"name":"x","shape":[', '],"datatype":"INT64","data":[1]}]}')
    | around_json('{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["', '"]}]}', ["texts"])
    | around_json('{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{', "}}]}", ["fields"])
)
OF_MLFLOW = (
    around_json('{"inputs":[', "]}")
    | around_json('{"inputs":{', "}}", ["fields"])
    | around_json('{"dataframe_split":{"data":[', "]}}")
    | around_json('{"dataframe_split":{"data":[[1]],"columns":[', "]}}")
    | around_json('{"dataframe_split":{"data":[[1]],"index":[', "]}}")
    | around_json('{"dataframe_records":[', "]}")
    | {
        "split: as many columns as cells, numbers": lambda size: _split(size, counted("%d")),
        "split: as many columns as cells, texts": lambda size: _split(size, counted('"t%d"')),
        "split: as many columns as cells, one name": lambda size: _split(size, listed(b'"a"')),
        "split: as many columns as cells, one hash": lambda size: _split(size, ITEMS["numbers with one hash"]),
        "columns: as long as there are": lambda size: (
            b'{"inputs":{%s}}'
            % b",".join(
                b'"c%d":[%s]' % (number, b",".join([b"1"] * int(max(size / 2, 1) ** 0.5)))
                for number in range(int(max(size / 2, 1) ** 0.5))
            )
        ),
    }
)
OF_V1 = around_json('{"instances":[', "]}") | around_json('{"instances":[{', "}]}", ["fields"])
OF_EVENTS = (
    around_json('{"specversion":"1.0","type":"a","data":[', "]}")
    | around_json('{"specversion":"1.0","type":"a","data":{"instances":[', "]}}")
    | around_json('{"specversion":"1.0","type":"a","data":"', '"}', ["texts"])
    | around_json('{"specversion":"1.0","type":"a","datacontenttype":"text/csv","data":"', '"}', ["texts"])
    | around_json('{"specversion":"1.0","type":"a","data_base64":"', '"}', ["texts"])
    | within("base64 ", b'{"specversion":"1.0","data_base64":"', as_base64(RAW), b'"}')
    | around_json('{"specversion":"1.0","data":1,', "}", ["fields"])
)
CAPTURE = '{"captureData":{"endpointInput":{"observedContentType":"%s","encoding":"%s","data":"'
OF_RECORDS = (
    around_json(CAPTURE % ("text/csv", "CSV"), '"}}}', ["texts"])
    | around_json(CAPTURE % ("application/json", "JSON"), '"}}}', ["texts"])
    | around_json(CAPTURE % ("application/json", "BASE64"), '"}}}', ["texts"])
    | within("captured CSV", (CAPTURE % ("text/csv", "BASE64")).encode(), as_base64(LINES), b'"}}}')
    | within("captured JSON", (CAPTURE % ("a", "BASE64")).encode(), as_base64(LINES | RAW), b'"}}}')
    | within("captured features", (CAPTURE % ("a", "BASE64")).encode(),
             as_base64({"features": around(b'{"instances":[', listed(b'{"features":[1]}'), b"]}")}), b'"}}}')
)  # fmt: skip
KSERVE = '{"ContentType":"","ReqType":"a","InferenceService":"a","SourceUri":"a",'
OF_KSERVE = (
    within("logged ", (KSERVE + '"Bytes":"').encode(), as_base64(RAW), b'"}')
    | within("logged bomb ", (KSERVE + '"Bytes":"').encode(), as_base64({"bomb": RAW["a bomb of gzip"]}), b'"}')
    | around_json(KSERVE + '"Bytes":"e30=","Metadata":{', "}}", ["fields"])
    | around_json(KSERVE + '"Bytes":"e30=","Metadata":"', '"}', ["texts"])
)


def _split(size: int, names: Generate) -> bytes:
    columns = names(size * 2 // 3)
    count = columns.count(b",") + 1
    return b'{"dataframe_split":{"columns":[%s],"data":[[%s]]}}' % (columns, b",".join([b"1"] * count))


def of_tensor_bytes(size: int, each: int = 0) -> bytes:
    """V2: as many tensors behind the JSON as fit, of so many bytes each."""
    tensor = b'{"name":"t%d","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":%d}}'
    count = max(size // (len(tensor) + 8 + each), 1)
    head = b'{"inputs":[%s]}' % b",".join(tensor % (number, each + 4) for number in range(count))
    return head + (each.to_bytes(4, "little") + b"a" * each) * count


def of_texts(size: int) -> bytes:
    """V2: one tensor of as many texts as fit."""
    count = max((size - 120) // 5, 1)
    head = '{"inputs":[{"name":"x","shape":[%d],"datatype":"BYTES","parameters":{"binary_data_size":%d}}]}'
    return (head % (count, count * 5)).encode() + b"\x01\0\0\0a" * count


OF_BINARY: dict[str, Generate] = {
    "tensors behind the JSON": of_tensor_bytes,
    "tensors of 100 bytes behind the JSON": lambda size: of_tensor_bytes(size, 100),
    "texts behind the JSON": of_texts,
    **within("behind the JSON", b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}', RAW, b""),
}


def parquet(size: int, columns: Callable[[int], int], row_groups: bool = False) -> bytes:
    """A table of about so many bytes, with so many columns."""
    count = max(columns(size), 1)
    rows = max(size // (8 * count), 1)
    frame = pd.DataFrame({f"c{number}": np.random.default_rng(0).normal(size=rows) for number in range(count)})
    return frame.to_parquet(compression=None, row_group_size=1 if row_groups else None)


def of_parquet() -> dict[str, Generate]:
    """Tables that are long, wide, of many row groups, and what is none."""
    return {
        "long tables": lambda size: parquet(size, lambda size: 1),
        "wide tables": lambda size: parquet(size, lambda size: size // 600),
        "tables of many row groups": lambda size: parquet(size // 20, lambda size: 1, row_groups=True),
        "a text again and again": lambda size: pd.DataFrame({"a": ["x" * 1000] * max(size // 10, 1)}).to_parquet(),
        **within("ends of Parquet", b"PAR1", RAW, b"PAR1"),
    }


def read_packed(body: bytes) -> None:
    """A compressed body."""
    for headers in ({}, {"content-encoding": "gzip"}, {"content-encoding": "deflate"}):
        with contextlib.suppress(CodecError):
            compression.decompress(headers, body)


def read_answer(body: bytes) -> object:
    """An answer that a model server gave to a client."""
    return fuzzed_readers.read_answer({}, body)


ANSWERS = (
    OF_ANY_JSON
    | around_json('{"predictions":[', "]}")
    | around_json('{"predictions":{', "}}", ["fields"])
    | around_json('{"outputs":[', "]}")
    | around_json('{"outputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[', "]}]}")
    | around_json('{"specversion":"1.0","data":{"predictions":[', "]}}")
    | {f"answer of {name}": (lambda size, each=each: each(size).replace(b'"inputs"', b'"outputs"', 1))
       for name, each in OF_BINARY.items()}
)  # fmt: skip


def read_target(target: bytes) -> None:
    """The target of a request with several rows, for outputs of all kinds."""
    with contextlib.suppress(feedback.FeedbackError):
        for label in feedback.parse(target)[:1]:
            request = SampledRequest(format="mlflow", headers={}, seed=0, target=label.target)
            for count in (1, 2):
                sample = cast(DecodedSample, _Rows([0] * count, [(row, count) for row in range(count)]))
                fitting_targets([request], sample, np.zeros((2, 2)), "value")
                fitting_targets([request], sample, np.zeros((2, 2)), "logit")
                fitting_targets([request], sample, np.array(["a", "b"], dtype=object), "label")


@dataclass(frozen=True)
class _Rows:
    origins: list[int]
    places: list[tuple[int, int]]


# --- in the worker: answers of the model's endpoint ------------------------------------------------------------------


def read_endpoint(body: bytes) -> None:
    """An answer of MLflow's server or of V1."""
    with contextlib.suppress(RobmonError, cells.UnusableError):
        cells.read(json_bodies.predictions(parse_json(body)))


def read_v2_endpoint(body: bytes) -> None:
    """An answer of a V2 server: JSON alone, and JSON up to the first zero byte or the end of an object."""
    head = body.find(b"]}", 0) + 2 if body.endswith(b"\0") else len(body)
    for headers in ({}, {v2.HEADER_LENGTH.lower(): str(head)}):
        with contextlib.suppress(RobmonError):
            v2.Dialogue(False, None, as_columns=False).outputs(Answer(headers, body))


def many_outputs(size: int) -> bytes:
    """V2: as many outputs as fit, of four bytes each behind the JSON."""
    output = '{"name":"t%d","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}'
    count = max(size // 2 // (len(output) + 6), 1)
    head = b'{"outputs":[' + b",".join((output % number).encode() for number in range(count)) + b"]}"
    return head + bytes(max(size - len(head), 4 * count))


def read_v2_binary(body: bytes) -> None:
    """An answer of a V2 server whose tensors are behind its JSON."""
    length = body.index(b"]}\0") + 2 if b"]}\0" in body else len(body)
    with contextlib.suppress(RobmonError):
        v2.Dialogue(False, None, as_columns=False).outputs(Answer({v2.HEADER_LENGTH.lower(): str(length)}, body))


# --- in fetch: files of a model version ------------------------------------------------------------------------------


def read_mlmodel(content: bytes) -> None:
    """The MLmodel file."""
    with folder() as model:
        (model / mlmodel.MLMODEL_FILE).write_bytes(content)
        with contextlib.suppress(RobmonError):
            found = mlmodel.read(model)
            assert found.kind and found.loaded_flavor


def read_requirements(content: bytes) -> None:
    """The file of a model's requirements."""
    with folder() as model:
        (model / requirements.REQUIREMENTS_FILE).write_bytes(content)
        requirements.mismatches(model)


def read_baseline(content: bytes) -> None:
    """A recorded baseline."""
    with contextlib.suppress(RobmonError, ValueError, RecursionError):
        found = json.loads(content)
        if isinstance(found, dict):
            baseline_from_dict(found)


FLAVORS = b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"
YAML: dict[str, Generate] = {
    "aliases": around(b"a: &a [1]\n" + FLAVORS + b"b: [", listed(b"*a"), b"]\n"),
    "aliases of a large object as flavours": halves(
        around(b"x: &x {", counted("a%d: 1", b", "), b"}\nflavors:\n"), counted("  f%d: *x\n", b""), b""
    ),
    "aliases of aliases": around(
        FLAVORS + b"a0: &a0 [1]\n",
        lambda size: b"".join(b"a%d: &a%d [*a%d,*a%d]\n" % (n + 1, n + 1, n, n) for n in range(size // 28)),
        b"",
    ),
    "merged aliases": halves(
        around(b"x: &x {", counted("a%d: 1", b", "), b"}\n" + FLAVORS),
        counted("m%d: {<<: *x}\n", b""),
        b"",
    ),
    "merged aliases of merged aliases": around(
        FLAVORS + b"a0: &a0 {x: 1}\n",
        lambda size: b"".join(
            b"a%d: &a%d {<<: [*a%d, *a%d]}\n" % (n + 1, n + 1, n, n) for n in range(min(size // 64, 24))
        ),
        b"",
    ),
    "numbers of base 60": around(FLAVORS + b"a: 1", repeated(b":00"), b"\n"),
    "fractions of base 60": around(FLAVORS + b"a: 1", repeated(b":00"), b".5\n"),
    "digits": around(FLAVORS + b"a: ", repeated(b"1"), b"\n"),
    "digits and underscores": around(FLAVORS + b"a: 1", repeated(b"_1"), b"\n"),
    "binary digits": around(FLAVORS + b"a: 0b", repeated(b"1"), b"\n"),
    "hexadecimal digits": around(FLAVORS + b"a: 0x", repeated(b"f"), b"\n"),
    "digits behind a point": around(FLAVORS + b"a: 1.", repeated(b"1"), b"\n"),
    "a time": around(FLAVORS + b"a: 2020-01-01T00:00:00.", repeated(b"1"), b"\n"),
    "a plain text": around(FLAVORS + b"a: ", repeated(b"a b "), b"\n"),
    "a plain text of lines": around(FLAVORS + b"a: ", repeated(b"a\n  "), b"\n"),
    "a plain text of colons": around(FLAVORS + b"a: ", repeated(b"a:b "), b"\n"),
    "a quoted text": around(FLAVORS + b'a: "', repeated(rb"\u00e9"), b'"\n'),
    "a quoted text of quotes": around(FLAVORS + b"a: '", repeated(b"''"), b"'\n"),
    "a text in a block": around(FLAVORS + b"a: |\n", repeated(b"  x\n"), b"\n"),
    "a folded text": around(FLAVORS + b"a: >\n", repeated(b"  x\n"), b"\n"),
    "many flavours": around(b"flavors:\n", counted("  f%d: {}\n", b""), b""),
    "flavours in one line": around(b"flavors: {", counted("f%d: {}", b", "), b"}\n"),
    "one flavour of many names": around(b"flavors:\n  a:\n", counted("    f%d: 1\n", b""), b""),
    "one name": around(FLAVORS, repeated(b"a: 1\n"), b""),
    "names in question": around(FLAVORS, counted("? a%d\n: 1\n", b""), b""),
    "lists as names": around(FLAVORS, repeated(b"? [1]\n: 1\n"), b""),
    "deep lists": around(FLAVORS + b"a: ", deep(b"[", b"]"), b"\n"),
    "deep lists of lines": around(FLAVORS + b"a:\n  ", repeated(b"- "), b"1\n"),
    "deep objects": around(FLAVORS + b"a: ", deep(b"{a: ", b"}"), b"\n"),
    "lists": around(FLAVORS + b"a:\n", repeated(b"- 1\n"), b""),
    "tags": around(FLAVORS + b"a: [", listed(b"!!python/name:os.system x"), b"]\n"),
    "directives": repeated(b"%YAML 1.1\n"),
    "documents": repeated(b"---\n"),
    "comments": repeated(b"# a\n", FLAVORS),
    "anchors": around(FLAVORS, counted("a%d: &a%d 1\n".replace("&a%d", "&b"), b""), b""),
    **within("signature", FLAVORS + b"signature:\n  inputs: '[", ITEMS, b"]'\n"),
    "a signature of many columns": around(
        FLAVORS + b"signature:\n  inputs: '[", counted('{"name": "a%d", "type": "double", "required": true}'), b"]'\n"
    ),
}

OF_BASELINES = (
    around_json('{"format":1,"levels":[', "]}")
    | around_json('{"format":1,"levels":[1],"integers":[', '],"output":"label","inputs":{}}')
    | around_json('{"format":1,', "}", ["fields"])
    | around_json('{"format":2,"levels":[', '],"checksum":""}')
    | within("", b"", RAW, b"")
)
REQUIREMENTS: dict[str, Generate] = {
    "many": repeated(b"numpy==1.0\n"),
    "many that are not there": counted("robmon-none-%d==1.0\n", b""),
    "many versions": around(b"numpy", listed(b"!=1.0"), b"\n"),
    "many extras": around(b"numpy[", listed(b"a"), b"]\n"),
    "many markers": around(b"numpy; ", listed(b"python_version>'3'", b" and "), b"\n"),
    "deep markers": around(b"numpy; ", deep(b"(", b")", b"python_version>'3'"), b"\n"),
    "a long version": around(b"numpy==1", repeated(b".0"), b"\n"),
    "a version of long numbers": around(b"numpy==", repeated(b"1"), b"\n"),
    "a long name": repeated(b"a", b"", b"==1\n"),
    "names of hyphens": repeated(b"a-", b"", b"a==1\n"),
    "a long word in a marker": around(b"numpy; python_version>'", repeated(b"3."), b"'\n"),
    **RAW,
}

# --- in the reading process: files of inputs -------------------------------------------------------------------------

FILE_BYTES = 2 * BODY_BYTES


def file_reader(read: Callable[[Mapping[str, str], bytes], str]) -> Callable[[bytes], object]:
    """A file that is read to its end, twice, as `fuzzed_readers` does, with the bound of bodies that settings have."""
    return lambda content: read({}, content)


READERS: tuple[Reader, ...] = (
    Reader("ids and attributes of a request", ("inputs.join_keys", "inputs.routing"), 2 * HEAD_BYTES, read_keys,
           RAW | packed(RAW) | deflated(RAW) | within("", b"{", FIELDS, b"}"), on_loop=True),
    Reader("ids in headers", ("inputs.join_keys",), MAX_HEAD_BYTES, read_id_headers, RAW, on_loop=True),
    Reader("path of a request", ("inputs.routing",), MAX_HEAD_BYTES, read_path,
           RAW | {"models": repeated(b"v2/models/a/"), "versions": repeated(b"v1/models/a/versions/"),
                  "completions": repeated(b"v1/chat/")}, on_loop=True),
    Reader("headers of an event", ("inputs.routing",), MAX_HEAD_BYTES, read_event_headers,
           RAW | {"marks": repeated(b'"' + PROBE_HEADER.lower().encode()[:-1])}, on_loop=True),
    Reader("labels, in turns", ("inputs.feedback",), feedback.MAX_FEEDBACK_BYTES, read_feedback, LABELS),
    Reader("head of a request", ("ports.protocol", "inputs.receiver"), MAX_HEAD_BYTES, read_connection, HEADS,
           on_loop=True),
    Reader("head of a request, in small pieces", ("ports.protocol", "inputs.receiver"), MAX_HEAD_BYTES, read_dripping,
           HEADS),
    Reader("body of a request, in small pieces", ("ports.protocol", "inputs.receiver"), BODY_BYTES, read_body,
           pick(RAW, "letters", "a text that never ends", "noise")),
    Reader("token in a header", ("ports.tokens",), MAX_HEAD_BYTES, read_token, RAW, on_loop=True),
    Reader("token file", ("ports.tokens",), 64 * 1024, read_token_file, RAW, on_loop=True),
    Reader("header of an event", ("ports.signed_events",), MAX_HEAD_BYTES, read_event_header, RAW, on_loop=True),
    Reader("event of the registry", ("ports.signed_events",), signed_events.MAX_EVENT_BYTES, read_event, RAW,
           on_loop=True),
    Reader("secrets of events", ("ports.signed_events",), 64 * 1024, read_event_secrets, RAW, on_loop=True),
    Reader("what a scrape accepts", ("ports.protocol", "export.http"), MAX_HEAD_BYTES - 100, read_metrics_request,
           RAW | {"types": repeated(b"application/openmetrics-text;version=1.0.0,"),
                  "escapings": repeated(b"text/plain;escaping=a;")}, on_loop=True),
    Reader("answer of the registry", ("daemon.registry.follow",), follow.MAX_OWN_BYTES, read_registry,
           around_json('{"registered_model":{"aliases":[', "]}}")
           | around_json('{"registered_model":{', "}}", ["fields"])
           | {"aliases": around(b'{"registered_model":{"aliases":[', counted('{"alias":"a%d","version":"1"}'), b"]}}")}
           | RAW, on_loop=True),
    Reader("packed answer of the registry", ("models.registry.registry_access",), MAX_ANSWER_BYTES,
           read_packed_registry, packed(pick(RAW, "letters", "noise")) | RAW),
    Reader("memory of verdicts", ("history.memory",), 4 * memory.MAX_READ_BYTES, read_memory, MEMORY, on_loop=True),
    Reader("files of the data folder", ("history.baseline.files", "history.state.older", "history.state.place"),
           BODY_BYTES, read_state, STATE),
    Reader("requests to MLflow, JSON", ("inputs.codecs.mlflow", "inputs.codecs.mlflow_json", "inputs.codecs.json_body",
           "inputs.codecs.rows", "models.signature.unsigned", "models.signature.tensors", "models.signature.columns",
           "models.remote.as_sent"), BODY_BYTES, decoded("mlflow", content_type=JSON), OF_ANY_JSON | OF_MLFLOW),
    Reader("requests to MLflow, CSV", ("inputs.codecs.mlflow_csv",), BODY_BYTES, decoded("mlflow", content_type=CSV),
           RAW | LINES),
    Reader("requests to MLflow, Parquet", ("inputs.codecs.mlflow_parquet",), BODY_BYTES,
           decoded("mlflow", content_type=PARQUET), of_parquet()),
    Reader("requests to V1", ("inputs.codecs.v1", "inputs.codecs.recognise"), BODY_BYTES, decoded("v1"),
           OF_ANY_JSON | OF_V1),
    Reader("messages of Kafka", ("inputs.codecs.kafka", "inputs.codecs.files"), BODY_BYTES,
           decoded("kafka"), OF_ANY_JSON),
    Reader("requests to V2", ("inputs.codecs.v2", "inputs.codecs.recognise"), BODY_BYTES, decoded("v2"),
           OF_TENSORS | OF_BINARY),
    Reader("requests to V2, bytes alone", ("inputs.codecs.v2",), BODY_BYTES,
           decoded("v2", inference_header_content_length="0"), pick(RAW, "letters", "noise")),
    Reader("headers of a request", ("inputs.codecs.recognise",), 4096, decoded_with("ce-metadata", b"{}"),
           RAW | within("", b"{", FIELDS, b"}")),
    Reader("events", ("inputs.codecs.cloudevents", "inputs.codecs.recognise"), BODY_BYTES, decoded("cloudevents"),
           OF_EVENTS | OF_ANY_JSON),
    Reader("lines of files, as requests", ("inputs.codecs.files",), BODY_BYTES, decoded("file", content_type=JSON),
           OF_ANY_JSON),
    Reader("captured records", ("inputs.codecs.sagemaker", "inputs.codecs.files"), BODY_BYTES,
           decoded("file", content_type=JSON), OF_RECORDS),
    Reader("records of KServe's logger", ("inputs.codecs.kserve_log", "inputs.codecs.files"), BODY_BYTES,
           decoded("file", content_type=JSON), OF_KSERVE),
    Reader("rows of CSV files", ("inputs.codecs.files", "inputs.codecs.mlflow_csv"), BODY_BYTES,
           decoded("file", content_type=CSV), RAW | LINES),
    Reader("compressed bodies", ("inputs.codecs.compression",), PACKED_BYTES, read_packed,
           packed(pick(RAW, "letters", "noise")) | deflated(pick(RAW, "letters", "noise"))),
    Reader("compressed bodies that are none", ("inputs.codecs.compression",), BODY_BYTES, read_packed,
           RAW | within("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\0", RAW, b"") | within("zlib", b"\x78\x9c", RAW, b"")),
    Reader("answers of model servers", ("inputs.codecs.answers",), BODY_BYTES, read_answer, ANSWERS),
    Reader("targets", ("worker.targets", "inputs.feedback"), feedback.MAX_FEEDBACK_BYTES, read_target, TARGETS),
    Reader("answers of an endpoint", ("models.remote.json_bodies", "models.outputs.cells", "models.remote.client"),
           BODY_BYTES, read_endpoint,
           RAW | around_json('{"predictions":[', "]}") | around_json('{"predictions":{', "}}", ["fields"])),
    Reader("answers of a V2 endpoint", ("models.remote.v2",), BODY_BYTES, read_v2_endpoint,
           RAW | around_json('{"outputs":[', "]}")
           | around_json('{"outputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":[', "]}]}")
           | around_json('{"outputs":[{"name":"x","shape":[', '],"datatype":"INT64","data":[1]}]}')),
    Reader("answers of a V2 endpoint, bytes", ("models.remote.v2",), 2 * BODY_BYTES, read_v2_binary,
           {"many outputs": many_outputs}),
    Reader("MLmodel file", ("models.mlmodel",), MIB, read_mlmodel, YAML | RAW),
    Reader("requirements of a model", ("models.requirements",), MIB, read_requirements, REQUIREMENTS),
    Reader("recorded baselines", ("history.baseline.format",), BODY_BYTES, read_baseline, OF_BASELINES),
    Reader("files of JSON lines", ("inputs.readers.lines",), FILE_BYTES, file_reader(fuzzed_readers.read_lines),
           RAW | LINES),
    Reader("files of CSV", ("inputs.readers.lines",), FILE_BYTES, file_reader(fuzzed_readers.read_table), RAW | LINES),
    Reader("files of gzip", ("inputs.readers.compressed", "inputs.readers.lines"), FILE_BYTES,
           file_reader(fuzzed_readers.read_compressed), packed(pick(LINES, "lines", "one line without end", "objects"))
           | RAW),
    Reader("files of Parquet", ("inputs.readers.parquet",), BODY_BYTES, file_reader(fuzzed_readers.read_columns),
           of_parquet()),
)  # fmt: skip


def measured(reader: Reader, most: int | None = None) -> dict[str, Growth]:
    """Time against size for each of the hostile bytes, up to the reader's bound or a smaller one.

    Where the bound is large, all are read up to `FIRST_BYTES`, and the slowest there, and all whose time grew a little
    faster than their size, go on to the bound. Of the others at most a tenth of the time at `FIRST_BYTES` can be
    quadratic: at 8 MiB none takes more than four times what a linear one would.
    """
    bound = min(reader.bound, most or reader.bound)
    freeze_heap()
    found = {name: _growth(reader, generate, min(bound, FIRST_BYTES)) for name, generate in reader.hostile.items()}
    if bound > FIRST_BYTES:
        slowest = sorted(found, key=lambda name: found[name].seconds[-1], reverse=True)[:SLOWEST]
        for name, growth in found.items():
            if (name in slowest or growth.exponent > NEARLY_LINEAR) and growth.may_go_on:
                found[name] = _growth(reader, reader.hostile[name], bound)
    return found


def _growth(reader: Reader, generate: Generate, bound: int) -> Growth:
    growth = measure(reader.read, generate, bound)
    if reader.on_loop and growth.seconds[-1] > LOOP_SECONDS and not growth.is_superlinear:
        return measure_again(growth, reader.read, generate)
    return growth
