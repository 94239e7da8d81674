"""Where a picture is cut, how it is turned, and how many pixels are left of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, like, namespace
from robmon.robustness.noise.images.picture import ImageNoise
from robmon.robustness.noise.images.resampling import along_both, bilinear, box
from robmon.vocabulary import GUARD, LARGEST_LEVELS, LEVEL_UNITS, USUAL_LEVELS


@dataclass(frozen=True, kw_only=True)
class Crop(ImageNoise):
    """The borders are cut off and the rest is resized to the old size, bilinearly: a nearer camera, another framing.

    Attributes:
        unit: what a level counts: `share`, of the length of each side that is lost, or `pixels`, lost at each border
            (10 pixels are the crop of Zheng et al., CVPR 2016).
        random_offset: whether the part that is kept lies at a random place, each equally likely, or in the middle. In
            the middle it is deterministic.
    """

    unit: Literal["share", "pixels"] = "share"
    random_offset: bool = False
    name = "crop"

    def __post_init__(self) -> None:
        if self.unit not in ("share", "pixels"):
            raise InvalidInputError(f"levels of a crop count share or pixels, not {self.unit!r}")
        object.__setattr__(self, "is_random", self.random_offset)
        if self.unit == "share":
            object.__setattr__(self, "largest_level", LARGEST_LEVELS[self.name])

    def level_unit(self, relative: bool, word: str = "feature") -> str:
        return LEVEL_UNITS[self.name] if self.unit == "share" else "pixels of each border"

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        xp, sides = namespace(pictures), [int(length) for length in pictures.shape[2:]]
        kept = [self._kept(length, level) for length in sides]
        down, across = (length - part + 1 for length, part in zip(sides, kept, strict=True))
        if self.random_offset:
            place = xp.astype(xp.floor(draw[:, 0, 0, 0] * (down * across)), xp.int64)
            top, left = place // across, place % across
        else:
            top, left = (xp.full_like(draw[:, 0, 0, 0], gap // 2, dtype=xp.int64) for gap in (down - 1, across - 1))
        rows, columns = (like(np.arange(part), pictures) for part in kept)
        window = _gathered(pictures, top[:, None, None] + rows[:, None], left[:, None, None] + columns)
        return along_both(window, *(bilinear(part, length) for part, length in zip(kept, sides, strict=True)))

    def keeps_size(self, level: float, sides: Sequence[int]) -> bool:
        return all(self._kept(length, level) == length for length in sides)

    def _kept(self, length: int, level: float) -> int:
        kept = length - 2 * round(level) if self.unit == "pixels" else max(1, round(length * (1.0 - level)))
        if kept < 1:
            raise InvalidInputError(f"crop at level {level:g} leaves no pixel of a side of {length}")
        return kept


@dataclass(frozen=True, kw_only=True)
class Thumbnail(ImageNoise):
    """The picture is made smaller and enlarged again, both bilinearly with a low-pass: a preview instead of the file.

    A level is the share of each side's pixels that is lost: 0.247 turns 299 pixels into 225 (Zheng et al., CVPR 2016).
    Deterministic.
    """

    name = "thumbnail"
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]
    is_random = False

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        sides = [int(length) for length in pictures.shape[2:]]
        small = _shrunk(sides, level)
        return along_both(
            pictures, *(bilinear(few, many) @ bilinear(many, few) for many, few in zip(sides, small, strict=True))
        )

    def keeps_size(self, level: float, sides: Sequence[int]) -> bool:
        return _shrunk(sides, level) == list(sides)


def _shrunk(sides: Sequence[int], level: float) -> list[int]:
    return [max(1, round(length * (1.0 - level))) for length in sides]


@dataclass(frozen=True, kw_only=True)
class Pixelate(ImageNoise):
    """Pixels become larger: blocks are replaced by their means.

    A level is the share of each side's pixels that is lost. Deterministic.
    """

    name = "pixelate"
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]
    is_random = False

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        return with_large_pixels(pictures, 1.0 - level)

    def keeps_size(self, level: float, sides: Sequence[int]) -> bool:
        return _floored(sides, 1.0 - level) == list(sides)

    def unmoved(self, level: float, sides: Sequence[int]) -> float:
        pairs = zip(sides, _floored(sides, 1.0 - level), strict=True)
        both = (box(few, many) @ box(many, few) for many, few in pairs)
        return math.prod(float(np.isclose(np.diag(matrix), 1.0).mean()) for matrix in both)


def with_large_pixels(pictures: Array, factor: float) -> Array:
    """Pictures whose sides have so many of their pixels left, rounded down, resized to what they were."""
    sides = [int(length) for length in pictures.shape[2:]]
    small = _floored(sides, factor)
    return along_both(pictures, *(box(few, many) @ box(many, few) for many, few in zip(sides, small, strict=True)))


def _floored(sides: Sequence[int], factor: float) -> list[int]:
    return [max(1, math.floor(length * factor + GUARD)) for length in sides]


@dataclass(frozen=True, kw_only=True)
class Rotate(ImageNoise):
    """The picture is turned about its centre by up to so many degrees either way, each angle equally likely.

    Bilinear; what comes from outside the border takes the outermost pixel.
    """

    name = "rotate"
    usual_levels = USUAL_LEVELS[name]
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        xp = namespace(pictures)
        height, width = (int(length) for length in pictures.shape[2:])
        angle = math.radians(level) * (2.0 * draw[:, :, :, 0] - 1.0)
        sine, cosine = xp.sin(angle), xp.cos(angle)
        y = like(np.arange(height) - (height - 1) / 2.0, pictures)[:, None]
        x = like(np.arange(width) - (width - 1) / 2.0, pictures)
        across = xp.clip(cosine * x - sine * y + (width - 1) / 2.0, 0.0, width - 1.0)
        down = xp.clip(sine * x + cosine * y + (height - 1) / 2.0, 0.0, height - 1.0)
        left, top = (xp.astype(xp.floor(each), xp.int64) for each in (across, down))
        right, bottom = xp.clip(left + 1, max=width - 1), xp.clip(top + 1, max=height - 1)
        beside, below = (across - xp.astype(left, across.dtype))[:, None], (down - xp.astype(top, down.dtype))[:, None]

        def row(at: Array) -> Any:
            first = _gathered(pictures, at, left)
            return first + beside * (_gathered(pictures, at, right) - first)

        upper = row(top)
        return upper + below * (row(bottom) - upper)


def _gathered(pictures: Array, down: Array, across: Array) -> Array:
    """Pixels of pictures at whole places `(rows or 1, height, width)`, shape `(rows, channels, height, width)`."""
    xp = namespace(pictures)
    rows, channels, height, width = (int(length) for length in pictures.shape)
    first = like(np.arange(rows) * (height * width), pictures)[:, None, None]
    at = first + down * width + across
    pixels = xp.reshape(xp.permute_dims(pictures, (0, 2, 3, 1)), (-1, channels))
    found = xp.take(pixels, xp.reshape(at, (-1,)), axis=0)
    return xp.permute_dims(xp.reshape(found, (*at.shape, channels)), (0, 3, 1, 2))
