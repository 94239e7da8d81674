"""Cells of the real line whose widths are powers of two, and whose edges no number can lie on.

Cell `k` of level `e` is `[(k + s) 2^e, (k + 1 + s) 2^e)`, with s 1/3 at even levels and 2/3 at odd ones. So two cells
of any levels are apart, or one lies in the other: counts in them can be added up exactly, whichever rows came first and
on whichever pod. And since a float is never a third of a power of two, no edge is a number that was counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

Int64 = NDArray[np.int64]
FLOAT32_BITS = 24
"""Significant bits of a number: those of float32, so that a feature is the same in either precision."""
PRECISE_BITS = 48
"""Where float32 would take different numbers for one: what is still finer is rounding of float64."""
MOST_ASKED = 1024
"""Numbers by which that is decided: of many more of one law some are always that near to others."""
NARROW_BITS = 2
"""The narrowest cell of a number is as wide as so many of its last bits tell apart."""
SMALLEST = 2.0**-960
"""What is nearer to 0 counts as 0."""
LEVELS = (-1000, 1023)
KEY = 0.75
LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Cells:
    """Counts of cells, none of which lies in another, in the order of the line.

    Attributes:
        levels, places, counts: e, k, and how many rows, of each cell.
    """

    levels: Int64
    places: Int64
    counts: Int64

    @classmethod
    def none(cls) -> Cells:
        """No cells."""
        empty = np.zeros(0, dtype=np.int64)
        return cls(empty, empty, empty)

    @cached_property
    def keys(self) -> tuple[Float64, Float64]:
        """`KEY` times the edges, left and right: these a float holds exactly, so that those of all levels compare."""
        thirds = 3 * self.places + np.where(self.levels % 2 == 0, 1, 2)
        down = self.levels.astype(np.int32) - 2
        return np.ldexp(thirds.astype(np.float64), down), np.ldexp((thirds + 3).astype(np.float64), down)

    @property
    def left(self) -> Float64:
        """Left edges, infinite beyond what a float can hold."""
        with np.errstate(over="ignore"):
            return self.keys[0] / KEY

    @property
    def right(self) -> Float64:
        """Right edges, likewise."""
        with np.errstate(over="ignore"):
            return self.keys[1] / KEY

    @cached_property
    def middle(self) -> Float64:
        """Where the rows of a cell are taken to be."""
        with np.errstate(over="ignore"):
            middle = np.ldexp(self.places + _shift(self.levels) + 0.5, self.levels.astype(np.int32))
        return np.clip(middle, -LARGEST, LARGEST)

    @property
    def rows(self) -> int:
        """How many are counted."""
        return int(self.counts.sum())

    def find(self, values: Float64) -> Int64:
        """The cell that each value, as `rounded` gives it, lies in, -1 where it is in none."""
        if not len(self.counts):
            return np.full(len(values), -1)
        keys, (left, right) = KEY * values, self.keys
        at = np.searchsorted(left, keys, side="right") - 1
        return np.where((at >= 0) & (keys < right[at]), at, -1)

    def joined(self, other: Cells) -> Cells:
        """Both together: where a cell lies in one of the other, it goes into that."""
        if not len(other.counts):
            return self
        levels, places, counts = map(np.concatenate, zip(self.columns, other.columns, strict=True))
        left, right = map(np.concatenate, zip(self.keys, other.keys, strict=True))
        return Cells(levels, places, counts)._outer(left, right)

    def _outer(self, left: Float64, right: Float64) -> Cells:
        """Of cells in any order, some of which may lie in others, those that lie in none, with the rows of all."""
        levels, places, counts = self.columns
        order = np.lexsort((-levels, left))
        beyond = np.maximum.accumulate(right[order])
        is_outer = np.append(True, left[order][1:] >= beyond[:-1])[: len(order)]
        outer = order[is_outer]
        total = np.bincount(np.cumsum(is_outer) - 1, weights=counts[order], minlength=len(outer))
        return Cells(levels[outer], places[outer], total.astype(np.int64))

    def bounded(self, most: int) -> Cells:
        """At most so many cells: those neighbours that hold the fewest rows become one."""
        cells = self
        while len(cells.counts) > most:
            cells = cells._with_fewer(len(cells.counts) - most)
        return cells

    def _with_fewer(self, surplus: int) -> Cells:
        """Join some pairs of neighbours, at least one, none of which is nearer to a third cell."""
        common = _common_levels(self.levels, self.places)
        nearer = np.concatenate([[2**30], common, [2**30]])
        is_pair = (common < nearer[:-2]) & (common < nearer[2:])
        pairs = np.flatnonzero(is_pair)
        rows = self.counts[pairs] + self.counts[pairs + 1]
        chosen = pairs[np.argsort(rows, kind="stable")[: max(min(surplus, (len(pairs) + 1) // 2), 1)]]
        levels, places, counts = (column.copy() for column in self.columns)
        places[chosen] = _ancestors(levels[chosen], places[chosen], common[chosen])
        levels[chosen] = common[chosen]
        counts[chosen] += counts[chosen + 1]
        kept = np.ones(len(counts), dtype=np.bool_)
        kept[chosen + 1] = False
        return Cells(levels[kept], places[kept], counts[kept])

    def take(self, which: NDArray[Any]) -> Cells:
        """Some of the cells."""
        return Cells(self.levels[which], self.places[which], self.counts[which])

    def counted(self, counts: Int64) -> Cells:
        """The same cells with other counts."""
        return Cells(self.levels, self.places, counts)

    @property
    def columns(self) -> tuple[Int64, Int64, Int64]:
        """Levels, places and counts."""
        return self.levels, self.places, self.counts

    def to_list(self) -> list[list[int]]:
        """As JSON has it."""
        return [column.tolist() for column in self.columns]

    @classmethod
    def from_list(cls, content: Any) -> Cells:
        """What `to_list` gave.

        Raises:
            InvalidInputError: it is something else.
        """
        if not isinstance(content, Sequence) or len(content) != 3 or not all(map(_are_whole, content)):
            raise InvalidInputError("cells are three lists of whole numbers")
        if len({len(column) for column in content}) != 1:
            raise InvalidInputError("the lists of cells differ in length")
        cells = cls(*(np.array(column, dtype=np.int64) for column in content))
        levels, places, counts = cells.columns
        in_range = (levels >= LEVELS[0]) & (levels <= LEVELS[1]) & (np.abs(places) <= 2**53) & (counts >= 0)
        if not in_range.all() or np.any(cells.keys[0][1:] < cells.keys[1][:-1]):
            raise InvalidInputError("cells must be in order and apart, and hold no fewer than 0 rows")
        return cells


def rounded(values: Float64, bits: int = FLOAT32_BITS) -> Float64:
    """Finite numbers to the precision of float32, or to so many bits, in its range and beyond.

    >>> bool(rounded(np.array([0.1]))[0] == rounded(np.array([np.float32(0.1)], dtype=np.float64))[0])
    True
    """
    mantissas, exponents = np.frexp(values)
    whole = np.rint(np.ldexp(mantissas, bits))
    whole = np.clip(whole, -(2**bits) + 1, 2**bits - 1)
    result = np.ldexp(whole, exponents - bits)
    return np.where(np.abs(values) < SMALLEST, 0.0, result)


def bits_of(values: Float64) -> int:
    """To how many bits finite numbers are told apart: those of float32, more where that would leave half of them.

    >>> bits_of(np.array([0.1, 0.2])), bits_of(np.array([50_000_001.0, 50_000_002.0]))
    (24, 48)
    """
    some = values[:MOST_ASKED]
    told, fine = len(np.unique(rounded(some))), len(np.unique(rounded(some, PRECISE_BITS)))
    return PRECISE_BITS if 0 < 2 * told <= fine else FLOAT32_BITS


def narrowest(values: Float64, bits: int = FLOAT32_BITS) -> Int64:
    """The level of the narrowest cell of each number."""
    levels = np.frexp(values)[1].astype(np.int64) - (bits - NARROW_BITS)
    return np.where(values == 0, LEVELS[0], np.maximum(levels, LEVELS[0]))


def cells_of(values: Float64, counts: Int64, levels: Int64) -> Cells:
    """Rising numbers, each so many times, in cells of these levels."""
    places = np.floor(np.ldexp(values, -levels.astype(np.int32)) - _shift(levels)).astype(np.int64)
    cells = Cells(levels, places, counts)
    return cells._outer(*cells.keys)


def _shift(levels: Int64) -> Float64:
    return np.where(levels % 2 == 0, 1 / 3, 2 / 3)


def _ancestors(levels: Int64, places: Int64, above: Int64) -> Int64:
    """The place, at a level above, of the cell around each.

    `(k + s) 2^e` lies in the cell of level f whose place is `floor((k + s) 2^(e-f) - s_f)`: of its middle, so that
    rounding decides nothing.
    """
    middle = np.ldexp(places + _shift(levels) + 0.5, (levels - above).astype(np.int32))
    return np.floor(middle - _shift(above)).astype(np.int64)


def _common_levels(levels: Int64, places: Int64) -> Int64:
    """The level of the smallest cell around each cell and the next one."""
    common = np.maximum(levels[:-1], levels[1:])
    left, right = (
        _ancestors(levels[part], places[part], common) for part in (slice(None, -1), slice(1, None))
    )  # fmt: skip
    unlike = left != right
    while unlike.any():
        up = common + unlike
        left = np.where(unlike, _ancestors(common, left, up), left)
        right = np.where(unlike, _ancestors(common, right, up), right)
        common = up
        unlike = left != right
    return common


def _are_whole(column: Any) -> bool:
    return isinstance(column, Sequence) and all(type(each) is int and abs(each) < 2**62 for each in column)
