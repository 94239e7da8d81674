"""Advice against closed forms: what noise becomes in stems, pools and where pixels are left out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import robmon

PICTURE = torch.zeros(2, 3, 16, 16)
GREY = PICTURE[:, :1]


def stem(kernel: np.ndarray[Any, Any]) -> nn.Conv2d:
    layer = nn.Conv2d(1, 1, len(kernel), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(kernel)[None, None])
    return layer


def only(module: nn.Module, example: torch.Tensor, rule: str) -> Any:
    (item,) = [item for item in robmon.advise(module, example).items if item.rule == rule]
    return item


@pytest.mark.parametrize("side", [3, 7, 15])
def test_a_box_keeps_one_over_its_cells_and_a_gaussian_nearly_three(side: int) -> None:
    box = only(stem(np.full((side, side), side**-2.0)), GREY, "stem_noise")
    assert box.gain == pytest.approx(side**-2.0, rel=1e-6)
    places = np.arange(side) - side // 2
    bell = np.exp(-(places**2) / (2 * (side / 6) ** 2))
    bell /= bell.sum()
    gaussian = only(stem(np.outer(bell, bell)), GREY, "stem_noise")
    if side > 3:  # of three cells it is none
        assert gaussian.gain * side**2 == pytest.approx(2.89, rel=0.01)
    assert "1 of 1 filters are low-pass" in gaussian.text


def test_a_stems_gain_is_the_variance_that_noise_has_behind_it() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 7, stride=2, bias=False)
    noise = torch.randn(64, 3, 64, 64)
    measured = float(layer(noise).detach().var())
    assert only(layer, PICTURE, "stem_noise").gain == pytest.approx(measured, rel=0.02)


def test_a_high_pass_is_not_called_low_pass() -> None:
    item = only(stem(np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0.0]])), GREY, "stem_noise")
    assert item.read["low_pass"] == 0
    assert "0 of 1 filters are low-pass" in item.text
    assert item.gain == pytest.approx(20.0)


class Normalised(nn.Module):
    def __init__(self, std: list[float], *, from_bytes: bool = False) -> None:
        super().__init__()
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))
        self.conv, self.from_bytes = nn.Conv2d(3, 4, 3), from_bytes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x / 255 if self.from_bytes else x
        result: torch.Tensor = self.conv((x - 0.5) / self.std)  # type: ignore[operator]
        return result


@pytest.mark.parametrize(
    ("std", "gain"),
    [([0.26862954, 0.26130258, 0.27577711], 1.913), ([0.229, 0.224, 0.225], 2.232), ([0.5] * 3, 1.0)],
    ids=["clip", "imagenet", "inception"],
)
@pytest.mark.parametrize("from_bytes", [False, True])
def test_normalisation_is_computed_from_its_numbers(std: list[float], gain: float, from_bytes: bool) -> None:
    module = Normalised(std, from_bytes=from_bytes)
    assert only(module, PICTURE, "normalisation").gain == pytest.approx(gain, abs=5e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.trace(module, PICTURE)  # type: ignore[no-untyped-call]
    assert only(scripted, PICTURE, "normalisation").gain == pytest.approx(gain, abs=5e-4)


class Pooling(nn.Module):
    def __init__(self, kind: str, side: int) -> None:
        super().__init__()
        self.kind, self.side = kind, side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(functional, f"{self.kind}_pool2d")(x, self.side)


@pytest.mark.parametrize("side", [2, 3, 4])
def test_functions_are_pools_like_modules(side: int) -> None:
    for kind, layer in (("max", nn.MaxPool2d(side)), ("avg", nn.AvgPool2d(side))):
        by_module, by_function = (only(each, GREY, "pooling") for each in (layer, Pooling(kind, side)))
        assert (by_module.gain, by_module.read) == (by_function.gain, by_function.read)
        noise = torch.randn(256, 1, 24, 24, generator=torch.Generator().manual_seed(0))
        assert by_module.gain == pytest.approx(float((layer(noise) ** 2).mean()), rel=0.03)


@pytest.mark.parametrize(("factor", "kept"), [(2, 0.25), (4, 0.25)])
def test_pixels_left_out_without_a_filter_keep_their_noise(factor: int, kept: float) -> None:
    class Smaller(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.interpolate(x, scale_factor=1 / factor, mode="bilinear")

    item = only(Smaller(), torch.zeros(1, 1, 64, 64), "downsampling")
    assert item.gain == pytest.approx(kept, rel=0.03)
    assert f"the mean of an area keeps {factor**-2:.3g}" in item.text


def test_what_noise_becomes_is_measured_and_the_worst_comes_first() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2))
    result = robmon.advise(module, GREY, np.random.default_rng(0).normal(size=(32, 1, 16, 16)).astype(np.float32))
    assert {item.rule for item in result.items} == {"stem_noise", "pooling"}
    growth = [item.measured["after"] / item.measured["before"] for item in result.items if item.measured]
    assert len(growth) == len(result.items) == 3
    assert growth == sorted(growth, reverse=True)
    (first,) = [item for item in result.items if item.rule == "stem_noise" and item.measured]
    assert first.measured["before"] == pytest.approx(0.01, rel=0.05)
    assert str(result).startswith("Advice, not a verdict")
    assert result.to_dict()["items"][0]["measured"] is not None


def test_what_cannot_be_read_is_one_sentence() -> None:
    result = robmon.advise(lambda x: x, np.zeros((2, 3)))
    assert result.items == ()
    assert str(result) == "Advice, not a verdict: not readable, the model is no torch module."
    broken = robmon.advise(nn.Linear(3, 2), np.zeros((2, 4), dtype=np.float32))
    assert "cannot be run on the example (RuntimeError)" in broken.reason
