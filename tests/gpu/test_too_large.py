"""A model that is too large for its share of the device that `auto` chose, in earnest: on CUDA alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from robmon.models import loading
from robmon.models.devices.device import DeviceUse
from robmon.models.flavours import torch_predictor
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.model import Load, ModelVersion
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.robustness.specification import Specification
from robmon.worker.__main__ import assess
from robmon.worker.model_here import ModelHere
from tests.gpu.test_device import DEVICE, HOME

pytestmark = pytest.mark.skipif(not DEVICE.startswith("cuda"), reason="memory of a CUDA device is shared by processes")

FRACTION = 0.06
ROWS = 64


class Greedy(torch.nn.Module):
    """A linear model that takes so many bytes beside its weights and its outputs, wherever it lies."""

    def __init__(self, weights_bytes: int, call_bytes: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.register_buffer("rest", torch.empty(weights_bytes, dtype=torch.uint8))
        self.call_bytes = call_bytes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.empty(self.call_bytes, dtype=torch.uint8, device=x.device)
        outputs: torch.Tensor = self.linear(x)
        return outputs


@pytest.fixture
def too_many_bytes() -> Iterator[int]:
    """Twice the share. On the processor they are never touched, so that they are an address and no memory."""
    yield int(2 * FRACTION * torch.cuda.mem_get_info(HOME)[1])
    torch.cuda.set_per_process_memory_fraction(1.0, HOME)


def here(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, weights: int = 0, call: int = 0) -> ModelHere:
    """The model as a worker has it: MLflow, which would read its file, need not be there."""
    (folder / "MLmodel").write_text("flavors: {pytorch: {model_data: data}}\n", encoding="utf-8")
    monkeypatch.setattr(loading, "import_mlflow", lambda: None)
    monkeypatch.setattr(torch_predictor, "load_module", lambda _, device: Greedy(weights, call).to(device).eval())
    version = ModelVersion(name="m", version="1", path=str(folder))
    return ModelHere(Load(model=version, device=DeviceUse(name=name, memory_fraction=FRACTION), threads=1))


def question() -> Assess:
    return Assess(
        specification=Specification(levels=(0.0, 0.1, 0.2), trials=19),
        number=1,
        seed=7,
        requests=[SampledRequest(format="mlflow", headers={}, seed=row) for row in range(ROWS)],
        rows_per_request=1,
        sample_rows=ROWS,
        min_rows=32,
        max_seconds=60,
        max_features=2,
        baseline=None,
        baseline_min_rows=1000,
    )


def assessed(model: ModelHere) -> Assessed:
    bodies = [b'{"inputs": [[%d, 2, %d]]}' % (row, row % 7) for row in range(ROWS)]
    answer, _ = assess(model, question(), bodies, Rejections())
    assert isinstance(answer, Assessed)
    return answer


def test_a_row_that_needs_more_is_assessed_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, too_many_bytes: int
) -> None:
    held = torch.cuda.memory_allocated(HOME)
    model = here(tmp_path, monkeypatch, "auto", call=too_many_bytes)
    assert (model.loaded.device, model.loaded.remarks) == ("cuda:0", [])
    result = assessed(model)
    assert result.loaded_again is not None and result.loaded_again.device == "cpu"
    assert "a single row needs more memory than its share of cuda:0" in result.loaded_again.remarks[0]
    assert result.out_of_memory_retries > 1 and result.levels[-1].mean_mse > 0
    assert torch.cuda.memory_allocated(HOME) == held
    again = assessed(model)
    assert (again.loaded_again, again.out_of_memory_retries) == (None, 0)
    assert [each.mean_mse for each in again.levels] == [each.mean_mse for each in result.levels]


def test_weights_that_need_more_are_loaded_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, too_many_bytes: int
) -> None:
    held = torch.cuda.memory_allocated(HOME)
    model = here(tmp_path, monkeypatch, "auto", weights=too_many_bytes)
    assert model.loaded.device == "cpu" and "the model needs more memory than its share" in model.loaded.remarks[0]
    assert torch.cuda.memory_allocated(HOME) == held
    assert assessed(model).out_of_memory_retries == 0


@pytest.mark.parametrize("need", ["weights", "call"])
def test_a_device_that_was_asked_for_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, too_many_bytes: int, need: str
) -> None:
    given: dict[str, Any] = {need: too_many_bytes}
    with pytest.raises(Exception, match=r"raise device\.memory_fraction, or let the model run on the CPU"):
        assessed(here(tmp_path, monkeypatch, "cuda:0", **given))
