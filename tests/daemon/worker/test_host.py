"""The one worker: what is left of a sample when it dies, and of it when the daemon does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import mlflow.pytorch
import pandas as pd
import psutil
import pytest
import torch
from structlog.testing import capture_logs

from robmon import settings
from robmon.daemon.app import Daemon
from robmon.daemon.worker.host import ModelHost
from robmon.daemon.worker.not_assessed import NotAssessedError
from robmon.export.metrics import Metrics
from robmon.inputs.counts import InputCounts
from robmon.models.devices.torch_device import load_driver, why_no_cuda
from robmon.processes.channel import Frame
from robmon.processes.command import Command
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.attack import AttackRows
from robmon.processes.messages.every_process import Failure
from robmon.processes.messages.model import Load, LoadedModel, ModelVersion
from robmon.processes.messages.question import SampledRequest
from robmon.vocabulary import RESTART_REASONS
from tests.export.published import everything
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import columns, save_pyfunc, tensor
from tests.worker.test_evaluation import question


def ends(inputs: pd.DataFrame) -> Any:
    os._exit(3)


async def test_parquet_is_not_tried_again_when_the_worker_died(tmp_path: Path) -> None:
    """Foreign code reads it, which a broken file may end: it would be in the next sample, too."""
    folder = save_pyfunc(tmp_path / "model", ends, columns(("a", "double")))
    sent = {
        "application/json": json.dumps({"dataframe_records": [{"a": 1.5}]}).encode(),
        "Application/vnd.apache.parquet": pd.DataFrame({"a": [2.5]}).to_parquet(),
        "text/csv": b"a\n3.5\n",
    }
    requests = [SampledRequest(format="mlflow", headers={"content-type": kind}, seed=0) for kind in sent]
    metrics = Metrics("m", InputCounts(), lambda: (0, None))
    host = ModelHost(settings.load({"model.uri": "models:/m/1"}).settings, metrics)
    try:
        await host.use(ModelVersion(name="m", version="1", path=str(folder), flavors=["python_function"]))
        with pytest.raises(NotAssessedError) as caught:
            await host.assess(question(3, requests=requests, min_rows=2), list(sent.values()))
    finally:
        await host.close()
    assert (caught.value.outcome, caught.value.reason) == ("failed", "crash"), str(caught.value)
    assert caught.value.rejections.unusable == [1]


def hangs(inputs: pd.DataFrame) -> Any:
    time.sleep(3600)


async def test_a_model_that_hangs_in_an_attack_costs_that_attack_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker is killed soon after the budget, and the next assessment waits for no pause after a failure."""
    monkeypatch.setattr("robmon.daemon.worker.host.ATTACK_GRACE_SECONDS", 0.5)
    folder = save_pyfunc(tmp_path / "model", hangs, columns(("a", "double")))
    bodies = [json.dumps({"dataframe_records": [{"a": row / 3}]}).encode() for row in range(4)]
    requests = [SampledRequest(format="mlflow", headers={}, seed=0) for _ in bodies]
    sample = question(len(bodies), requests=requests, min_rows=2, max_seconds=0.5, task="classification")
    metrics = Metrics("m", InputCounts(), lambda: (0, None))
    host = ModelHost(settings.load({"model.uri": "models:/m/1"}).settings, metrics)
    try:
        await host.use(ModelVersion(name="m", version="1", path=str(folder), flavors=["python_function"]))
        with pytest.raises(NotAssessedError, match="no answer within 1 s") as caught:
            await host.attack(AttackRows(sample=sample, radii=[0.1]), bodies)
    finally:
        await host.close()
    assert (caught.value.outcome, caught.value.reason) == ("failed", "timeout")
    assert (host.version, host.waiting) == (None, False)
    assert metrics.registry.get_sample_value("robmon_worker_restarts_total", {"reason": "timeout"}) == 1


