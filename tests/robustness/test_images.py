"""Perturbations of images against PyTorch's, Pillow's and SciPy's own, and against closed forms."""

from __future__ import annotations

import colorsys
import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats
from torch.nn import functional

import robmon
from robmon import ImageLayout
from robmon.errors import InvalidInputError
from robmon.noise import (
    Brightness,
    Contrast,
    Corruption,
    Crop,
    GaussianBlur,
    Jpeg,
    Noise,
    Pixelate,
    Rotate,
    Thumbnail,
)
from robmon.robustness.features.features import measure
from robmon.robustness.noise.images.corruption import CORRUPTIONS
from robmon.vocabulary import IMAGE_NOISES

Pictures = NDArray[Any]
UNIT = ImageLayout()
GEOMETRIC: list[Noise] = [
    Crop(layout=UNIT), Crop(layout=UNIT, random_offset=True), Crop(layout=UNIT, unit="pixels"), Thumbnail(layout=UNIT),
    Rotate(layout=UNIT), GaussianBlur(layout=UNIT), Pixelate(layout=UNIT),
]  # fmt: skip
LEVELS = {"crop": 0.25, "jpeg": 60.0, "thumbnail": 0.4, "rotate": 15.0, "brightness": 0.2, "contrast": 0.4,
          "gaussian_blur": 1.5, "pixelate": 0.6}  # fmt: skip


def pictures(rows: int = 4, channels: int = 3, height: int = 22, width: int = 30, seed: int = 0) -> Pictures:
    return np.random.default_rng(seed).random((rows, channels, height, width))


def changed(noise: Noise, inputs: Any, level: float, seed: int = 1) -> Any:
    features = noise.fitted(measure(np.asarray(inputs, dtype=np.float64), 1.0), tuple(inputs.shape))
    draw = noise.draw(np.random.default_rng(seed), tuple(inputs.shape), features)
    if isinstance(inputs, torch.Tensor):
        return noise.perturbed(inputs, torch.as_tensor(draw), level, features.like(inputs))
    return noise.perturbed(inputs, draw, level, features)


