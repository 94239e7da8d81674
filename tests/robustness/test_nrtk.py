"""Perturbers of the real NRTK as noises: bit for bit what the package makes itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from nrtk.impls.perturb_image.environment import HazePerturber
from nrtk.impls.perturb_image.geometric.random import RandomTranslationPerturber
from nrtk.impls.perturb_image.photometric.enhance import BrightnessPerturber, ContrastPerturber, SharpnessPerturber
from nrtk.interfaces import PerturbImage
from numpy.typing import NDArray

import robmon
from robmon import ImageLayout
from robmon.errors import InvalidInputError
from robmon.noise import Nrtk
from tests.robustness.test_images import changed

BYTES = ImageLayout(range=(0, 255))
Pictures = NDArray[np.uint8]


def pictures(rows: int = 5, channels: int = 3, height: int = 17, width: int = 24) -> Pictures:
    return np.random.default_rng(3).integers(0, 256, (rows, channels, height, width), dtype=np.uint8)


def translation(level: float, seed: int) -> Any:
    return partial(RandomTranslationPerturber(seed=seed), max_translation_limit=(round(level), round(level)))


@pytest.mark.parametrize("make", [HazePerturber, BrightnessPerturber, ContrastPerturber, SharpnessPerturber])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_made_is_what_the_package_makes(make: Any, channels: int) -> None:
    def of_level(level: float) -> PerturbImage:
        return make(factor=level)

    given = pictures(channels=channels)
    made = changed(Nrtk("its", of_level, layout=BYTES), given.astype(float), 0.6)
    for own, picture in zip(made, given, strict=True):
        image = picture[0] if channels == 1 else np.moveaxis(picture, 0, -1)
        expected, _ = of_level(0.6).perturb(image=np.ascontiguousarray(image))
        np.testing.assert_array_equal(own, expected[None] if channels == 1 else np.moveaxis(expected, -1, 0))
    assert np.abs(made - given).max() > 0


def test_channels_last_other_ranges_and_what_clients_normalise_by_are_undone() -> None:
    given = pictures()

    def haze(level: float) -> HazePerturber:
        return HazePerturber(factor=level)

    first = changed(Nrtk("haze", haze, layout=BYTES), given.astype(float), 0.5)
    last = changed(Nrtk("haze", haze, layout=ImageLayout("last", (0, 255))), np.moveaxis(given, 1, -1) * 1.0, 0.5)
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), first)
    normal = ImageLayout(range=(0, 1), mean=0.4, std=0.25)  # type: ignore[arg-type]
    made = changed(Nrtk("haze", haze, layout=normal), (given / 255 - 0.4) / 0.25, 0.5)
    np.testing.assert_allclose((made * 0.25 + 0.4) * 255, first, atol=1e-9)


def test_one_that_draws_has_a_bound_and_the_same_numbers_by_the_same_seed() -> None:
    given = pictures(rows=64)

    def model(x: Pictures) -> Any:
        return x[:, :, :4].astype(float).mean(axis=(1, 2, 3))

    noise = Nrtk("shift", translation, is_random=True, unit="pixels")
    results = [robmon.assess(model, given, noise=noise, levels=(2, 6), trials=19, seed=seed) for seed in (1, 1, 2)]
    assert [result.curve[1].mean_mse for result in results[:2]] == [results[0].curve[1].mean_mse] * 2
    assert results[0].curve[1].mean_mse != results[2].curve[1].mean_mse
    assert (results[0].trials, results[0].no_bound) == (19, None)
    assert results[0].curve[2].bound is not None
    assert len(set(results[0].curve[2].trial_mse.tolist())) == 19
    assert results[0].level_unit == "pixels"
    parts = robmon.assess(model, given, noise=noise, levels=(2, 6), trials=19, seed=1, max_batch_rows=7)
    assert parts.curve[2].mean_mse == pytest.approx(results[0].curve[2].mean_mse, rel=1e-12)


def test_one_that_does_not_draw_runs_one_trial_with_a_request_bound() -> None:
    noise = Nrtk("dark", lambda level: BrightnessPerturber(factor=1.0 - level), unit="share of the light")
    given = pictures(rows=40)
    result = robmon.assess(lambda x: x.astype(float).mean(axis=(1, 2, 3)), given, noise=noise, levels=(0.3, 0.6))
    dark = [BrightnessPerturber(factor=0.7).perturb(image=np.moveaxis(each, 0, -1))[0].mean() for each in given]
    moves = np.array(dark) - given.mean(axis=(1, 2, 3))
    assert result.curve[1].mean_mse == pytest.approx(float((moves**2).mean()), rel=1e-12)
    assert (result.no_bound, result.trials, result.curve[1].bound) == ("deterministic", 1, None)
    assert result.curve[2].request_bound is not None
    assert (result.noise, result.level_unit) == ("dark", "share of the light")


class Smaller:
    def __call__(self, *, image: Pictures) -> Any:
        return image[:-1], None


class Floating:
    def __call__(self, *, image: Pictures) -> Any:
        return image / 2, None


@pytest.mark.parametrize(("made", "sentence"), [(Smaller, r"shape \(16, 24, 3\)"), (Floating, "type float64")])
def test_one_that_keeps_neither_shape_nor_type_is_refused(made: type, sentence: str) -> None:
    noise = Nrtk("odd", lambda level: made())
    with pytest.raises(InvalidInputError, match=f"odd made a picture of .*{sentence}"):
        robmon.assess(lambda x: x.astype(float).mean(axis=(1, 2, 3)), pictures(rows=40), noise=noise, levels=(0.5,))