class FullDevice:
    """In the place of a worker on a CUDA device, which this machine may lack: it has no room from some time on."""

    full: ClassVar[set[str]] = set()
    stopped: ClassVar[int] = 0
    memory_bytes = 0

    @classmethod
    async def start(cls, command: Command) -> FullDevice:
        return cls()

    async def ask(self, message: AnyMessage, blobs: Sequence[bytes] = (), *, timeout_seconds: float) -> Frame:
        if message.type in self.full:
            return Failure(reason="device_full", message="cuda:0 has no room"), []
        return LoadedModel(flavor="torch", device="cuda:0"), []

    async def stop(self) -> None:
        FullDevice.stopped += 1


class Confused(FullDevice):
    """In the place of a worker in which model code has forked, and which answers what was asked before."""

    async def ask(self, message: AnyMessage, blobs: Sequence[bytes] = (), *, timeout_seconds: float) -> Frame:
        measurement = everything().view.measurement
        if message.type != "assess" or measurement is None:
            return LoadedModel(flavor="sklearn", device="cpu"), []
        return measurement.result.model_copy(update={"number": message.number - 1}), [b""]


async def test_an_answer_to_another_question_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be taken for what is found on other requests; that worker is ended."""
    monkeypatch.setattr("robmon.daemon.worker.host.Child", Confused)
    monkeypatch.setattr(FullDevice, "stopped", 0)
    metrics = Metrics("m", InputCounts(), lambda: (0, None))
    host = ModelHost(settings.load({"model.uri": "models:/m/1"}).settings, metrics)
    await host.use(ModelVersion(name="m", version="1", path="nowhere", flavors=["sklearn"]))
    with pytest.raises(NotAssessedError, match="does not fit the question") as caught:
        await host.assess(question(3), [])
    assert (caught.value.outcome, caught.value.reason) == ("failed", "error")
    assert (FullDevice.stopped, host.version) == (1, None)
    assert metrics.registry.get_sample_value("robmon_worker_restarts_total", {"reason": "crash"}) == 1


async def test_a_worker_on_a_full_device_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that others have all of its memory; that is no failure of the worker's, and it is started again."""
    monkeypatch.setattr("robmon.daemon.worker.host.Child", FullDevice)
    monkeypatch.setattr(FullDevice, "full", full := set[str]())
    monkeypatch.setattr(FullDevice, "stopped", 0)
    metrics = Metrics("m", InputCounts(), lambda: (0, None))
    host = ModelHost(settings.load({"model.uri": "models:/m/1", "device.name": "cuda"}).settings, metrics)
    version = ModelVersion(name="m", version="1", path="nowhere", flavors=["pytorch"])

    await host.use(version)
    full.add("assess")
    with pytest.raises(NotAssessedError, match="cuda:0 has no room") as caught:
        await host.assess(question(3), [])
    assert (caught.value.outcome, caught.value.reason) == ("skipped", "device_full")
    assert (FullDevice.stopped, host.version, host.waiting) == (1, None, False)

    full.add("load")
    for _ in range(2):  # the second time it is not even tried
        with pytest.raises(NotAssessedError, match="cuda:0 has no room") as caught:
            await host.use(version)
        assert (caught.value.outcome, caught.value.reason) == ("skipped", "device_full")
    assert FullDevice.stopped == 2
    value = metrics.registry.get_sample_value
    assert value("robmon_model_failures_total", {"stage": "load", "reason": "device_full"}) == 1
    assert {value("robmon_worker_restarts_total", {"reason": reason}) for reason in RESTART_REASONS} == {0}


class TooSmallDevice(FullDevice):
    """In the place of a worker which takes its model from the device at the second question, as at the one before."""

    asked: ClassVar[list[AnyMessage]] = []

    async def ask(self, message: AnyMessage, blobs: Sequence[bytes] = (), *, timeout_seconds: float) -> Frame:
        self.asked.append(message)
        measurement = everything().view.measurement
        if message.type != "assess" or measurement is None:
            return LoadedModel(flavor="torch", device="cuda:0"), []
        again = LoadedModel(flavor="torch", device="cpu", remarks=["device.name is auto, and the model runs ..."])
        if message.number == 3:
            return Failure(reason="over_budget", message="too slow", loaded_again=again), []
        told = {"number": message.number, "device_memory_bytes": (5 if message.number == 1 else 4) * 2**30}
        return measurement.result.model_copy(update=told | {"loaded_again": again if message.number == 2 else None}), [
            b""
        ]