@pytest.mark.parametrize("level", [0.25, 0.5, 0.83])
def test_a_thumbnail_is_that_of_pytorch_and_of_pillow(level: float) -> None:
    given = pictures()
    small = (round(22 * (1 - level)), round(30 * (1 - level)))
    resize: dict[str, Any] = {"mode": "bilinear", "antialias": True}
    down = functional.interpolate(torch.tensor(given), size=small, **resize)
    expected = functional.interpolate(down, size=(22, 30), **resize).numpy()
    np.testing.assert_allclose(changed(Thumbnail(layout=UNIT), given, level), expected, atol=1e-12)
    grey = (255 * given[:, 0]).astype(np.uint8)
    thumbnails = [
        Image.fromarray(each).resize(small[::-1], Image.Resampling.BILINEAR).resize((30, 22), Image.Resampling.BILINEAR)
        for each in grey
    ]
    own = changed(Thumbnail(layout=ImageLayout(range=(0, 255))), grey[:, None].astype(float), level)[:, 0]
    assert np.abs(own - np.array([np.asarray(each, dtype=float) for each in thumbnails])).max() <= 2


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_jpeg_is_what_pillow_makes(channels: int, mode: str, subsampling: Any) -> None:
    given = (255 * pictures(channels=channels)).astype(np.uint8)
    noise = Jpeg(layout=ImageLayout(range=(0, 255)), subsampling=subsampling)
    for quality in (5, 50, 95):
        made = changed(noise, given.astype(float), 100.0 - quality)
        for own, picture in zip(made, given, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(np.moveaxis(picture, 0, -1).squeeze(), mode).save(
                buffer, "JPEG", quality=quality, subsampling=subsampling
            )
            expected = np.asarray(Image.open(buffer)).reshape(22, 30, channels)
            np.testing.assert_array_equal(np.moveaxis(own, 0, -1), expected)


def test_opacity_is_no_colour() -> None:
    given = pictures(channels=4)
    for noise in (
        Jpeg(layout=UNIT),
        Brightness(layout=UNIT),
        Contrast(layout=UNIT),
        Corruption("shot_noise", layout=UNIT),
    ):
        level = 3.0 if isinstance(noise, Corruption) else LEVELS[noise.name]
        made = changed(noise, given, level)
        np.testing.assert_array_equal(made[:, 3], given[:, 3])
        assert not np.array_equal(made[:, :3], given[:, :3])


@pytest.mark.parametrize("noise", GEOMETRIC, ids=repr)
def test_a_picture_of_one_colour_does_not_move(noise: Noise) -> None:
    flat = np.full((3, 3, 17, 23), 0.3) * np.arange(1, 4)[:, None, None, None]
    level = 3.0 if getattr(noise, "unit", None) == "pixels" else LEVELS[noise.name]
    np.testing.assert_allclose(changed(noise, flat, level), flat, rtol=1e-14)


def test_blocks_of_white_noise_have_its_variance_over_their_pixels() -> None:
    white = np.random.default_rng(0).normal(size=(40, 1, 60, 60))
    layout = ImageLayout(range=(-50, 50))
    for side in (2, 3, 5):
        made = changed(Pixelate(layout=layout), white, 1 - 1 / side)
        assert made.var() * side**2 == pytest.approx(1.0, abs=0.05)


def test_a_blur_is_scipys() -> None:
    given = pictures()
    for deviation in (0.5, 1.0, 4.0, 30.0):
        expected = ndimage.gaussian_filter(given, (0, 0, deviation, deviation), mode="nearest")
        np.testing.assert_allclose(changed(GaussianBlur(layout=UNIT), given, deviation), expected, atol=1e-12)


def test_a_rotation_is_scipys_within_the_picture() -> None:
    given = ndimage.gaussian_filter(pictures(rows=1, channels=1, height=31, width=31), (0, 0, 2, 2))
    noise = Rotate(layout=UNIT)
    features = noise.fitted(measure(given, 1.0), given.shape)
    made = noise.perturbed(given, np.ones((1, 1, 1, 1)), 20.0, features)  # the largest angle
    expected = ndimage.rotate(given[0, 0], 20.0, order=1, reshape=False, mode="nearest")
    assert np.abs(made[0, 0] - expected)[5:-5, 5:-5].max() < 1e-9


def test_a_crop_keeps_the_middle_or_any_place() -> None:
    given = pictures(height=20, width=20)
    middle = torch.tensor(given[:, :, 3:-3, 3:-3])
    expected = functional.interpolate(middle, size=(20, 20), mode="bilinear", antialias=True).numpy()
    np.testing.assert_allclose(changed(Crop(layout=UNIT), given, 0.3), expected, atol=1e-12)
    np.testing.assert_allclose(changed(Crop(layout=UNIT, unit="pixels"), given, 3), expected, atol=1e-12)
    ramp = np.broadcast_to(np.linspace(0, 1, 20), (4000, 1, 20, 20))
    left = changed(Crop(layout=UNIT, random_offset=True), ramp, 0.2)[:, 0, 0, 0] * 19
    places, counts = np.unique(left.round(6), return_counts=True)
    assert places.tolist() == [0, 1, 2, 3, 4]
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("name", IMAGE_NOISES)
def test_channels_first_and_last_and_torch_and_numpy_are_alike(name: str) -> None:
    given, level = pictures(channels=3), LEVELS[name]
    noise = robmon.noise.NOISE_MODELS[name]
    first, last = (type(noise)(layout=ImageLayout(channels)) for channels in ("first", "last"))
    own = changed(first, given, level)
    np.testing.assert_array_equal(np.moveaxis(changed(last, np.moveaxis(given, 1, -1), level), -1, 1), own)
    np.testing.assert_allclose(changed(first, torch.tensor(given), level).numpy(), own, atol=1e-12)
    assert own.min() >= 0.0
    assert own.max() <= 1.0
    assert np.abs(own - given).max() > 0.01


@pytest.mark.parametrize("name", IMAGE_NOISES)
def test_level_0_gives_the_inputs_back_and_whole_numbers_stay_such(name: str) -> None:
    given = (255 * pictures(rows=3)).astype(np.uint8)
    seen: list[Pictures] = []

    def model(x: Pictures) -> Pictures:
        seen.append(x.copy())
        return x.astype(float).mean(axis=(2, 3))

    result = robmon.assess(model, given, noise=name, levels=(LEVELS[name],), trials=19, seed=3)
    assert all(each.dtype == np.uint8 for each in seen)
    assert sum(np.array_equal(each, given) for each in seen) >= 2
    assert not all(np.array_equal(each[:3], given) for each in seen)
    assert "images with channels on axis 1 from 0 to 255" in " ".join(result.notes)


def test_a_model_that_normalises_and_a_client_that_does_are_alike() -> None:
    mean, std = (0.48, 0.45, 0.4), (0.26, 0.27, 0.28)
    shift, scale = (np.reshape(each, (1, 3, 1, 1)) for each in (mean, std))
    weights = np.random.default_rng(1).normal(size=3 * 22 * 30)

    def model(normal: Pictures) -> Pictures:
        return np.tanh(normal.reshape(len(normal), -1) @ weights / 20)

    given = pictures(rows=24)
    for name in IMAGE_NOISES:
        own = robmon.assess(
            lambda x: model((x - shift) / scale), given, noise=name, levels=(LEVELS[name],), trials=19, layout=UNIT
        )
        client = ImageLayout(mean=mean, std=std)
        theirs = robmon.assess(
            model, (given - shift) / scale, noise=name, levels=(LEVELS[name],), trials=19, layout=client
        )
        assert theirs.curve[1].mean_mse == pytest.approx(own.curve[1].mean_mse, rel=1e-6)


def test_the_error_of_a_linear_model_under_a_crop_is_exact() -> None:
    given = pictures(rows=50)
    weights = np.random.default_rng(2).normal(size=given[0].size)
    result = robmon.assess(
        lambda x: x.reshape(len(x), -1) @ weights, given, noise="crop", levels=(0.2, 0.4), layout=UNIT
    )
    for point in result.curve[1:]:
        moves = changed(Crop(layout=UNIT), given, point.level) - given
        assert point.mean_mse == pytest.approx(float(((moves.reshape(50, -1) @ weights) ** 2).mean()), rel=1e-9)


def test_what_has_no_draw_is_run_once_and_has_no_trial_bound() -> None:
    given = pictures(rows=64)
    calls: list[int] = []

    def model(x: Pictures) -> Pictures:
        calls.append(len(x))
        return x.mean(axis=(2, 3))

    result = robmon.assess(model, given, noise="thumbnail", levels=(0.2, 0.4), layout=UNIT)
    assert (result.no_bound, result.trials, result.band) == ("deterministic", 1, None)
    assert [point.bound for point in result.curve] == [None] * 3
    assert all(point.request_bound is not None for point in result.curve)
    assert sum(calls) <= 6 * 64, "each level once, the clean pass twice, and a rehearsal"
    assert (result.slope and result.slope.axis) == "level"
    assert result.noise_margin(limit=1.0) is None
    assert result.to_dict()["no_bound"] == "deterministic"
    assert result.to_dict()["curve"][1]["bound"] is None
    assert "95 % of requests move by less than" in str(result)
    quantized = robmon.assess(lambda x: x[:, 0], given.reshape(64, -1), noise="quantize", levels=(0.5,))
    assert (quantized.no_bound, quantized.curve[1].bound) == ("deterministic", None)
    assert (quantized.slope and quantized.slope.axis) == "level_squared"
    assert robmon.assess(lambda x: x[:, 0], given.reshape(64, -1), levels=(0.5,)).no_bound is None


def test_the_request_bound_covers_further_rows() -> None:
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(1, 12, 12))

    def drawn(rows: int) -> Pictures:
        return ndimage.gaussian_filter(rng.random((rows, 1, 12, 12)), (0, 0, 1, 1))

    def model(x: Pictures) -> Pictures:
        return (x * weights).sum(axis=(1, 2, 3))

    covered = []
    for _ in range(40):
        bound = robmon.assess(model, drawn(99), noise="jpeg", levels=(60,), layout=UNIT).curve[1].request_bound
        fresh = drawn(50)
        error = (model(changed(Jpeg(layout=UNIT), fresh, 60.0)) - model(fresh)) ** 2
        covered.append(float(np.mean(error <= (bound or 0.0))))
    # Of 99 rows the bound's own share is Beta(95, 5) distributed.
    deviation = np.sqrt((0.95 * 0.05 / 101 + 0.95 * 0.05 / 50) / 40)
    assert np.mean(covered) == pytest.approx(0.95, abs=3 * deviation)


