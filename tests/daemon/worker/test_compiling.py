"""A worker is told to compile its model, once; and what comes of it is remembered with the version, and told.

In the place of the worker stands one that answers as a worker on a CUDA device, which this machine may lack; at the
end a real one, that compiles for the processor.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import mlflow.pytorch
import psutil
import pytest
import torch
from structlog.testing import capture_logs

from robmon import settings
from robmon.daemon.app import Daemon
from robmon.daemon.worker.compiling import COMPILE_BYTES
from robmon.daemon.worker.host import ModelHost
from robmon.export.metrics import Metrics
from robmon.inputs.counts import InputCounts
from robmon.processes.channel import Frame
from robmon.processes.command import Command
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.every_process import Failure
from robmon.processes.messages.model import Compiled, LoadedModel, ModelVersion
from robmon.processes.messages.question import SampledRequest
from robmon.processes.supervisor import ChildDiedError
from tests.environment import REPOSITORY
from tests.export.published import everything
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import tensor
from tests.worker.test_evaluation import question

VERSION = ModelVersion(name="m", version="1", path="nowhere", flavors=["pytorch"])
WHY = "device.compile is auto, and the model is not compiled: "
FASTER = Compiled(because="", time_ratio=0.7, seconds=40.0)
NO_GAIN = Compiled(because="compiled a batch takes 1.01 of the time, which is no gain", time_ratio=1.01, seconds=40.0)


class Worker:
    """Answers `compile` with the next of these, or raises it."""

    answers: ClassVar[list[Any]] = []
    may_compile: ClassVar[bool] = True
    memory_bytes: ClassVar[int] = 2**20
    is_compiled = False

    @classmethod
    async def start(cls, command: Command) -> Worker:
        return cls()

    async def ask(self, message: AnyMessage, blobs: Sequence[bytes] = (), *, timeout_seconds: float) -> Frame:
        measurement = everything().view.measurement
        if message.type == "load":
            return LoadedModel(flavor="torch", device="cuda:0", may_compile=self.may_compile, remarks=["another"]), []
        if message.type == "compile":
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            self.is_compiled = answer == FASTER
            return answer, []
        assert message.type == "assess" and measurement is not None
        change = {"number": message.number, "compiled": self.is_compiled}
        return measurement.result.model_copy(update=change), [b""]

    async def stop(self) -> None:
        pass


@pytest.fixture
def host_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModelHost]:
    def make(*answers: Any, **given: Any) -> ModelHost:
        monkeypatch.setattr("robmon.daemon.worker.host.Child", Worker)
        monkeypatch.setattr(Worker, "answers", list(answers))
        metrics = Metrics("m", InputCounts(), lambda: (0, None))
        return ModelHost(settings.load({"model.uri": "models:/m/1", "device.name": "cuda", **given}).settings, metrics)

    return make


async def test_a_model_that_is_compiled_is_told_as_that_once_it_is_used(host_of: Callable[..., ModelHost]) -> None:
    host = host_of(FASTER)
    told = []
    with capture_logs() as logged:
        await host.use(VERSION)
        for _ in range(3):
            await host.assess(question(3), [])
            assert host.loaded is not None
            told.append(host.loaded.compiled)
            await host.compile()
    assert told == [False, True, True]
    assert host.loaded.remarks == ["another"]
    assert [(line["event"], line.get("time_ratio")) for line in logged if "compil" in line["event"]] == [
        ("compiling", None),
        ("compiled", 0.7),
    ]


async def test_each_worker_compiles_what_was_worth_it_before(host_of: Callable[..., ModelHost]) -> None:
    host = host_of(FASTER, FASTER)
    for _ in range(2):
        await host.use(VERSION)
        assert host.loaded is not None and not host.loaded.compiled
        await host.compile()
        await host.close()
    assert Worker.answers == []


LOST = ChildDiedError("memory", "the process held more than 1048576 bytes of memory")
REFUSALS: dict[str, tuple[Any, str]] = {
    "no gain": (NO_GAIN, NO_GAIN.because),
    "a worker that is lost": (LOST, f"the worker that compiled it was lost: {LOST}"),
    "an error": (Failure(reason="model_raised", error="ValueError", message=""), "ValueError"),
}


@pytest.mark.parametrize(("answer", "because"), REFUSALS.values(), ids=REFUSALS)
async def test_what_is_not_compiled_is_told_and_not_tried_again(
    answer: Any, because: str, host_of: Callable[..., ModelHost]
) -> None:
    """Nor by another worker; and the next assessment does not wait."""
    host = host_of(answer)
    await host.use(VERSION)
    with capture_logs() as logged:
        await host.compile()
    assert [line["because"] for line in logged if line["event"] == "not compiled"] == [because]
    for _ in range(2):
        assert not host.waiting
        await host.use(VERSION)
        await host.compile()
        assert host.loaded is not None and host.loaded.remarks == ["another", WHY + because]
        await host.close()


async def test_another_version_is_tried(host_of: Callable[..., ModelHost]) -> None:
    host = host_of(NO_GAIN, FASTER)
    for version in ("1", "2"):
        await host.use(VERSION.model_copy(update={"version": version}))
        await host.compile()
    assert Worker.answers == [] and host.loaded is not None and host.loaded.remarks == ["another"]


async def test_others_that_need_the_device_are_waited_for(host_of: Callable[..., ModelHost]) -> None:
    busy = Failure(reason="device_busy", message="others kept cuda:0 busy for 90% of the time")
    host = host_of(busy, busy, FASTER)
    await host.use(VERSION)
    for _ in range(4):
        await host.compile()
        assert host.loaded is not None and host.loaded.remarks == ["another"]
    assert Worker.answers == []


async def test_memory_that_would_not_suffice_is_told(
    host_of: Callable[..., ModelHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the worker would be killed in the middle of it."""
    for room, is_asked in ((COMPILE_BYTES, True), (COMPILE_BYTES - 2**20, False)):
        host = host_of(FASTER, **{"worker.memory_bytes": Worker.memory_bytes + room})
        await host.use(VERSION)
        await host.compile()
        assert (Worker.answers == []) == is_asked
    because = "compiling may take 768 MiB beside 1 MiB, and worker.memory_bytes allows 768 MiB"
    assert host.loaded is not None and host.loaded.remarks == ["another", WHY + because]


