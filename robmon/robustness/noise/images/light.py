"""How bright, how contrasty and how sharp a picture is."""

from __future__ import annotations

from dataclasses import dataclass

from robmon.robustness.arrays import Array, namespace
from robmon.robustness.noise.images.picture import ImageNoise, of_colours
from robmon.robustness.noise.images.resampling import along_both, gaussian
from robmon.vocabulary import LARGEST_LEVELS, LEVEL_UNITS, USUAL_LEVELS


@dataclass(frozen=True, kw_only=True)
class Brightness(ImageNoise):
    """All colours of a picture become brighter, or darker, by a share of the range from black to white; the sign is
    random.
    """

    name = "brightness"
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        shift = (level * (high - low)) * _signs(draw)
        return of_colours(pictures, lambda colours: colours + shift)


@dataclass(frozen=True, kw_only=True)
class Contrast(ImageNoise):
    """Each channel moves away from its mean over the picture, or towards it, by a share of the distance; the sign is
    random.
    """

    name = "contrast"
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        factor = 1.0 + level * _signs(draw)
        return of_colours(pictures, lambda colours: with_contrast(colours, factor))


def with_contrast(colours: Array, factor: Array | float) -> Array:
    """Each channel that many times as far from its mean over the picture."""
    mean = namespace(colours).mean(colours, axis=(2, 3), keepdims=True)
    return mean + factor * (colours - mean)


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(ImageNoise):
    """The picture is out of focus: a Gaussian blur with a standard deviation of so many pixels. Deterministic."""

    name = "gaussian_blur"
    usual_levels = USUAL_LEVELS[name]
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]
    is_random = False

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        return blurred(pictures, level)


def blurred(pictures: Array, deviation: float) -> Array:
    """Pictures under a Gaussian blur, in pixels."""
    return along_both(pictures, *(gaussian(int(length), deviation) for length in pictures.shape[2:]))


def _signs(draw: Array) -> Array:
    """1 or -1, each as likely as the other."""
    xp = namespace(draw)
    return xp.where(draw < 0.5, -xp.ones_like(draw), xp.ones_like(draw))
