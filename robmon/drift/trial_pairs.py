"""How alike two trials of one row are: what the variance of a row's mean over its trials needs beside a histogram."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from robmon.drift.log_histogram import LARGEST_BIN, NONFINITE, ZERO, Int64, bins_of, middles, whole_numbers
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

MOST_CELLS: Final = 2048
"""Cells that are kept; beyond, the rarest are left out."""
_CODES: Final = 4 * NONFINITE
"""More than there are octaves: two of them as one number."""


@dataclass(frozen=True, eq=False)
class TrialPairs:
    """Pairs of trials of the same row, counted in octaves of their two errors.

    A histogram of all rows' and trials' errors gives the variance of one trial, v. A row's mean over T trials has
    `v (1/T + (1 - 1/T) rho)`, where rho is the intraclass correlation (Fisher 1925), and that is what pairs give:
    `1 - E (g(e) - g(e'))**2 / (2 v)`, for any function g of an error.

    Attributes:
        first, second: shape `(cells,)`, the octaves of both errors, the smaller first.
        counts: shape `(cells,)`, pairs in each cell.
        ratio: what the middles of the octaves are multiplied by, after errors were scaled.
    """

    first: Int64
    second: Int64
    counts: Int64
    ratio: float = 1.0

    @classmethod
    def none(cls) -> TrialPairs:
        """The pairs of no rows yet."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, nothing)

    @classmethod
    def of(cls, row_errors: Float64) -> TrialPairs:
        """The pairs of errors `(n, T)`: trials 0 and 1, 2 and 3, and so on; of one trial none."""
        octaves = np.sort(bins_of(row_errors[:, : row_errors.shape[1] // 2 * 2], 1, LARGEST_BIN).reshape(-1, 2), axis=1)
        return cls._of_cells(octaves[:, 0], octaves[:, 1], np.ones(len(octaves), dtype=np.int64))

    @classmethod
    def _of_cells(cls, first: Int64, second: Int64, counts: Int64, ratio: float = 1.0) -> TrialPairs:
        if not len(counts):
            return cls(first, second, counts, ratio)
        cells, where = np.unique(first * _CODES + second, return_inverse=True)
        sums = np.zeros(len(cells), dtype=np.int64)
        np.add.at(sums, where, counts)
        if len(cells) > MOST_CELLS:
            kept = np.sort(np.argsort(-sums, kind="stable")[:MOST_CELLS])
            cells, sums = cells[kept], sums[kept]
        second = (cells + NONFINITE) % _CODES - NONFINITE
        return cls((cells - second) // _CODES, second, sums, ratio)

    def merged(self, other: TrialPairs) -> TrialPairs:
        """Pairs of both, in the units of these: what was scaled otherwise is put into the nearest octave."""
        if not len(self.counts):
            return other
        other = other.moved(round(math.log2(other.ratio / self.ratio)))
        pairs = ((self.first, other.first), (self.second, other.second), (self.counts, other.counts))
        first, second, counts = (np.concatenate(both) for both in pairs)
        return TrialPairs._of_cells(first, second, counts, self.ratio)

    def scaled(self, ratio: float) -> TrialPairs:
        """The pairs of errors times `ratio`."""
        octaves = round(math.log2(self.ratio * ratio))
        moved = self.moved(octaves)
        return TrialPairs(moved.first, moved.second, moved.counts, self.ratio * ratio / 2.0**octaves)

    def moved(self, octaves: int) -> TrialPairs:
        """Every error higher by so many octaves."""

        def higher(bins: Int64) -> Int64:
            return np.where(np.abs(bins) < NONFINITE, np.clip(bins + octaves, -LARGEST_BIN, LARGEST_BIN), bins)

        return TrialPairs._of_cells(higher(self.first), higher(self.second), self.counts, self.ratio)

    def correlation(self, statistic: Callable[[Float64], Float64]) -> float:
        """Intraclass correlation of a statistic of an error, at least 0; where it is not known 1, which is careful."""
        pairs = self.counts.sum()
        one, other = (statistic(self.ratio * middles(bins, 1)) for bins in (self.first, self.second))
        if not pairs:
            return 1.0
        mean = float(np.sum(self.counts * (one + other)) / (2 * pairs))
        variance = float(np.sum(self.counts * ((one - mean) ** 2 + (other - mean) ** 2)) / (2 * pairs))
        within = float(np.sum(self.counts * (one - other) ** 2) / (2 * pairs))
        return min(max(1.0 - within / variance, 0.0), 1.0) if variance > 0.0 else 1.0

    def expected(self, statistic: Callable[[Float64], Float64], octaves: Int64) -> Float64:
        """What a statistic of another trial of the row is on average, given the octave of one; NaN where none is known.

        Args:
            statistic: of errors.
            octaves: any shape, rising or not, `ZERO` and `NONFINITE` among them.
        """
        given, other = np.concatenate([self.first, self.second]), np.concatenate([self.second, self.first])
        counts = np.concatenate([self.counts, self.counts])
        known, where = np.unique(given, return_inverse=True)
        values = statistic(self.ratio * middles(other, 1))
        means = np.bincount(where, counts * values) / np.bincount(where, counts)
        at = np.minimum(np.searchsorted(known, octaves), len(known) - 1)
        return np.where(known[at] == octaves, means[at], np.nan)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        cells = {"first": self.first.tolist(), "second": self.second.tolist(), "counts": self.counts.tolist()}
        return {**cells, "ratio": self.ratio}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialPairs:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: it is no such dictionary.
        """
        first, second, counts = (
            np.array(whole_numbers(data.get(name), f"{name} of pairs"), dtype=np.int64)
            for name in ("first", "second", "counts")
        )
        ratio = data.get("ratio")
        bins = np.concatenate([first, second])
        are_bins = bool(np.all(np.isin(bins, (ZERO, NONFINITE)) | (np.abs(bins) <= LARGEST_BIN)))
        fits = len(first) == len(second) == len(counts) <= MOST_CELLS and bool(np.all(counts > 0))
        if not (fits and are_bins and isinstance(ratio, float) and 0.5 <= ratio <= 2.0):
            raise InvalidInputError("pairs of trials are damaged: their octaves and counts do not fit")
        return cls(first, second, counts, ratio)
