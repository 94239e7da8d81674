"""The engine on torch tensors, on the device that is there: `cuda` where there is one, else `cpu`.

`make gpu` runs this file without the project's own environment.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robmon
from robmon.models.devices.device import DeviceUse
from robmon.noise import NOISE_MODELS, Gaussian, Noise
from robmon.vocabulary import IMAGE_NOISES
from robmon.worker.device_guest import DeviceGuest, open_device
from tests.robustness import linear

DEVICE = os.environ.get("ROBMON_GPU_TESTS_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
HOME = str(torch.empty(0, device=DEVICE).device)
LEVELS = (0.1, 0.2)
HOST_DRAW = Noise("host draw", lambda generator, shape: generator.standard_normal(shape))
"""A user's own noise, drawn in main memory: the same for NumPy and for tensors."""


@pytest.fixture(autouse=True)
def in_full_precision() -> Iterator[None]:
    """Convolutions too: numbers are compared."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


class Function(nn.Module):
    """A module that computes a function of its inputs, on the device of its only parameter."""

    def __init__(self, function: Any, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.Parameter(torch.tensor(linear.WEIGHTS, dtype=dtype, device=DEVICE))

    def forward(self, x: Any) -> Any:
        assert x.device == self.weights.device
        return self.function(x, self.weights)


def scores(x: Any, weights: Any) -> Any:
    """Three scores, of NumPy's arrays or of tensors alike."""
    where = torch.stack if isinstance(x, torch.Tensor) else np.stack
    return where([x @ weights, x[:, 0] ** 2 - x[:, 1], 2 * x[:, 2] * x[:, 3]], -1)