@pytest.mark.parametrize("number", [2, 3])
async def test_a_model_that_has_left_its_device_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Whether the assessment ended well or not: in the log, and where page and metrics have it from."""
    monkeypatch.setattr("robmon.daemon.worker.host.Child", TooSmallDevice)
    monkeypatch.setattr(TooSmallDevice, "asked", asked := list[AnyMessage]())
    given = {"data_dir": tmp_path, "http.port": 0, "inputs.port": 0, "device.name": "auto"}
    daemon = Daemon(settings.load({"model.uri": "models:/m/1", **given}).settings)
    host, runner, version = daemon._host, daemon._runner, ModelVersion(name="m", version="1", path="nowhere")
    try:
        await host.use(version)
        view = replace(everything().view, model=version, loaded=host.loaded)
        await host.assess(question(3, number=1), [])
        assert runner._as_loaded(view).loaded == LoadedModel(flavor="torch", device="cuda:0")
        with capture_logs() as logs, suppress(NotAssessedError):
            await host.assess(question(3, number=number), [])
        assert [line["because"] for line in logs if line["event"] == "device not used as set"] == [
            "device.name is auto, and the model runs ..."
        ]
        now = runner._as_loaded(view).loaded
        assert now is not None and now.device == "cpu"
        assert runner._as_loaded(replace(view, model=version.model_copy(update={"version": "2"}))).loaded == view.loaded

        await host.close()
        await host.use(version)
        assert [each.enough_bytes for each in asked if isinstance(each, Load)] == [None, 5 * 2**30]
    finally:
        await host.close()
        await runner.close()
        await daemon._writer.close()


async def test_an_idle_worker_is_ended_and_started_again(tmp_path: Path) -> None:
    """By the daemon's job; all of its memory is back then, and nothing counts as a failure."""
    folder = save_pyfunc(tmp_path / "model", lambda inputs: inputs["a"].to_numpy(), columns(("a", "double")))
    bodies = [json.dumps({"dataframe_records": [{"a": row / 3}]}).encode() for row in range(8)]
    requests = [SampledRequest(format="mlflow", headers={}, seed=0) for _ in bodies]
    asked = question(len(bodies), requests=requests, min_rows=2, max_seconds=300)
    given = {"data_dir": tmp_path, "http.port": 0, "inputs.port": 0, "device.idle_release_seconds": 30}
    daemon = Daemon(settings.load({"model.uri": "models:/m/1", **given}).settings)
    host, version = daemon._host, ModelVersion(name="m", version="1", path=str(folder), flavors=["python_function"])
    try:
        for _ in range(2):
            await host.use(version)
            await host.assess(asked, bodies)
            assert host.version == "1" and host._worker is not None
            process = psutil.Process(host._worker.pid)
            await daemon._release_idle()
            assert process.is_running(), "it has just answered"
            host._answered_at -= 30
            async with daemon._one_at_a_time:  # an assessment is under way
                await daemon._release_idle()
            assert process.is_running()
            await daemon._release_idle()
            assert host.version is None and not process.is_running()
            assert (host.memory_bytes, host.waiting) == (0, False)
    finally:
        await host.close()
        await daemon._runner.close()
        await daemon._writer.close()
    value = daemon._metrics.registry.get_sample_value
    assert {value("robmon_worker_restarts_total", {"reason": reason}) for reason in RESTART_REASONS} == {0}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
async def test_how_the_device_is_used_is_told(tmp_path: Path) -> None:
    """From the settings to the worker, and back to log, page, metrics and result."""
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            torch.nn.Linear(3, 2),
            tmp_path / "model",
            signature=tensor("float32", (-1, 3)),
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    given = {"model.uri": "models:/m/1", "device.name": "auto", "device.precision": "bfloat16"}
    host = ModelHost(settings.load(given).settings, Metrics("m", InputCounts(), lambda: (0, None)))
    sample = [json.dumps({"inputs": [[row / 3, 1, 2]]}).encode() for row in range(8)]
    requests = [SampledRequest(format="mlflow", headers={}, seed=0) for _ in sample]
    try:
        with capture_logs() as logged:
            await host.use(ModelVersion(name="m", version="1", path=str(tmp_path / "model"), flavors=["pytorch"]))
        result, _ = await host.assess(question(8, requests=requests, min_rows=2, max_seconds=300), sample)
    finally:
        await host.close()
    why = f"device.name is auto, and the model runs on the CPU: {why_no_cuda(torch.version.cuda, load_driver)}"
    assert host.loaded is not None
    assert (host.loaded.device, host.loaded.precision, host.loaded.remarks) == ("cpu", "bfloat16", [why])
    assert [line["because"] for line in logged if line["event"] == "device not used as set"] == [why]
    assert "the model computes in bfloat16 wherever autocast lets it (device.precision)" in result.notes


