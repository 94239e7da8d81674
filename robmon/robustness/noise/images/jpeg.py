"""What a JPEG encoder leaves of a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, like, to_numpy
from robmon.robustness.checks import check_jpeg, check_word
from robmon.robustness.noise.images.picture import ImageNoise, of_colours
from robmon.vocabulary import JPEG_SUBSAMPLING, LARGEST_LEVELS, LEVEL_UNITS, USUAL_LEVELS, JpegSubsampling

WHITE: Final = 255
"""JPEG's, whose black is 0."""


@dataclass(frozen=True, kw_only=True)
class Jpeg(ImageNoise):
    """The picture is encoded as JPEG and decoded again, by Pillow (extra `images`); opacity is unchanged.
    Deterministic.

    A level is 100 minus the encoder's quality: level 25 is a quality of 75. A picture that was a JPEG before moves far
    less than one that was not, so look at the realised level in the result.

    Attributes:
        subsampling: of the colours; None: the layout's.
    """

    subsampling: JpegSubsampling | None = None
    name = "jpeg"
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]
    usual_levels = USUAL_LEVELS[name]
    is_random = False

    def __post_init__(self) -> None:
        if self.subsampling is not None:
            check_word("subsampling", self.subsampling, JPEG_SUBSAMPLING)

    def check(self, levels: Sequence[float]) -> None:
        super().check(levels)
        check_jpeg(levels)

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        return as_jpeg(pictures, 100 - round(level), low, high, self.subsampling or self.stated.jpeg_subsampling)


def as_jpeg(pictures: Array, quality: int, low: float, high: float, subsampling: str) -> Array:
    """Pictures that went through an encoder, each by itself.

    Raises:
        InvalidInputError: Pillow is not installed.
    """
    step = (high - low) / WHITE

    def through_encoder(colours: Array) -> Array:
        exact = np.clip(np.rint((to_numpy(colours) - low) / step), 0, WHITE).astype(np.uint8)
        decoded = np.stack([_decoded(each, quality, subsampling) for each in exact])
        return like(low + step * decoded.astype(np.float64), colours)

    return of_colours(pictures, through_encoder)


def _decoded(picture: NDArray[np.uint8], quality: int, subsampling: str) -> NDArray[np.uint8]:
    """One picture `(channels, height, width)`, of 1 or 3 channels."""
    try:
        from PIL import Image
    except ImportError:
        raise InvalidInputError("jpeg noise needs Pillow: install robmon[images]") from None
    grey = len(picture) == 1
    buffer = io.BytesIO()
    Image.fromarray(picture[0] if grey else np.moveaxis(picture, 0, -1)).save(
        buffer, "JPEG", quality=quality, **({} if grey else {"subsampling": subsampling})
    )
    with Image.open(buffer) as image:
        decoded = np.asarray(image)
    return decoded[None] if grey else np.moveaxis(decoded, -1, 0)
