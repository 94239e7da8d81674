"""Channels are last in memory only where outputs stay the same. Needs nothing but torch."""

from __future__ import annotations

import pytest
import torch

from robmon.models.channels_last import ChannelsLast, gains

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


@pytest.mark.parametrize(("flatten", "is_on"), [(torch.nn.Flatten(), True), (View(), False), (Strides(), False)])
@pytest.mark.parametrize("is_scripted", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_channels_are_last_only_where_outputs_stay_the_same(
    flatten: torch.nn.Module, is_on: bool, is_scripted: bool, device: str
) -> None:
    module = convolutions(flatten).to(device)
    x = torch.rand(6, 3, 8, 8, device=device)
    near = {"rtol": 1e-2, "atol": 1e-2} if device == "cuda" else {"rtol": 1e-5, "atol": 1e-5}  # TF32
    own = torch.jit.script(module) if is_scripted else module
    with torch.inference_mode():
        expected = module(x)
        run = ChannelsLast(own)
        torch.testing.assert_close(run(x), expected, **near)
        assert run.is_on is is_on
        torch.testing.assert_close(run(x), expected, **near)
    run(x).sum().backward()
    layout = torch.channels_last if is_on else torch.contiguous_format
    assert all(each.is_contiguous(memory_format=layout) for each in own.parameters() if each.ndim == 4)


def test_channels_last_are_tried_on_a_cuda_device_alone() -> None:
    assert not gains(convolutions(torch.nn.Flatten()), torch.device("cpu"))


@needs_cuda
def test_channels_last_are_tried_where_images_are_convolved() -> None:
    device = torch.device("cuda", 0)
    new = torch.cuda.get_device_capability(device) >= (8, 0)
    assert gains(convolutions(torch.nn.Flatten()).to(device), device) is new
    assert not gains(torch.nn.Linear(3, 3).to(device), device)