DAMAGES = {
    "numpy": "numpy.isfinite = broken",
    "reading JSON": "json.loads = json.JSONDecoder.decode = broken",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_worker_that_its_model_has_damaged_is_replaced(tmp_path: Path, damage: str) -> None:
    """The model does it in its first call of all, and is sane afterwards; only a new interpreter is, too."""
    flag = tmp_path / "damaged"

    def predict(inputs: pd.DataFrame) -> Any:
        import json

        import numpy

        def broken(*_: object, **__: object) -> Any:
            raise RuntimeError

        if not flag.exists():
            flag.touch()
            exec(damage, {"json": json, "numpy": numpy, "broken": broken})
        return inputs["a"].to_numpy()

    folder = save_pyfunc(tmp_path / "model", predict, columns(("a", "double")))
    bodies = [json.dumps({"dataframe_records": [{"a": row / 3}]}).encode() for row in range(8)]
    requests = [SampledRequest(format="mlflow", headers={}, seed=0) for _ in bodies]
    metrics = Metrics("m", InputCounts(), lambda: (0, None))
    host = ModelHost(settings.load({"model.uri": "models:/m/1"}).settings, metrics)
    version = ModelVersion(name="m", version="1", path=str(folder), flavors=["python_function"])
    outcomes = []
    try:
        for _ in range(6):
            try:
                await host.use(version)
                await host.assess(question(len(bodies), requests=requests, min_rows=2), bodies)
                outcomes.append("ok")
            except NotAssessedError as error:
                outcomes.append(error.outcome)
    finally:
        await host.close()
    assert outcomes in (
        ["failed"] * 3 + ["ok"] * 3,
        ["ok", "failed", "failed", "failed", "ok", "ok"],
        ["ok", "failed", "ok", "ok", "ok", "ok"],  # the worker ends, since it cannot read the next question
    )
    assert metrics.registry.get_sample_value("robmon_worker_restarts_total", {"reason": "crash"}) == 1


DEAF = f"""#!{sys.executable}
import os, sys, time
from robmon.processes.channel import Channel
from robmon.processes.messages.every_process import Hello
from robmon.processes.messages.model import LoadedModel
channel = Channel.from_fd(int(sys.argv[-1]))
channel.send(Hello(pid=os.getpid()))
channel.receive()
channel.send(LoadedModel(flavor="python_function", device="cpu"))
time.sleep(3600)
"""


async def test_no_worker_is_left_where_the_daemon_ends_while_it_is_replaced(tmp_path: Path) -> None:
    """The job that does so is cancelled while the worker, which does not end when it is asked to, is waited for."""
    others = psutil.Process().children()
    python = tmp_path / "python"
    python.write_text(DEAF, encoding="utf-8")
    python.chmod(0o755)
    given = settings.load({"model.uri": "models:/m/1", "worker.python": str(python)}).settings
    for steps in range(1, 8):
        host = ModelHost(given, Metrics("m", InputCounts(), lambda: (0, None)))
        await host.load(ModelVersion(name="m", version="1", path="nowhere"))
        replacing = asyncio.create_task(host.load(ModelVersion(name="m", version="2", path="nowhere")))
        for _ in range(steps):
            await asyncio.sleep(0)
        replacing.cancel()
        await asyncio.wait({replacing})
        await host.close()
        left = [process for process in psutil.Process().children() if process not in others]
        for process in left:
            process.kill()
        assert (replacing.cancelled(), left) == (True, []), steps