async def test_nothing_is_asked_where_nothing_may_be_compiled(
    host_of: Callable[..., ModelHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "may_compile", False)
    host = host_of()
    await host.compile()
    await host.use(VERSION)
    await host.compile()


async def test_a_daemon_that_ends_does_not_wait_for_the_compiler(
    host_of: Callable[..., ModelHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of()
    await host.use(VERSION)
    monkeypatch.setattr(Worker, "ask", lambda *_, **__: asyncio.sleep(3600))
    compiling = asyncio.create_task(host.compile())
    await asyncio.sleep(0)
    compiling.cancel()
    await asyncio.wait({compiling})
    assert compiling.cancelled() and host.version is None


@pytest.mark.parametrize(
    ("is_good", "is_verdict_due", "is_asked"), [(True, False, True), (True, True, False), (False, False, False)]
)
async def test_it_is_asked_for_after_a_good_assessment(
    is_good: bool, is_verdict_due: bool, is_asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not where the next one loads another version first, to compare with."""
    given = {"model.uri": "models:/m/1", "data_dir": tmp_path, "http.port": 0, "inputs.port": 0}
    daemon, asked = Daemon(settings.load(given).settings), []

    async def nothing(*_: Any, **__: Any) -> None:
        pass

    async def ask() -> None:
        assert daemon._one_at_a_time.locked()
        asked.append(True)

    monkeypatch.setattr(daemon._runner, "assess", nothing)
    monkeypatch.setattr(daemon._runner, "concluded", (VERSION, None) if is_good else None)
    monkeypatch.setattr("robmon.daemon.runner.Runner.is_verdict_due", is_verdict_due)
    monkeypatch.setattr(daemon._attacker, "attack_if_due", nothing)
    monkeypatch.setattr(daemon._host, "compile", ask)
    try:
        await daemon._assess()
    finally:
        await daemon._runner.close()
        await daemon._writer.close()
    assert asked == [True] * is_asked


async def test_another_version_that_is_served_is_not_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"model.uri": "models:/m/1", "data_dir": tmp_path, "http.port": 0, "inputs.port": 0}
    daemon, began, prepared = Daemon(settings.load(given).settings), asyncio.Event(), []

    async def nothing(*_: Any, **__: Any) -> None:
        pass

    async def is_changed(*_: Any, **__: Any) -> bool:
        return True

    async def hang() -> None:
        began.set()
        await asyncio.sleep(3600)

    async def prepare() -> None:
        prepared.append(True)

    monkeypatch.setattr(daemon._runner, "assess", nothing)
    monkeypatch.setattr(daemon._runner, "concluded", (VERSION, None))
    monkeypatch.setattr(daemon._runner, "prepare", prepare)
    monkeypatch.setattr(daemon._attacker, "attack_if_due", nothing)
    monkeypatch.setattr(daemon._host, "compile", hang)
    monkeypatch.setattr(daemon._follower, "poll", is_changed)
    try:
        assessing = asyncio.create_task(daemon._assess())
        await began.wait()
        assert daemon._one_at_a_time.locked()
        await daemon._look()
        await assessing
    finally:
        await daemon._runner.close()
        await daemon._writer.close()
    assert prepared == [True]


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "auto"), ({"device.compile": "never"}, "never"), ({"device.idle_release_seconds": 30}, "never")],
)
def test_what_the_worker_is_told(given: dict[str, Any], expected: str) -> None:
    """A worker that is ended after each assessment would compile before each."""
    assert settings.load({"model.uri": "models:/m/1", **given}).settings.device.use.compile == expected


PATIENT_SECONDS = 500.0
"""On a machine that others keep busy, a process that is nice has little of it."""
REAL = f"""#!{sys.executable}
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from robmon.models.devices import compilation
from robmon.models.flavours import torch_predictor
from robmon.worker.__main__ import main
compilation.Compilation.decide.__defaults__ = ({PATIENT_SECONDS}, -9.0)
torch_predictor.COMPILED_ON = {{"cpu"}}
sys.argv = [sys.argv[0], *sys.argv[-2:]]
main()
"""


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C compiler, g++")
async def test_a_real_worker_compiles_and_is_alone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")  # compiles less
    monkeypatch.setattr("robmon.daemon.worker.host.COMPILE_SECONDS", 2 * PATIENT_SECONDS)
    python = tmp_path / "python"
    python.write_text(REAL, encoding="utf-8")
    python.chmod(0o755)
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.Tanh(), torch.nn.Linear(9, 2)),
            tmp_path / "model",
            signature=tensor("float32", (-1, 3)),
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    given = settings.load(
        {"model.uri": "models:/m/1", "worker.python": str(python), "worker.timeout_seconds": 1000}
    ).settings
    host = ModelHost(given, Metrics("m", InputCounts(), lambda: (0, None)))
    sample = [json.dumps({"inputs": [[row / 3, 1, 2]]}).encode() for row in range(64)]
    requests = [SampledRequest(format="mlflow", headers={}, seed=0) for _ in sample]
    asked, results = question(64, requests=requests, max_seconds=300), []
    try:
        await host.use(VERSION.model_copy(update={"path": str(tmp_path / "model")}))
        for _ in range(2):
            results.append((await host.assess(asked, sample))[0])
            await host.compile()
        assert host._worker is not None and host.loaded is not None
        worker = psutil.Process(host._worker.pid)
        assert (worker.children(recursive=True), worker.nice()) == ([], min(19, psutil.Process().nice() + 10))
    finally:
        await host.close()
    assert (host.loaded.remarks, host.loaded.compiled) == ([], True)
    assert [result.compiled for result in results] == [False, True]
    before, after = ([level.mean_mse for level in result.levels] for result in results)
    assert before == pytest.approx(after, rel=1e-3)
