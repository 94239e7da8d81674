"""Resizing and blurring along one axis, as a matrix: `vertical @ picture @ horizontal.T` does both axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from robmon.robustness.arrays import Array, Float64, like, namespace

TRUNCATE = 4.0
"""Standard deviations at which a Gaussian blur ends, as SciPy's and scikit-image's do."""


def _triangle(distance: Float64) -> Float64:
    return np.maximum(0.0, 1.0 - np.abs(distance))


def _box(distance: Float64) -> Float64:
    return np.where((distance > -0.5) & (distance <= 0.5), 1.0, 0.0)


def _filtered(size: int, target: int, kernel: Callable[[Float64], Float64], support: float) -> Float64:
    """Each target pixel as a weighted mean of the pixels that its own kernel, as wide as the pixel, covers."""
    step = size / target
    width = max(step, 1.0)
    centre = (np.arange(target)[:, None] + 0.5) * step
    source = np.arange(size)[None, :] + 0.5
    weights = np.where(np.abs(source - centre) <= support * width, kernel((source - centre) / width), 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@lru_cache(maxsize=64)
def bilinear(size: int, target: int) -> Float64:
    """Bilinear resizing with a low-pass where it shrinks ("antialias"), of so many pixels to so many.

    The triangle filter of Pillow's `BILINEAR` and of PyTorch's `interpolate(mode="bilinear", antialias=True)`. Shape
    `(target, size)`; each row sums to 1.

    >>> bilinear(4, 2).round(3).tolist()
    [[0.429, 0.429, 0.143, 0.0], [0.0, 0.143, 0.429, 0.429]]
    """
    return _filtered(size, target, _triangle, 1.0)


@lru_cache(maxsize=64)
def box(size: int, target: int) -> Float64:
    """Resizing by the mean of the pixels whose centres a target pixel covers, the nearest where it grows.

    Pillow's `BOX`, but for ties: where a pixel's centre lies exactly on the edge between two target pixels, Pillow may
    give it to the other one. Shape `(target, size)`.

    >>> box(4, 2).tolist(), box(2, 4).tolist()
    ([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    """
    return _filtered(size, target, _box, 0.5)


@lru_cache(maxsize=64)
def gaussian(size: int, deviation: float) -> Float64:
    """A Gaussian blur of so many pixels' standard deviation; beyond the border the outermost pixel goes on.

    Shape `(size, size)`.

    >>> gaussian(3, 0.0).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    radius = int(TRUNCATE * deviation + 0.5)
    offsets = np.arange(-radius, radius + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = np.exp(-0.5 * (offsets / deviation) ** 2) if radius else np.ones(1)
    reach = min(radius, size)  # what lies further out is the outermost pixel from every place
    weights = np.bincount(np.clip(offsets, -reach, reach) + reach, weights)
    offsets = np.arange(-reach, reach + 1)
    matrix = np.zeros((size, size))
    at = np.clip(np.arange(size)[:, None] + offsets, 0, size - 1)
    np.add.at(matrix, (np.arange(size)[:, None], at), weights / weights.sum())
    return matrix


def along_both(pictures: Array, vertical: Float64, horizontal: Float64) -> Array:
    """Pictures `(rows, channels, height, width)` with a matrix along each axis."""
    xp = namespace(pictures)
    return xp.matmul(xp.matmul(like(vertical, pictures), pictures), like(horizontal.T, pictures))