def test_corruptions_are_what_their_constants_say() -> None:
    given = np.full((200, 3, 16, 16), 0.5)
    for name, (law, constants, _) in CORRUPTIONS.items():
        moves = [changed(Corruption(name, layout=UNIT), given, float(severity)) - given for severity in range(1, 6)]
        if name in ("gaussian_noise", "speckle_noise"):
            factor = 0.5 if name == "speckle_noise" else 1.0
            assert moves[0].std() == pytest.approx(factor * constants[0], rel=0.02)
        elif name == "shot_noise":
            for move, photons in zip(moves[:3], constants, strict=False):
                law_of = stats.poisson(0.5 * photons)
                expected = np.minimum(law_of.rvs(100_000, random_state=1) / photons, 1.0)
                assert move.mean() + 0.5 == pytest.approx(expected.mean(), abs=0.003)
                assert move.std() == pytest.approx(expected.std(), rel=0.02)
        elif name == "impulse_noise":
            for move, share in zip(moves, constants, strict=True):
                assert (move != 0).mean() == pytest.approx(share, rel=0.03)
                assert (move > 0).mean() == pytest.approx(share / 2, rel=0.05)
        elif not law:
            assert np.abs(changed(Corruption(name, layout=UNIT), given[:2], 5.0) - given[:2]).max() < 0.6


