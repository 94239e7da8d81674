"""A model that is too large for the device that `auto` chose. The device is the processor under another's name.

In earnest it is tried in tests/gpu.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import mlflow.pyfunc
import mlflow.pytorch
import pytest
import torch

from robmon.errors import DeviceUnavailableError, ModelLoadError, OverBudgetError, SingleRowError
from robmon.models.devices import torch_device
from robmon.models.devices.device import DeviceUse
from robmon.models.flavours import onnx_predictor, torch_predictor
from robmon.processes.channel import Channel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.every_process import Failure, Rejections, Stop
from robmon.processes.messages.model import LoadedModel
from robmon.worker import __main__ as worker
from robmon.worker import device_guest
from robmon.worker.device_guest import GIB
from robmon.worker.failing import failure
from robmon.worker.model_here import ADVICE, ModelHere
from tests.models.conftest import columns, tensor
from tests.models.flavours.test_onnx import LOGITS, linear, save
from tests.worker.test_device_guest import MIB, SAMPLE, FakeDevice, load_question
from tests.worker.test_evaluation import question
from tests.worker.too_large import CUDA, Large, Place, save_large, small_device

ROWS = [b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[%d, 2, 3]]}}' % row for row in range(64)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_large(tmp_path_factory.mktemp("large") / "model")


@pytest.fixture(autouse=True)
def on_a_small_device(monkeypatch: pytest.MonkeyPatch) -> None:
    small_device(monkeypatch)
    monkeypatch.setattr(device_guest, "MEMORY_SECONDS", 0.0)


def loaded(folder: Path, device: FakeDevice | None = None, name: str = "auto", **changes: Any) -> ModelHere:
    device = device or FakeDevice()
    asked = load_question(folder, name=name, memory_fraction=0.2).model_copy(update=changes)
    return ModelHere(asked, {CUDA: device, "cpu": None}.__getitem__)


def assess(here: ModelHere, **changes: Any) -> Assessed:
    answer, _ = worker.assess(here, question(64, **changes), SAMPLE, Rejections())
    assert isinstance(answer, Assessed)
    return answer


def test_the_same_assessment_goes_on_on_the_cpu(folder: Path) -> None:
    device = FakeDevice(tensors=100 * MIB)
    here = loaded(folder, device)
    assert (here.loaded.device, here.loaded.remarks) == (CUDA, [])
    result = assess(here)

    again = result.loaded_again
    assert again is not None and again == here.loaded and again.device == "cpu"
    [why] = again.remarks
    assert why == (
        "device.name is auto, and the model runs on the CPU: a single row needs more memory than its share of cuda:0, "
        "16.0 GiB with CUDA's context (device.memory_fraction is 0.2)"
    )
    in_vain = [rows for place, rows in Large.called if place == CUDA]
    assert in_vain[-1] == 1 and result.out_of_memory_retries > 1
    assert device.gave_back >= 3, "before, after, and when it was left"
    assert result.device_memory_bytes == device.context + 100 * MIB, "as long as it was there"

    alone = assess(loaded_alone(folder))
    assert [point.mean_mse for point in result.levels] == [point.mean_mse for point in alone.levels]
    assert (result.plan.rows, result.draws) == (alone.plan.rows, alone.draws)


def loaded_alone(folder: Path) -> ModelHere:
    Large.alive.clear()
    return loaded(folder, name="cpu")


def test_there_it_stays_and_needs_nobodys_room(folder: Path) -> None:
    device = FakeDevice()
    here = loaded(folder, device)
    assess(here)
    Large.called.clear()
    device.others = 79 * GIB
    result = assess(here)
    assert {place for place, _ in Large.called} == {"cpu"}
    assert (result.loaded_again, result.out_of_memory_retries) == (None, 0)
    assert result.device_memory_bytes == device.context, "which stays until this process ends"


def test_smaller_batches_are_tried_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Large, "most_rows", 20)
    result = assess(loaded(folder))
    assert result.loaded_again is None and result.out_of_memory_retries > 0
    assert {place for place, _ in Large.called} == {CUDA}


def test_it_has_what_is_left_of_the_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Large, "when_full", staticmethod(lambda: time.sleep(0.06)))
    here = loaded(folder)
    with pytest.raises(OverBudgetError):
        assess(here, max_seconds=0.5)
    assert len(Large.called) > 8, "more than half a second in vain"
    news = here.take_news()
    assert news is not None and news.device == "cpu"
    first, second = assess(here), assess(here)
    assert first.loaded_again is None
    assert first.out_of_memory_retries > 8, "counted with the first that ends well"
    assert second.out_of_memory_retries == 0


def test_a_device_that_was_asked_for_is_not_left(folder: Path) -> None:
    here = loaded(folder, name="cuda")
    with pytest.raises(SingleRowError) as caught:
        assess(here)
    assert str(caught.value) == f"the model cannot take a single row: out of memory: {ADVICE}"
    told = failure(caught.value, Rejections())
    assert (told.reason, told.message) == ("out_of_memory", str(caught.value))
    assert (here.loaded.device, here.take_news()) == (CUDA, None)


def test_for_others_it_does_not_leave(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have taken of its share while it was asked: that is as where they did so before."""
    device = FakeDevice()
    here = loaded(folder, device)
    monkeypatch.setattr(Large, "when_full", staticmethod(lambda: setattr(device, "others", 79 * GIB)))
    with pytest.raises(DeviceUnavailableError, match=r"and a single row needs more$") as caught:
        assess(here)
    assert caught.value.reason == "device_full"
    assert (here.loaded.device, here.take_news()) == (CUDA, None)


