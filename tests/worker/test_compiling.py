"""The worker compiles its model when it is told to, between two assessments. By torch's own compiler, on the CPU."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pytorch
import pytest
import torch

from robmon.errors import DeviceUnavailableError
from robmon.models.devices.device import DeviceUse
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.model import Load, ModelVersion
from robmon.worker import __main__ as worker
from robmon.worker.compiling import compile_model
from robmon.worker.model_here import ModelHere
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import tensor
from tests.worker.test_device_guest import GIB, FakeDevice
from tests.worker.test_evaluation import question

SAMPLE = [b'{"inputs": [[%d, 2, 3]]}' % row for row in range(64)]
NOTE = "the model is compiled for its device (device.compile)"


@pytest.fixture(autouse=True)
def on_this_processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a CUDA device, and every time that is measured counts as a gain."""
    monkeypatch.setattr("robmon.models.flavours.torch_predictor.COMPILED_ON", {"cpu"})
    monkeypatch.setattr("robmon.models.devices.compilation.Compilation.decide.__defaults__", (300.0, -9.0))
    yield
    torch._dynamo.reset()


def load_question(folder: Path, module: torch.nn.Module, **use: Any) -> Load:
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            module,
            folder,
            signature=tensor("float32", (-1, 3)),
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    return Load(model=ModelVersion(name="m", version="1", path=str(folder)), device=DeviceUse(**use), threads=1)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C compiler, g++")
def test_the_model_is_compiled_between_two_assessments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that is told once it is really used; the canary is asked of the model as it is."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.Linear(9, 2))
    here = ModelHere(load_question(tmp_path / "model", module, compile="auto"))
    model = here.model
    assert here.loaded.may_compile and not here.loaded.compiled
    # What a worker that was killed left there would be taken for whole.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/nowhere/but/here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary" / "robmon-compiling-of-one-that-was-killed").mkdir(parents=True)
    (tmp_path / "temporary" / "robmon-compiling-of-one-that-was-killed" / ".lock").touch()
    asked = question(64, baseline_min_rows=32)
    before, _ = worker.assess(here, asked, SAMPLE, Rejections())
    assert isinstance(before, Assessed) and not before.compiled and NOTE not in before.notes
    assert "canary" in before.baseline
    answer = compile_model(here)
    assert answer.because == "" and answer.time_ratio is not None
    assert list((tmp_path / "temporary").iterdir()) == []
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/nowhere/but/here" and "TRITON_CACHE_DIR" not in os.environ
    later = asked.model_copy(update={"baseline": before.baseline})
    after, _ = worker.assess(here, later, SAMPLE, Rejections())
    assert isinstance(after, Assessed) and after.compiled and NOTE in after.notes
    assert after.canary is not None and after.canary.ratio == 0.0, "to the last bit"
    calls = model.compiled_calls
    with model.as_it_is():
        usual, _ = worker.assess(here, later, SAMPLE, Rejections())
    assert isinstance(usual, Assessed) and not usual.compiled and model.compiled_calls == calls > 0
    means = [[level.mean_mse for level in each.levels] for each in (after, usual)]
    assert means[0] == pytest.approx(means[1], rel=1e-4)


def test_no_folder_to_write_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = ModelHere(load_question(tmp_path / "model", torch.nn.Linear(3, 2), compile="auto"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    why = "the compiler has no folder to write to, such as TMPDIR (No such file or directory)"
    assert compile_model(here).because == why


def test_others_that_need_the_device_are_waited_for(tmp_path: Path) -> None:
    """What was not tried can be tried again."""
    device = FakeDevice()
    asked = load_question(tmp_path / "model", torch.nn.Linear(3, 2), compile="auto", memory_fraction=0.2)
    here = ModelHere(asked, lambda name: device)
    device.others = 79 * GIB
    with pytest.raises(DeviceUnavailableError):
        compile_model(here)
    assert here.model.compilation is not None and here.model.compilation.decided is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_what_is_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not to be, TorchScript, what its owner had compiled, and what is on no CUDA device."""
    never = ModelHere(load_question(tmp_path / "never", torch.nn.Linear(3, 2)))
    script = torch.jit.script(torch.nn.Linear(3, 2))
    scripted = ModelHere(load_question(tmp_path / "scripted", script, compile="auto"))
    owned = ModelHere(load_question(tmp_path / "owned", torch.compile(torch.nn.Linear(3, 2)), compile="auto"))
    monkeypatch.undo()
    on_cpu = ModelHere(load_question(tmp_path / "on_cpu", torch.nn.Linear(3, 2), compile="auto"))
    for here in (never, scripted, owned, on_cpu):
        assert (here.loaded.may_compile, here.model.compilation) == (False, None)
        assert "any more" in compile_model(here).because
