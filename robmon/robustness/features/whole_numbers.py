"""Whole numbers that are perturbed: which columns hold them, and within what they stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, namespace

LARGEST_WHOLE = 2**53
"""Whole numbers up to it are exact in float64."""
PIXEL_WHITES = (255.0, 65535.0)
"""Of the types of whole numbers that pictures have."""
FEW_MOVE = 0.05
"""Share of the cells: a level that moves fewer is hardly a level, since the others are rounded back."""


@dataclass(frozen=True, eq=False)
class Whole:
    """Which columns are whole numbers, and the range of their dtype.

    Attributes:
        low, high: float64, one a column, or one for all; NaN for columns that are no whole numbers.
    """

    low: Float64
    high: Float64

    @classmethod
    def of(cls, dtype: Any) -> Whole:
        """All columns, of this dtype."""
        low, high = _range(dtype)
        return cls(np.array(low), np.array(high))

    @classmethod
    def of_columns(cls, dtypes: Sequence[Any]) -> Whole | None:
        """Columns with these dtypes, None for those that are no whole numbers; None where none of them is one."""
        ranges = [(np.nan, np.nan) if dtype is None else _range(dtype) for dtype in dtypes]
        low, high = np.array(ranges, dtype=np.float64).reshape(-1, 2).T
        return None if np.isnan(low).all() else cls(low, high)

    @property
    def pixels(self) -> tuple[float, float] | None:
        """Black and white, where all are of one unsigned type of 8 or 16 bits, as pixels are; None elsewhere."""
        if np.any(self.low != 0.0) or np.unique(self.high).size != 1:
            return None
        high = float(np.ravel(self.high)[0])
        return (0.0, high) if high in PIXEL_WHITES else None

    def within(self, low: Float64, high: Float64) -> Float64:
        """The range of the dtype and that of the columns' own numbers; shape `(2, columns)`."""
        own = np.array([np.broadcast_to(self.low, low.shape), np.broadcast_to(self.high, high.shape)])
        # Columns without any number of their own are not perturbed: their range does not matter.
        inner = np.array([np.fmax(own[0], low), np.fmin(own[1], high)])
        return np.where(np.isnan(own), np.nan, inner)


def _range(dtype: Any) -> tuple[float, float]:
    """The least and the largest number of an integer dtype, NumPy's or pandas'; of other whole numbers those exact."""
    own = getattr(dtype, "numpy_dtype", dtype)
    if not isinstance(own, np.dtype) or own.kind not in "iu":
        return float(-LARGEST_WHOLE), float(LARGEST_WHOLE)
    limits = np.iinfo(own)
    return float(max(limits.min, -LARGEST_WHOLE)), float(min(limits.max, LARGEST_WHOLE))


def rounded(perturbed: Array, inputs: Array, limits: Array) -> Array:
    """Perturbed numbers with the whole ones rounded, half to even, and kept within their limits.

    A number that lies outside by itself is moved no further out, and not brought in.

    Args:
        perturbed: shape `(n, *input_shape)`.
        inputs: what they were, of the same shape.
        limits: shape `(2, *scale_shape)`, NaN for features that are no whole numbers.

    >>> rounded(np.array([[0.5, 1.5, 9.0]]), np.array([[0.0, 1.0, 2.0]]), np.array([[0.0] * 3, [4.0] * 3])).tolist()
    [[0.0, 2.0, 4.0]]
    """
    xp = namespace(perturbed)
    low, high = limits[0], limits[1]
    is_whole = ~xp.isnan(low)
    kept = xp.minimum(xp.maximum(xp.round(perturbed), xp.minimum(low, inputs)), xp.maximum(high, inputs))
    return xp.where(is_whole, kept, perturbed)


def hardly_moved_notes(names: Sequence[str], levels: Sequence[float], moved: NDArray[np.floating[Any]]) -> list[str]:
    """The columns that hardly move at some levels, a sentence each.

    Args:
        names: of the columns of whole numbers.
        levels: above 0.
        moved: shape `(levels, columns)`, the share of each column's cells that move.

    >>> hardly_moved_notes(["rooms"], (0.1, 0.4), np.array([[0.01], [0.3]]))
    ['rooms: at level 0.1 fewer than 5 % of its whole numbers move, the others are rounded back']
    """
    sentences = []
    for name, shares in zip(names, moved.T, strict=True):
        few = [f"{level:g}" for level, share in zip(levels, shares, strict=True) if share < FEW_MOVE]
        if few:
            at = f"level {few[0]}" if len(few) == 1 else f"levels {', '.join(few)}"
            sentences.append(f"{name}: at {at} fewer than 5 % of its whole numbers move, the others are rounded back")
    return sentences