def test_a_share_that_was_larger_and_enough_comes_back(folder: Path) -> None:
    """Others have taken part of it since: that they give back, and the model has run with it."""
    device = FakeDevice(40 * GIB)
    before = 10 * GIB
    with pytest.raises(DeviceUnavailableError, match=r"and a single row needs more$"):
        assess(loaded(folder, device, enough_bytes=before))
    Large.alive.clear()
    Large.can_be_loaded.discard(CUDA)
    with pytest.raises(DeviceUnavailableError, match=r"and the model needs more$"):
        loaded(folder, device, enough_bytes=before)
    assert loaded(folder, FakeDevice(), enough_bytes=before).loaded.device == "cpu", "no less than before, this time"


def test_what_was_enough_is_seen_here_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(tensors=9 * GIB)
    here = loaded(folder, device)
    monkeypatch.setattr(Large, "most_rows", 1000)
    assert assess(here).device_memory_bytes == device.context + 9 * GIB
    monkeypatch.setattr(Large, "most_rows", 0)
    device.others, device.tensors = 40 * GIB, GIB
    with pytest.raises(DeviceUnavailableError, match=r"and a single row needs more$"):
        assess(here)


def test_rows_that_do_not_fit_beside_each_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample lies on the device as a whole."""
    here = loaded(folder)

    def on(place: Any, array: Any) -> torch.Tensor:
        if str(place) == CUDA:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch_device.tensor_on(place, array)

    monkeypatch.setattr(torch_predictor, "tensor_on", on)
    monkeypatch.setattr(Large, "most_rows", 1000)
    again = assess(here).loaded_again
    assert again is not None and "the rows of the sample need more memory than its share" in again.remarks[0]


def test_main_memory_that_ran_out_is_no_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: Any) -> Any:
        raise MemoryError

    here = loaded(folder)
    monkeypatch.setattr("robmon.worker.evaluation.usable_sample", fill)
    with pytest.raises(MemoryError):
        assess(here)
    assert here.take_news() is None


# --- a model that cannot even be loaded there -------------------------------------------------------------------------


def test_a_model_larger_than_its_share_is_loaded_on_the_cpu(folder: Path) -> None:
    Large.can_be_loaded.discard(CUDA)
    device = FakeDevice(cache=GIB)
    here = loaded(folder, device)
    assert here.loaded.device == "cpu" and device.cache == 0
    [why] = here.loaded.remarks
    assert why.startswith("device.name is auto, and the model runs on the CPU: the model needs more memory than its")
    assert (assess(here).loaded_again, here.take_news()) == (None, None), "it was told when it was loaded"


def test_a_model_larger_than_its_share_of_the_device_that_was_asked_for(folder: Path) -> None:
    Large.can_be_loaded.discard(CUDA)
    with pytest.raises(DeviceUnavailableError, match=r"and the model needs more: raise device.memory_fraction, or let"):
        loaded(folder, name="cuda")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_device_with_no_share_for_anybody(folder: Path, name: str) -> None:
    device = FakeDevice(total_bytes=2 * GIB)
    if name == "cuda":
        with pytest.raises(DeviceUnavailableError, match="CUDA's context alone takes"):
            loaded(folder, device, name)
    else:
        [why] = loaded(folder, device).loaded.remarks
        assert why.startswith("device.name is auto, and the model runs on the CPU: cuda:0 has 2.0 GiB of 2.0 GiB free")
    assert not device.is_open


def test_a_device_that_others_fill_is_waited_for(folder: Path) -> None:
    with pytest.raises(DeviceUnavailableError, match="CUDA's context alone takes"):
        loaded(folder, FakeDevice(79 * GIB))


def test_a_model_that_cannot_be_loaded_on_the_cpu_either(folder: Path) -> None:
    """That is told of this assessment, and the next tries it again."""
    here = loaded(folder)
    Large.can_be_loaded.discard("cpu")
    for _ in range(2):
        with pytest.raises(ModelLoadError, match="the model cannot be loaded"):
            assess(here)
        assert here.take_news() is None
    Large.can_be_loaded.add("cpu")
    again = assess(here).loaded_again
    assert again is not None and again.device == "cpu"


# --- how the daemon is told -------------------------------------------------------------------------------------------


def test_a_failure_tells_where_the_model_is_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Large, "when_full", staticmethod(lambda: time.sleep(0.06)))
    monkeypatch.setattr(ModelHere.__init__, "__defaults__", ({CUDA: FakeDevice(), "cpu": None}.__getitem__,))
    asked: list[Any] = [load_question(folder, name="auto", memory_fraction=0.2)]
    asked += [question(64, max_seconds=seconds) for seconds in (0.5, 300)]
    told: list[Any] = []
    ends = SimpleNamespace(
        receive=lambda: (asked.pop(0), SAMPLE) if asked else (Stop(), []), send=lambda answer, *_: told.append(answer)
    )
    worker._answer(cast("Channel", ends))
    first, failed, result = told
    assert isinstance(first, LoadedModel) and first.device == CUDA
    assert isinstance(failed, Failure) and failed.reason == "over_budget"
    assert failed.loaded_again is not None and failed.loaded_again.device == "cpu"
    assert isinstance(result, Assessed) and result.loaded_again is None


# --- other flavours ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # which MLflow hands to torch
def test_models_of_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's pyfunc calls them, and puts them where it is told."""
    folder = save_large(tmp_path / "model", columns(*((name, "float") for name in "abc")))
    resolve, load_model = torch_device.resolve, mlflow.pyfunc.load_model

    def load_as(path: str, *, model_config: dict[str, str], **options: Any) -> Any:
        model = load_model(path, model_config={"device": "cpu"}, **options)
        [module] = Large.alive
        module.place = model_config["device"]
        return model

    monkeypatch.setattr(mlflow.pyfunc, "load_model", load_as)
    monkeypatch.setattr(torch_device, "resolve", lambda name: resolve(name) if name == "cpu" else (Place("cpu"), []))
    here = loaded(folder)
    assert (here.loaded.flavor, here.loaded.device) == ("pyfunc", CUDA)
    result, _ = worker.assess(here, question(64), ROWS, Rejections())
    assert isinstance(result, Assessed) and result.loaded_again is not None
    assert result.loaded_again.device == "cpu" and result.out_of_memory_retries > 1


