"""Channels are last in memory only where outputs stay the same. Needs nothing but torch."""

from __future__ import annotations

import pytest
import torch

from robmon.models.devices.channels_last import with_channels_last

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]


def convolutions(flatten: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), flatten, torch.nn.Linear(8 * 16, 5)
    return torch.nn.Sequential(*layers).eval()


class View(torch.nn.Module):
    """Flattens as old code does, which wants channels first in memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], -1)


class Strides(torch.nn.Module):
    """Reads memory in its order, whatever that is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_strided(x, (x.shape[0], x[0].numel()), (x[0].numel(), 1))


class Seen(torch.nn.Module):
    """Tells in which layout it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.layouts: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.layouts.append(x.is_contiguous(memory_format=torch.channels_last))
        return x


@pytest.mark.parametrize(("flatten", "is_on"), [(torch.nn.Flatten(), True), (View(), False), (Strides(), False)])
@pytest.mark.parametrize("device", DEVICES)
def test_channels_are_last_only_where_outputs_stay_the_same(flatten: torch.nn.Module, is_on: bool, device: str) -> None:
    seen = Seen()
    module = torch.nn.Sequential(seen, convolutions(flatten)).to(device)
    x = torch.rand(6, 3, 8, 8, device=device)
    near = {"rtol": 1e-2, "atol": 1e-2} if device == "cuda" else {"rtol": 1e-5, "atol": 1e-5}  # TF32
    with torch.inference_mode():
        expected = module(x)
        for _ in range(2):  # what is found of a module is remembered with it
            run = with_channels_last(module, torch.device(device))
            torch.testing.assert_close(run(x), expected, **near)
        torch.testing.assert_close(run(x), expected, **near)
    assert seen.layouts == [False, False, True, is_on, is_on]
    run(x).sum().backward()
    assert all(each.is_contiguous() for each in module.parameters())  # the module is its owner's


@pytest.mark.parametrize(("flatten", "is_on"), [(torch.nn.Flatten(), True), (View(), False), (Strides(), False)])
def test_a_scripted_module_computes_the_same(flatten: torch.nn.Module, is_on: bool) -> None:
    module, x = convolutions(flatten), torch.rand(6, 3, 8, 8)
    run = with_channels_last(torch.jit.script(module), torch.device("cpu"))
    with torch.inference_mode():
        for _ in range(3):
            torch.testing.assert_close(run(x), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "module",
    [
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5)),
        convolutions(torch.nn.Flatten()).double(),
        torch.export.export(convolutions(torch.nn.Flatten()), (torch.rand(2, 3, 8, 8),)).module(),
        torch.compile(convolutions(torch.nn.Flatten()), backend="eager"),
    ],
    ids=["no images", "float64", "exported", "compiled"],
)
def test_what_gains_nothing_is_called_as_it_is(module: torch.nn.Module) -> None:
    assert with_channels_last(module, torch.device("cpu")) is module


@needs_cuda
def test_channels_last_are_tried_where_images_are_convolved() -> None:
    device = torch.device("cuda", 0)
    module = convolutions(torch.nn.Flatten()).to(device)
    new = torch.cuda.get_device_capability(device) >= (8, 0)
    assert (with_channels_last(module, device) is not module) is new
    linear = torch.nn.Linear(3, 3).to(device)
    assert with_channels_last(linear, device) is linear