def test_brightness_and_contrast_of_imagenet_c() -> None:
    given = pictures(rows=2)
    made = changed(Corruption("brightness", layout=UNIT), given, 3.0)
    for (red, green, blue), own in zip(given[0].reshape(3, -1).T[:50], made[0].reshape(3, -1).T[:50], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + 0.3))
        np.testing.assert_allclose(own, expected, atol=1e-12)
    mean = given.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(
        changed(Corruption("contrast", layout=UNIT), given, 2.0), (given - mean) * 0.3 + mean, atol=1e-12
    )
    exact = (255 * pictures(channels=1)).astype(np.uint8)
    small = int(22 * 0.3), int(30 * 0.3)
    for own, picture in zip(
        changed(Corruption("pixelate", layout=ImageLayout(range=(0, 255))), exact.astype(float), 4.0),
        exact,
        strict=True,
    ):
        boxes = Image.fromarray(picture[0]).resize(small[::-1], Image.Resampling.BOX)
        assert np.abs(own[0] - np.asarray(boxes.resize((30, 22), Image.Resampling.BOX), dtype=float)).max() <= 1


def test_pixels_outside_the_range_and_pictures_that_are_not_finite_are_left_alone() -> None:
    given = pictures(rows=3)
    given[0, 0, 0, 0], given[1, 1, 2, 2] = 1.5, np.nan
    made = changed(Brightness(layout=UNIT), given, 0.9)
    assert made[0, 0, 0, 0] <= 1.5
    assert made[0, 1:].max() <= 1.0
    np.testing.assert_array_equal(made[1], given[1])