def small_network(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(DEVICE, dtype)


def tensor(array: Any, dtype: torch.dtype = torch.float64) -> Any:
    return torch.tensor(array, dtype=dtype, device=DEVICE)


def figures(result: Any) -> list[float]:
    """Numbers on which every part of a batch has its say."""
    curve = [each for point in result.curve for each in (point.mean_mse, point.bound, point.realised_level)]
    classes = [point.agreement for point in result.curve if point.agreement is not None]
    return [*curve, *classes, result.slope.value, *result.row_errors.ravel().tolist()]


@pytest.mark.parametrize("noise", ["gaussian", "uniform", "laplace"])
def test_the_linear_model_has_its_closed_form(noise: str) -> None:
    inputs = linear.inputs(512)
    given = {"levels": LEVELS, "trials": 59, "scale": 1.0, "noise": noise}
    result = robmon.assess(Function(torch.matmul), tensor(inputs), **given)
    host = robmon.assess(lambda x: x @ linear.WEIGHTS, inputs, **given)
    assert result.slope.value == pytest.approx(linear.SQUARED_NORM, rel=0.05)
    for point, other in zip(result.curve[1:], host.curve[1:], strict=True):
        assert point.mean_mse == pytest.approx(point.level**2 * linear.SQUARED_NORM, rel=0.05)
        assert point.realised_level == pytest.approx(point.level, rel=0.02)
        assert point.bound == pytest.approx(other.bound, rel=0.3)
        assert point.request_bound == pytest.approx(other.request_bound, rel=0.5)
        assert np.mean(point.trial_mse <= point.bound) >= 0.95
    assert result.curve[0].mean_mse == 0 and result.own_mse == 0


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_numbers_do_not_depend_on_batches_and_groups(dtype: torch.dtype, relative: float, task: str) -> None:
    network, inputs = small_network(dtype), tensor(linear.inputs(66), dtype)
    given = {"levels": LEVELS, "trials": 7, "confidence": 0.8, "task": task}
    given["output"] = None if task == "regression" else "logit"
    alone = robmon.assess(network, inputs, max_batch_rows=66, **given)
    for batch_rows in (1, 7, 64, 198, None):
        result = robmon.assess(network, inputs, max_batch_rows=batch_rows, **given)
        assert figures(result) == pytest.approx(figures(alone), rel=relative, abs=1e-9), batch_rows
        means = [point.mean_mse for point in result.curve]
        assert means == pytest.approx([point.mean_mse for point in alone.curve], rel=1e-6, abs=1e-12), batch_rows


def test_the_same_seed_gives_the_same_numbers() -> None:
    network, inputs = small_network(), tensor(linear.inputs(70))
    first, again, other = (robmon.assess(network, inputs, levels=LEVELS, seed=seed) for seed in (3, 3, 4))
    assert figures(first) == figures(again) and figures(first) != figures(other)


def test_more_rows_do_not_change_what_the_first_get() -> None:
    network, inputs = small_network(), tensor(linear.inputs(300))
    few, many = (robmon.assess(network, inputs[:rows], levels=LEVELS, scale=1.0) for rows in (130, 300))
    assert few.row_errors.ravel() == pytest.approx(many.row_errors[:130].ravel(), rel=1e-9)


@pytest.mark.parametrize(
    ("dtype", "relative"),
    [(torch.float64, 0.05), (torch.float32, 0.05), (torch.float16, 0.06), (torch.bfloat16, 0.15)],
)
def test_every_floating_type_of_inputs(dtype: torch.dtype, relative: float) -> None:
    seen = []

    def watched(x: Any, weights: Any) -> Any:
        seen.append(x.dtype)
        return x @ weights

    module = Function(watched, dtype)
    result = robmon.assess(module, tensor(linear.inputs(512), dtype), levels=(0.2, 0.4), trials=59, scale=1.0)
    assert set(seen) == {dtype}
    for point in result.curve[1:]:
        assert point.mean_mse == pytest.approx(point.level**2 * linear.SQUARED_NORM, rel=relative)
        assert point.realised_level == pytest.approx(point.level, rel=0.03)


def test_cells_that_are_missing_or_codes_stay_as_they_are() -> None:
    inputs = linear.inputs(200)
    inputs[::7, 1] = np.nan
    inputs[::10, 2] = -9999.0
    given, stayed = tensor(inputs), []

    def watched(x: Any, weights: Any) -> Any:
        copies = x.view(-1, 200, 4) if len(x) % 200 == 0 else None
        if copies is not None:
            stayed.append(bool(copies[:, ::7, 1].isnan().all() and (copies[:, ::10, 2] == -9999.0).all()))
            stayed.append(bool(torch.isfinite(copies[:, 1::7, 1]).all()))
        return x.nan_to_num() @ weights

    result = robmon.assess(Function(watched), given, levels=LEVELS, trials=19, max_batch_rows=400)
    assert len(stayed) > 10 and all(stayed)
    host = robmon.assess(lambda x: np.nan_to_num(x) @ linear.WEIGHTS, inputs, levels=LEVELS, trials=19)
    assert result.masked == host.masked
    assert result.curve[2].mean_mse == pytest.approx(host.curve[2].mean_mse, rel=0.25)


def test_whole_numbers_stay_whole_and_within_their_range() -> None:
    generator, seen = np.random.default_rng(0), []
    inputs = torch.tensor(generator.integers(0, 50, size=(100, 4)), dtype=torch.int16, device=DEVICE)

    def watched(x: Any, weights: Any) -> Any:
        seen.append((x.dtype, int(x.min()), int(x.max())))
        return x.to(weights.dtype) @ weights

    result = robmon.assess(Function(watched), inputs, levels=LEVELS, trials=19, integers="all")
    assert {each[0] for each in seen} == {torch.int16}
    assert all(low >= int(inputs.min()) and high <= int(inputs.max()) for _, low, high in seen)
    assert result.curve[2].mean_mse > 0


def test_no_cell_leaves_the_valid_range() -> None:
    inputs, ends = np.random.default_rng(0).uniform(size=(100, 4)), []

    def watched(x: Any, weights: Any) -> Any:
        ends.append((float(x.min()), float(x.max())))
        return x @ weights

    result = robmon.assess(Function(watched), tensor(inputs), noise=Gaussian(clip=(0.0, 1.0)), levels=(0.4,), trials=19)
    assert min(ends)[0] == 0.0 and max(high for _, high in ends) == 1.0
    assert 0 < result.curve[1].realised_level < 0.4 * 1.02


@pytest.mark.parametrize("noise", sorted(set(NOISE_MODELS) - set(IMAGE_NOISES)))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_noise_does_what_it_does_in_numpy(noise: str, dtype: torch.dtype) -> None:
    inputs = linear.inputs(256)
    given = {"noise": noise, "levels": LEVELS, "trials": 59}
    result = robmon.assess(Function(torch.matmul, dtype), tensor(inputs, dtype), **given)
    host = robmon.assess(lambda x: x @ linear.WEIGHTS, inputs, **given)
    for point, other in zip(result.curve[1:], host.curve[1:], strict=True):
        assert point.mean_mse == pytest.approx(other.mean_mse, rel=0.15) and point.mean_mse > 0
        assert point.realised_level == pytest.approx(other.realised_level, rel=0.1)


@pytest.mark.parametrize("noise", IMAGE_NOISES)
def test_every_perturbation_of_images_does_what_it_does_in_numpy(noise: str) -> None:
    pictures = np.random.default_rng(0).random((64, 3, 16, 16))
    given = {"noise": noise, "levels": (50,) if noise == "jpeg" else (0.5,), "layout": robmon.ImageLayout()}
    result = robmon.assess(Function(lambda x, weights: x.mean(dim=(2, 3))), tensor(pictures), **given)
    host = robmon.assess(lambda x: x.mean(axis=(2, 3)), pictures, **given)
    assert result.curve[1].realised_level == pytest.approx(host.curve[1].realised_level, rel=0.05)
    assert result.curve[1].mean_mse == pytest.approx(host.curve[1].mean_mse, rel=0.2)


def test_outputs_that_are_not_finite_are_infinite_errors() -> None:
    inputs = np.clip(linear.inputs(200), -0.9, 0.9)

    def broken(x: Any, weights: Any) -> Any:
        return torch.where(x[:, 0] > 1, float("nan"), x @ weights)

    result = robmon.assess(Function(broken), tensor(inputs), levels=(0.01, 0.5), trials=19, scale=1.0)
    assert result.curve[1].nonfinite_outputs == 0 and np.isfinite(result.curve[1].bound)
    assert result.curve[2].nonfinite_outputs > 0
    assert result.curve[2].mean_mse == np.inf == result.curve[2].bound


@pytest.mark.parametrize("with_targets", [False, True])
def test_logits_are_judged_as_in_numpy_on_the_same_draws(with_targets: bool) -> None:
    inputs = linear.inputs(150)
    targets = np.random.default_rng(5).integers(0, 3, 150) if with_targets else None
    given = {"noise": HOST_DRAW, "levels": LEVELS, "trials": 19, "task": "classification", "output": "logit"}
    result = robmon.assess(Function(scores), tensor(inputs), targets, **given)
    host = robmon.assess(lambda x: scores(x, linear.WEIGHTS), inputs, targets, **given)
    assert figures(result) == pytest.approx(figures(host), rel=1e-6, abs=1e-12)
    for point, other in zip(result.curve, host.curve, strict=True):
        assert (point.agreement, point.accuracy) == pytest.approx((other.agreement, other.accuracy))
    assert (result.comparison_row_errors is None) == (host.comparison_row_errors is None)
    if result.comparison_row_errors is not None:
        assert result.comparison_row_errors.ravel() == pytest.approx(host.comparison_row_errors.ravel(), rel=1e-6)


def test_targets_are_what_errors_are_against() -> None:
    inputs = linear.inputs(150)
    targets = inputs @ linear.WEIGHTS + np.random.default_rng(5).normal(size=150)
    given = {"noise": HOST_DRAW, "levels": LEVELS, "trials": 19}
    host = robmon.assess(lambda x: x @ linear.WEIGHTS, inputs, targets, **given)
    for given_targets in (targets, tensor(targets).cpu()):
        result = robmon.assess(Function(torch.matmul), tensor(inputs), given_targets, **given)
        assert result.reference == "label"
        assert result.clean_mse == pytest.approx(host.clean_mse, rel=1e-9)
        assert figures(result) == pytest.approx(figures(host), rel=1e-6, abs=1e-12)
        assert result.label_ceiling == pytest.approx(host.label_ceiling, rel=1e-6)


def test_images_have_a_scale_a_channel() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    images = torch.randn(40, 3, 8, 8) * torch.tensor([1.0, 5.0, 25.0]).view(3, 1, 1)
    given = {"noise": HOST_DRAW, "levels": LEVELS, "trials": 19}
    host = robmon.assess(network, images, device="cpu", **given)
    result = robmon.assess(network, images, device=DEVICE, **given)
    assert result.scale.ravel() == pytest.approx(host.scale.ravel(), rel=1e-5) and result.scale.shape == (3, 1, 1)
    assert [p.mean_mse for p in result.curve] == pytest.approx([p.mean_mse for p in host.curve], rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("kind", ["NumPy", "tensor in main memory", "tensor on the device"])
@pytest.mark.parametrize("place", ["cpu", "device"])
def test_a_module_runs_where_it_is_asked_and_gets_place_and_mode_back(kind: str, place: str) -> None:
    network, inputs = small_network(torch.float32), linear.inputs(70)
    given: Any = inputs if kind == "NumPy" else tensor(inputs, torch.float32)
    network.to("cpu" if place == "cpu" else DEVICE).train()
    network[1].eval()
    home, places = next(network.parameters()).device, set()
    network.register_forward_pre_hook(lambda module, arguments: places.add((str(arguments[0].device), module.training)))
    asked = DEVICE.removesuffix(":0") if place == "cpu" else "auto"
    result = robmon.assess(network, given.cpu() if kind.endswith("memory") else given, levels=LEVELS, device=asked)
    assert places == {(HOME, False)}
    assert next(network.parameters()).device == home
    assert [part.training for part in network.modules()] == [True, True, False, True]
    assert result.curve[2].mean_mse > 0


def allocated_bytes() -> int:
    """That tensors take on a CUDA device."""
    return torch.cuda.memory_allocated() if DEVICE.startswith("cuda") else 0


def tensors() -> int:
    """How many there are."""
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_nothing_is_held_afterwards(task: str) -> None:
    network, inputs = small_network(torch.float32), tensor(linear.inputs(500), torch.float32)
    given = {"levels": LEVELS, "trials": 19, "task": task, "output": None if task == "regression" else "logit"}
    robmon.assess(network, inputs, **given)
    before, bytes_before = tensors(), allocated_bytes()
    for _ in range(2):
        result = robmon.assess(network, inputs, **given)
        gc.collect()
        assert result.trials == 19 and allocated_bytes() == bytes_before
        del result
        assert tensors() == before


class Small(nn.Module):
    """A module for whose batches there is memory up to some rows; beyond, it ends as PyTorch does."""

    def __init__(self, most_rows: int) -> None:
        super().__init__()
        self.network, self.most_rows, self.refused = small_network(), most_rows, 0

    def forward(self, x: Any) -> Any:
        if len(x) > self.most_rows:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.network(x)


@pytest.mark.parametrize("most_rows", [600, 70, 20, 1])
def test_out_of_memory_gives_the_same_numbers_by_smaller_batches(most_rows: int) -> None:
    inputs = tensor(linear.inputs(70))
    given = {"levels": LEVELS, "trials": 19, "max_batch_rows": 1024}
    enough, module = robmon.assess(small_network(), inputs, **given), Small(most_rows)
    result = robmon.assess(module, inputs, **given)
    assert enough.out_of_memory_retries == 0 and result.out_of_memory_retries == module.refused > 0
    assert figures(result) == pytest.approx(figures(enough), rel=1e-9, abs=1e-12)


@pytest.mark.skipif(not DEVICE.startswith("cuda"), reason="memory of a CUDA device is shared by processes")
def test_the_worker_keeps_to_its_share_of_the_device() -> None:
    device = open_device(HOME)
    assert device is not None
    free, total = torch.cuda.mem_get_info(HOME)
    assert device.total_bytes == pytest.approx(total, rel=0.01)
    guest = DeviceGuest(device, DeviceUse(memory_fraction=0.1))
    try:
        most = guest.settle()
        assert device.free_bytes() == pytest.approx(free, abs=2**28)
        assert 0 < most < 0.1 * total
        with guest.assessing():
            part = torch.empty(most // 2, dtype=torch.uint8, device=HOME)
            with pytest.raises(torch.OutOfMemoryError):
                torch.empty(most, dtype=torch.uint8, device=HOME)
            assert torch.cuda.mem_get_info(HOME)[0] < free - most // 3
            del part
        assert most // 2 < guest.used_bytes <= 0.1 * total
        assert torch.cuda.mem_get_info(HOME)[0] == pytest.approx(free, abs=2**28), "the others have it again"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, HOME)
