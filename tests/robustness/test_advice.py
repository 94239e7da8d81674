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
from robmon.errors import InvalidInputError
from robmon.robustness.probes.advice.rules import of_resolutions

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


class Through(nn.Module):
    """A function of the input, and what comes behind it."""

    def __init__(self, function: Any, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.behind = function, behind or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.behind(self.function(x))  # type: ignore[no-any-return]


NOISE = torch.randn(64, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("kind", "antialias", "factor", "kept"),
    [
        ("bilinear", False, 2, 0.25), ("bilinear", False, 4, 0.25), ("nearest", False, 4, 1.0),
        ("bilinear", True, 2, 0.1015), ("bilinear", True, 4, 0.0288), ("bicubic", False, 2, None),
    ],
)  # fmt: skip
def test_pictures_made_smaller_keep_what_noise_keeps(
    kind: str, antialias: bool, factor: int, kept: float | None
) -> None:
    def smaller(x: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(x, scale_factor=1 / factor, mode=kind, antialias=antialias)

    item = only(Through(smaller), NOISE[:1], "downsampling")
    assert item.gain == pytest.approx(float(smaller(NOISE).var()), rel=0.03)
    assert kept is None or item.gain == pytest.approx(kept, rel=0.02)
    assert item.read["filter"] is antialias
    assert ("with a filter" in item.text) is antialias


def test_means_over_areas_are_pools_of_their_size() -> None:
    for factor in (2, 4):
        item = only(Through(lambda x, f=factor: functional.interpolate(x, scale_factor=1 / f, mode="area")), NOISE[:1],
                    "pooling")  # fmt: skip
        assert (item.gain, item.read["kernel"]) == (pytest.approx(factor**-2), [factor, factor])


def test_slices_leave_pixels_out_unless_others_have_them() -> None:
    item = only(Through(lambda x: x[:, :, ::2, ::2]), GREY, "downsampling")
    assert (item.gain, item.read) == (1.0, {"axes": [2, 3], "step": [2, 2]})
    assert "the mean of an area keeps 0.25" in item.text
    behind = only(Through(lambda x: functional.avg_pool2d(x, 2, 1)[:, :, ::2, ::2]), GREY, "downsampling")
    assert behind.gain == 0.25 and "behind a filter" in behind.text

    def space_to_depth(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=1)

    assert robmon.advise(Through(space_to_depth), GREY).items == ()
    assert robmon.advise(Through(lambda x: torch.cat([x[..., ::2], x[..., 1::2]], dim=1)), GREY).items == ()


def test_strided_convolutions_leave_pixels_out_and_transposed_ones_do_not() -> None:
    layer = nn.Conv2d(3, 8, 3, stride=2, bias=False)
    item = only(layer, PICTURE, "downsampling")
    assert item.gain == pytest.approx(float((layer.weight.detach() ** 2).sum(dim=(1, 2, 3)).mean()), rel=1e-6)
    assert item.read == {"kernel": [3, 3], "stride": [2, 2]}
    assert robmon.advise(nn.ConvTranspose2d(3, 8, 3, stride=2), PICTURE).items == ()


def test_groups_of_a_stem_have_their_own_channels_normalisation() -> None:
    layer = nn.Conv2d(2, 2, 1, groups=2, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    divides = Through(lambda x: x / torch.tensor([0.5, 0.25]).reshape(1, 2, 1, 1), layer)
    assert only(divides, PICTURE[:, :2], "stem_noise").gain == pytest.approx((4 + 16) / 2)


@pytest.mark.parametrize(
    "normalise",
    [
        lambda x: (x - 0.4) / torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1),
        lambda x: x.sub_(0.4).div_(torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)),
        lambda x: torch.nn.functional.pad((x / 255 - 0.4) / torch.tensor([[[0.229]], [[0.224]], [[0.225]]]), (1, 1)),
        lambda x: functional.batch_norm(
            x, torch.zeros(3), torch.tensor([0.229, 0.224, 0.225]) ** 2, eps=0.0, training=False
        ),
    ],
    ids=["divided", "in place", "bytes, padded", "batch norm"],
)
def test_normalisation_is_found_however_it_is_written(normalise: Any) -> None:
    given = PICTURE.clone()
    assert only(Through(normalise, nn.Conv2d(3, 4, 3)), given, "normalisation").gain == pytest.approx(2.232, abs=1e-3)
    assert torch.equal(given, PICTURE), "the example stays as it is"


def test_a_clients_normalisation_counts_as_the_modules_own() -> None:
    layout = robmon.ImageLayout(std=(0.26862954, 0.26130258, 0.27577711))
    layer = nn.Conv2d(3, 4, 3)
    by_client = robmon.advise(layer, PICTURE, layout=layout).items
    by_module = robmon.advise(Normalised(list(layout.std or ())), PICTURE)
    assert [item.rule for item in by_client] == [item.rule for item in by_module.items]
    assert by_client[0].gain == pytest.approx(1.913, abs=5e-4)
    std = np.array(layout.std)[None, :, None, None]
    powers = (layer.weight.detach().numpy() / std) ** 2
    assert by_client[1].gain == pytest.approx(powers.sum(axis=(1, 2, 3)).mean(), rel=1e-6)


def test_what_depends_on_the_rows_is_no_constant() -> None:
    items = robmon.advise(Through(lambda x: x / x.std(), nn.Conv2d(3, 4, 3)), torch.randn(2, 3, 16, 16)).items
    assert items == ()


def in_channels(x: torch.Tensor) -> torch.Tensor:
    x = x.clone()
    for channel in range(3):
        x[:, channel] = (x[:, channel] - 0.4) / 0.2
    return x


@pytest.mark.parametrize(
    "before",
    [in_channels, lambda x: x.clone().clamp_(0.4, 0.6), lambda x: (x / 0.2).relu_()],
    ids=["channels", "clamp", "relu"],
)
def test_what_changes_an_input_in_place_ends_what_is_known_of_it(before: Any) -> None:
    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(before(x))

    assert "stem_noise" not in [item.rule for item in robmon.advise(Stem(), PICTURE).items]


def test_a_stem_is_found_behind_another_shape() -> None:
    torch.manual_seed(0)

    class Sound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv1d(1, 4, 9, stride=4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer((x / 2).unsqueeze(1))

    module = Sound()
    gain = float((module.layer.weight.detach() ** 2).sum(dim=(1, 2)).mean()) / 4
    assert only(module, torch.zeros(2, 100), "stem_noise").gain == pytest.approx(gain)


def test_rows_without_a_scale_are_refused_not_called_unreadable() -> None:
    with pytest.raises(InvalidInputError):
        robmon.advise(nn.Conv2d(3, 4, 3), PICTURE, PICTURE)


def test_what_is_measured_is_what_was_there_before_work_in_place() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2)]
    in_place = nn.Sequential(layers[0], nn.ReLU(inplace=True), layers[2])
    rows = np.random.default_rng(0).normal(size=(80, 1, 16, 16)).astype(np.float32)
    one, other = (robmon.advise(each, rows[:1], rows) for each in (nn.Sequential(*layers), in_place))
    assert [item.measured for item in one.items] == [item.measured for item in other.items]
    draw = np.random.default_rng(0).standard_normal(rows.shape)  # noise as it is drawn, of batches one after the other
    noise = torch.tensor(draw * rows.std() * 0.1, dtype=torch.float32)
    clean = layers[0](torch.tensor(rows)).detach().double()
    moved = layers[0](torch.tensor(rows) + noise).detach().double()
    (stem_item,) = [item for item in one.items if item.rule == "stem_noise"]
    assert stem_item.measured is not None
    expected = float(((moved - clean) ** 2).mean() / clean.var(correction=0))
    assert stem_item.measured["after"] == pytest.approx(expected, rel=0.02)


def test_a_path_that_varies_is_told_and_nothing_measured() -> None:
    def either(x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, 2) if float(x.mean()) == 0.0 else functional.avg_pool2d(x, 2)

    rows = np.random.default_rng(0).normal(size=(8, 1, 16, 16)).astype(np.float32)
    result = robmon.advise(Through(either), GREY, rows)
    assert [item.measured for item in result.items] == [None]
    assert "takes another path" in str(result)


def test_other_resolutions_keep_more_or_less_noise() -> None:
    items = of_resolutions((224, 224), [("2", (112, 112)), ("1", (448, 448)), ("4", (224, 224))])
    assert [(item.rule, item.gain) for item in items] == [("resolution", 0.25), ("resolution", 4.0)]
    assert "version 2 takes 112 x 112" in items[0].text and "0.25 of the noise's variance is left" in items[1].text


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
    assert (
        str(result)
        == "Advice, not a verdict: not readable, the model is no torch module of tensors, and no graph of ONNX."
    )
    broken = robmon.advise(nn.Linear(3, 2), np.zeros((2, 4), dtype=np.float32))
    assert "cannot be run on the example (RuntimeError)" in broken.reason