def test_models_of_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sessions here have no CUDA: they are given it by name, and take no row there."""
    folder = save(tmp_path / "model", linear(LOGITS), tensor("float32", (-1, 4)))
    opened = onnx_predictor._open

    def on_cuda(file: Path, use: DeviceUse, options: Any, claim: Any) -> Any:
        if use.name == "auto":
            claim(CUDA)
            session, _, _ = opened(file, use.model_copy(update={"name": "cpu"}), options, lambda _: None)
            return Full(session), CUDA, []
        return opened(file, use, options, claim)

    monkeypatch.setattr(onnx_predictor, "_open", on_cuda)
    monkeypatch.setattr(onnx_predictor, "_is_shared_with_torch", lambda: False)
    here = loaded(folder)
    assert here.loaded.device == CUDA
    sample = [b'{"inputs": [[%d, 2, 3, 4]]}' % row for row in range(64)]
    result, _ = worker.assess(here, question(64), sample, Rejections())
    assert isinstance(result, Assessed) and result.loaded_again is not None
    assert result.loaded_again.device == "cpu" and "a single row needs more" in result.loaded_again.remarks[0]


class Full:
    """A session that has no memory, and says it as ONNX Runtime does."""

    def __init__(self, session: Any) -> None:
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs

    def run(self, *_: Any) -> Any:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 21474836480")
