"""The corruptions of ImageNet-C by severity (Hendrycks & Dietterich, ICLR 2019), with its constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, namespace
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Generator
from robmon.robustness.noise.images.geometry import with_large_pixels
from robmon.robustness.noise.images.jpeg import as_jpeg
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.noise.images.light import blurred, with_contrast
from robmon.robustness.noise.images.picture import ImageNoise, of_colours

DEVIATIONS: Final = 9.0
"""Beyond what is expected at white, up to which photons are counted: more are as good as impossible."""


def _shot(pictures: Array, draw: Array, photons: float) -> Array:
    """Photons are counted: Poisson with a mean of so many at white, as the quantile of a uniform draw."""
    xp = namespace(pictures)
    expected = pictures * photons
    chance = xp.exp(-expected)
    below, counted = chance, xp.zeros_like(pictures)
    for count in range(1, math.ceil(photons + DEVIATIONS * math.sqrt(photons)) + 1):
        counted = counted + xp.astype(draw >= below, pictures.dtype)
        chance = chance * expected / count
        below = below + chance
    return counted / photons


def _impulse(pictures: Array, draw: Array, share: float) -> Array:
    xp = namespace(pictures)
    jumped = xp.where(draw < share / 2.0, xp.zeros_like(pictures), xp.ones_like(pictures))
    return xp.where(draw < share, jumped, pictures)


def _brighter(pictures: Array, draw: Array, shift: float) -> Array:
    """More of HSV's value, with hue and saturation as they were."""
    xp = namespace(pictures)
    value = xp.max(pictures, axis=1, keepdims=True)
    new = xp.clip(value + shift, 0.0, 1.0)
    return xp.where(value > 0.0, pictures / xp.where(value > 0.0, value, 1.0) * new, new)


def _encoded(pictures: Array, draw: Array, quality: float) -> Array:
    return as_jpeg(pictures, int(quality), 0.0, 1.0, ImageLayout.jpeg_subsampling)


Change = Callable[[Array, Array, float], Array]
"""`change(pictures, draw, constant)`: colours from 0 to 1, shape `(rows, channels, height, width)`."""
CORRUPTIONS: Final[dict[str, tuple[str, Sequence[float], Change]]] = {
    "gaussian_noise": ("normal", (0.08, 0.12, 0.18, 0.26, 0.38), lambda x, z, sd: x + sd * z),
    "shot_noise": ("uniform", (60, 25, 12, 5, 3), _shot),
    "impulse_noise": ("uniform", (0.03, 0.06, 0.09, 0.17, 0.27), _impulse),
    "speckle_noise": ("normal", (0.15, 0.2, 0.35, 0.45, 0.6), lambda x, z, sd: x + x * (sd * z)),
    "gaussian_blur": ("", (1, 2, 3, 4, 6), lambda x, _, sd: blurred(x, sd)),
    "contrast": ("", (0.4, 0.3, 0.2, 0.1, 0.05), lambda x, _, factor: with_contrast(x, factor)),
    "brightness": ("", (0.1, 0.2, 0.3, 0.4, 0.5), _brighter),
    "jpeg_compression": ("", (25, 18, 15, 10, 7), _encoded),
    "pixelate": ("", (0.6, 0.5, 0.4, 0.3, 0.25), lambda x, _, factor: with_large_pixels(x, factor)),
}
"""Of each: what it draws, its constants at severities 1 to 5, and what it does to colours from 0 to 1."""
SEVERITIES: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


@dataclass(frozen=True)
class Corruption(ImageNoise):
    """A corruption of ImageNet-C. Its levels are the severities 1 to 5, which stand for its published constants.

    Attributes:
        corruption: `gaussian_noise`, `shot_noise`, `impulse_noise`, `speckle_noise`, `gaussian_blur`, `contrast`,
            `brightness`, `jpeg_compression` (needs the extra `images`) or `pixelate`.

    Raises:
        InvalidInputError: there is no such corruption.

    >>> Corruption("shot_noise").name, Corruption("contrast").is_random
    ('shot_noise', False)
    """

    corruption: str
    unit = "severity"
    usual_levels = SEVERITIES

    def __post_init__(self) -> None:
        if self.corruption not in CORRUPTIONS:
            raise InvalidInputError(f"corruption {self.corruption!r} is none of {', '.join(CORRUPTIONS)}")
        object.__setattr__(self, "name", self.corruption)
        object.__setattr__(self, "is_random", bool(CORRUPTIONS[self.corruption][0]))

    def check(self, levels: Sequence[float]) -> None:
        super().check(levels)
        if not set(levels) <= set(SEVERITIES):
            raise InvalidInputError(f"levels of {self.name} are severities: whole numbers from 1 to {SEVERITIES[-1]:g}")

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        law = CORRUPTIONS[self.corruption][0]
        if not law:
            return super().draw(generator, shape, features)
        is_last = self.stated.channel_axis(shape) == 3
        first = (shape[0], shape[3], *shape[1:3]) if is_last else shape
        draw = generator.standard_normal(first) if law == "normal" else generator.random(first)
        return namespace(draw).permute_dims(draw, (0, 2, 3, 1)) if is_last else draw

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        law, constants, change = CORRUPTIONS[self.corruption]
        constant, size = constants[SEVERITIES.index(level) - 1], high - low
        noise = draw[:, :3] if law else draw
        return of_colours(pictures, lambda colours: low + size * change((colours - low) / size, noise, constant))