@pytest.mark.parametrize(
    ("given", "options", "sentence"),
    [
        (np.zeros((4, 64)), {"layout": UNIT}, "are no images"),
        (pictures(), {}, "what black and white are is not known, and never guessed"),
        (pictures(channels=2), {"layout": ImageLayout(channels=None)}, "nothing decides which axis"),
        (pictures(channels=3, width=3), {"layout": ImageLayout(channels=None)}, "nothing decides which axis"),
        (pictures(), {"layout": ImageLayout("last")}, "with channels last have 30 of them"),
        (pictures(), {"layout": ImageLayout(mean=(0.5, 0.5), std=1.0)}, "2 numbers are no mean of images of 3"),
        (
            pictures(),
            {"layout": UNIT, "noise": "jpeg", "levels": (0.3, 50)},
            "whole steps of quality below 100, such as 50, not 0.3$",
        ),
        (pictures(), {"layout": UNIT, "noise": "rotate", "levels": (181,)}, "levels count degrees, at most 180"),
        (pictures(), {"layout": UNIT, "noise": "gaussian_blur", "levels": (1e6,)}, "levels count pixels, at most 1000"),
        (pictures(), {"layout": UNIT, "noise": "jpeg", "levels": (100,)}, "at most 99"),
        (pictures(), {"layout": UNIT, "noise": "thumbnail", "levels": (1.5,)}, "share of each side, at most 1"),
        (pictures(), {"noise": Crop(layout=UNIT, unit="pixels"), "levels": (11,)}, "leaves no pixel"),
        (pictures(), {"noise": Corruption("contrast", layout=UNIT), "levels": (0.5,)}, "are severities"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(given: Pictures, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        robmon.assess(lambda x: x.reshape(len(x), -1).sum(axis=1), given, **{"noise": "thumbnail", **options})


def test_a_range_that_cannot_be_that_of_the_pixels_is_refused_or_told() -> None:
    def model(x: Pictures) -> Pictures:
        return x.mean(axis=(1, 2, 3))

    given, options = pictures(rows=24), {"noise": "thumbnail", "levels": (0.5,)}
    for wrong in (255 * given, (given - 0.45) / 0.22):
        with pytest.raises(InvalidInputError, match="of the pixels lie outside the range from 0 to 1"):
            robmon.assess(model, wrong, layout=UNIT, **options)
    normal = robmon.assess(model, (given - 0.45) / 0.22, layout=ImageLayout(mean=0.45, std=0.22), **options)
    assert len(normal.notes) == 2
    dark = robmon.assess(model, given, layout=ImageLayout(range=(0, 255)), **options)
    assert dark.notes[-1] == "no pixel is brighter than 2 % of that range: is it that of the inputs (images.range)?"
    given[0] += 1.0
    notes = robmon.assess(model, given, layout=UNIT, **options).notes
    assert notes[-1] == "4.1 % of the pixels lie outside that range by themselves"


@pytest.mark.parametrize("name", ["crop", "thumbnail", "pixelate"])
def test_levels_too_small_for_the_picture_are_told(name: str) -> None:
    given = pictures(rows=4, height=7, width=9)
    for where, axis in (("first", 1), ("last", -1)):
        inputs, layout = np.moveaxis(given, 1, axis), ImageLayout(where)  # type: ignore[arg-type]
        result = robmon.assess(lambda x: x[:, 0, 0, 0], inputs, noise=name, levels=(0.01, 0.5), layout=layout)
        is_told = result.notes[-1] == "at 0.01 no pixel is lost of pictures of 7 x 9"
        assert is_told == (result.curve[1].realised_level == 0.0) == (name != "pixelate")


def test_a_level_of_pixelate_that_leaves_most_pixels_alone_is_told() -> None:
    given, few, more = pictures(rows=4, height=28, width=28), 0.05, 0.5
    result = robmon.assess(lambda x: x[:, 0, 0, 0], given, noise="pixelate", levels=(few, more), layout=UNIT)
    noise, same = Pixelate(layout=UNIT), "73.5 % of the pixels of pictures of 28 x 28 stay as they are"
    assert result.notes[-1] == f"at 0.05 {same}: choose a higher level"
    assert float((changed(noise, given, few) == given).mean()) == pytest.approx(0.735, abs=5e-4)
    assert noise.unmoved(more, (28, 28)) == 0.0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_corruption_is_assessed_at_each_severity(name: str) -> None:
    given = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    result = robmon.assess(lambda x: x.astype(float).mean(axis=(1, 2)), given, noise=Corruption(name), trials=19)
    assert [point.level for point in result.curve] == [0, 1, 2, 3, 4, 5]
    moves = [point.realised_level for point in result.curve]
    assert moves[0] == 0 and all(move is not None and move > 0 for move in moves[1:])
    assert moves == sorted(moves) or name == "pixelate"  # 0.4 and 0.3 of 8 pixels are 3 and 2 of them, anywhere
    assert result.noise == name and result.level_unit == "severity"


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_corruptions_are_alike_with_channels_first_and_last(name: str, channels: int, dtype: Any) -> None:
    white = 255 if dtype == np.uint8 else 1
    given = (white * pictures(rows=3, channels=channels, height=9, width=11)).astype(dtype)
    seen: dict[str, list[Pictures]] = {"first": [], "last": []}

    def assess(where: Any, axis: int) -> Any:
        def model(x: Pictures) -> Pictures:
            seen[where].append(np.moveaxis(x, axis, 1).copy())
            return seen[where][-1].astype(float).mean(axis=(2, 3))

        noise = Corruption(name, layout=ImageLayout(where, range=(0, white)))
        return robmon.assess(model, np.moveaxis(given, 1, axis), noise=noise, levels=(3,), trials=19, seed=2)

    first, last = assess("first", 1), assess("last", -1)
    assert [point.mean_mse for point in first.curve] == [point.mean_mse for point in last.curve]
    assert any(not np.array_equal(each[:3], given) for each in seen["first"])
    for own, other in zip(*seen.values(), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ImageLayout("middle"), "first or last"),  # type: ignore[arg-type]
        (lambda: ImageLayout(range=(1.0, 0.0)), "black and then white"),
        (lambda: ImageLayout(range=(0.0, float("inf"))), "finite numbers"),
        (lambda: ImageLayout(std=(0.0,)), "above 0"),
        (lambda: Corruption("fog"), "is none of gaussian_noise"),
        (lambda: Crop(unit="inches"), "share or pixels"),  # type: ignore[arg-type]
        (lambda: Jpeg(subsampling="4:1:1"), "one of 4:2:0"),  # type: ignore[arg-type]
        (lambda: ImageLayout.from_dict({"colours": 3}), "no layout"),
    ],
)
def test_a_layout_or_noise_that_cannot_be_is_refused(make: Any, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        make()


def test_the_usual_levels_are_those_of_the_noise() -> None:
    given = (255 * pictures(rows=32)).astype(np.uint8)
    assert robmon.assess(lambda x: x.mean(axis=(1, 2, 3)), given, noise="jpeg").levels == (0, 25, 50, 75, 90)
    result = robmon.assess(lambda x: x.mean(axis=(1, 2, 3)), given, noise=Corruption("contrast"))
    assert result.levels == (0, 1, 2, 3, 4, 5)


def test_a_layout_says_which_axis_has_scales_for_other_noise_too() -> None:
    given = pictures(channels=30, width=3)
    result = robmon.assess(lambda x: x.mean(axis=(1, 2, 3)), given, layout=ImageLayout("first"), levels=(0.1,))
    assert result.scale.shape == (30, 1, 1)
    assert robmon.assess(lambda x: x.mean(axis=(1, 2, 3)), given, levels=(0.1,)).scale.shape == (1, 1, 3)


def test_what_acts_on_whole_pictures_is_not_shared_out_between_channels() -> None:
    with pytest.raises(InvalidInputError, match="acts on whole pictures"):
        robmon.attribute(lambda x: x.mean(axis=(1, 2, 3)), pictures(), noise="thumbnail", level=0.5)


def test_versions_are_compared_under_them() -> None:
    given = pictures(rows=64)
    weights = np.random.default_rng(3).normal(size=given[0].size)

    def rough(x: Pictures) -> Pictures:
        return x.reshape(len(x), -1) @ weights

    def smooth(x: Pictures) -> Pictures:
        return rough(ndimage.gaussian_filter(x, (0, 0, 2, 2))) * 4

    worse = robmon.compare(smooth, rough, given, noise="thumbnail", levels=(0.3,), layout=UNIT, tolerance=0.1)
    assert worse.worse
    assert not robmon.compare(rough, rough, given, noise="jpeg", layout=UNIT, tolerance=0.1).worse
