"""Errors counted in fixed logarithmic bins, so that histograms of any time, pod or version add up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

Int64 = NDArray[np.int64]

BINS_PER_OCTAVE: Final = 4
"""Bins of 19 % each; their middles are `2**(bin / 4)`, so that 1 is one of them."""
LARGEST_BIN: Final = 512 * BINS_PER_OCTAVE
"""Errors beyond 2**512, or below 2**-512, are put into the last bins."""
NONFINITE: Final = 2 * LARGEST_BIN
"""The bin of errors that are infinite or NaN."""
ZERO: Final = -NONFINITE
"""The bin of errors that are exactly 0."""
MOST_BINS: Final = 512
"""Bins with errors in one histogram; beyond, the smallest errors share the lowest of them."""


@dataclass(frozen=True, eq=False)
class LogHistogram:
    """Counts of errors by logarithmic bin, with the exact sum of the finite ones.

    Attributes:
        bins: shape `(bins,)`, rising numbers of bins that hold errors; `ZERO` and `NONFINITE` are two of their own.
        counts: shape `(bins,)`, errors in each, above 0.
        total: sum of the finite errors, in the errors' own units. It takes the rounding to bins out of the mean.
    """

    bins: Int64
    counts: Int64
    total: float

    @classmethod
    def of(cls, errors: Float64) -> LogHistogram:
        """The histogram of errors of any shape, each at least 0, infinite or NaN."""
        flat = errors.ravel()
        finite = np.isfinite(flat)
        bins, counts = np.unique(bins_of(flat, BINS_PER_OCTAVE, LARGEST_BIN), return_counts=True)
        with np.errstate(over="ignore"):
            total = float(np.sum(flat, where=finite))
        return cls._of_bins(bins, counts, total)

    @classmethod
    def _of_bins(cls, bins: Int64, counts: Int64, total: float) -> LogHistogram:
        order, where = np.unique(bins, return_inverse=True)
        sums = np.zeros(len(order), dtype=np.int64)
        np.add.at(sums, where, counts)
        order, sums = order[sums > 0], sums[sums > 0]
        surplus = len(order) - MOST_BINS
        if surplus > 0:
            lowest = int(order[0] == ZERO)
            kept = lowest + surplus
            sums[kept] += sums[lowest:kept].sum()
            order, sums = np.delete(order, slice(lowest, kept)), np.delete(sums, slice(lowest, kept))
        return cls(order, sums, min(total, float(np.finfo(np.float64).max)))

    @property
    def entries(self) -> int:
        """Errors counted."""
        return int(self.counts.sum())

    @property
    def values(self) -> Float64:
        """Shape `(bins,)`, the error that stands for each: 0, infinite, or a middle that leaves the mean exact."""
        return middles(self.bins, BINS_PER_OCTAVE) * self._correction()

    def _correction(self) -> float:
        """What the middles are multiplied by: at most half a bin, or the sum is ruled by errors beyond the last bin."""
        finite = (self.bins != ZERO) & (self.bins != NONFINITE)
        rounded = float(np.sum(middles(self.bins[finite], BINS_PER_OCTAVE) * self.counts[finite]))
        half_a_bin = 2.0 ** (0.5 / BINS_PER_OCTAVE)
        return min(max(self.total / rounded, 1.0 / half_a_bin), half_a_bin) if rounded > 0.0 else 1.0

    def merged(self, other: LogHistogram) -> LogHistogram:
        """Errors of both."""
        bins, counts = np.concatenate([self.bins, other.bins]), np.concatenate([self.counts, other.counts])
        return LogHistogram._of_bins(bins, counts, self.total + other.total)

    def scaled(self, ratio: float) -> LogHistogram:
        """Every error times `ratio`: bins move by whole steps, what is left over is in the sum."""
        steps = round(BINS_PER_OCTAVE * math.log2(ratio * self._correction()))
        positive = (self.bins != ZERO) & (self.bins != NONFINITE)
        moved = np.clip(self.bins + steps, -LARGEST_BIN, LARGEST_BIN)
        return LogHistogram._of_bins(np.where(positive, moved, self.bins), self.counts, self.total * ratio)

    def more_frequent(self, ratio: float) -> LogHistogram:
        """The histogram of flips, with their share times `ratio`, at most 1.

        What is added flips wholly, what is taken away not at all.
        """
        flips = self.bins != ZERO
        if ratio <= 1.0:
            kept = np.where(flips, np.ceil(self.counts * ratio).astype(np.int64), self.counts)
            added = np.array([self.entries - int(kept.sum()), 0])
        else:
            still = int(self.counts[~flips].sum())
            more = min(math.ceil((ratio - 1.0) * self.total), still)
            kept = np.where(flips, self.counts, still - more)
            added = np.array([0, more])
        total = self.total * ratio if ratio <= 1.0 else self.total + float(added[1])
        return LogHistogram._of_bins(np.append(self.bins, [ZERO, 0]), np.append(kept, added), total)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        first = int(self.bins[0])
        steps = np.diff(self.bins).tolist()
        return {"first": first, "steps": steps, "counts": self.counts.tolist(), "total": self.total}

    @classmethod
    def from_dict(cls, data: Any) -> LogHistogram:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: it is no such dictionary.
        """
        if not isinstance(data, Mapping):
            raise InvalidInputError("a histogram of errors must be a dictionary")
        first, steps = whole(data.get("first"), "first"), whole_numbers(data.get("steps"), "steps")
        counts, total = whole_numbers(data.get("counts"), "counts"), data.get("total")
        bins = np.cumsum(np.array([first, *steps], dtype=np.int64))
        is_whole = len(bins) == len(counts) <= MOST_BINS and min(counts) > 0 and all(step > 0 for step in steps)
        inside = np.isin(bins, (ZERO, NONFINITE)) | (np.abs(bins) <= LARGEST_BIN)
        if not (is_whole and bool(inside.all()) and isinstance(total, (int, float)) and 0.0 <= total < math.inf):
            raise InvalidInputError("a histogram of errors is damaged: its bins and counts do not fit")
        return cls(bins, np.array(counts, dtype=np.int64), float(total))


def bins_of(errors: Float64, per_octave: int, largest: int) -> Int64:
    """The bin of each error, `ZERO` and `NONFINITE` where it is 0 or not finite."""
    finite = np.isfinite(errors)
    positive = finite & (errors > 0.0)
    bins = np.full(errors.shape, ZERO, dtype=np.int64)
    bins[positive] = np.clip(np.rint(per_octave * np.log2(errors[positive])), -largest, largest)
    bins[~finite] = NONFINITE
    return bins


def middles(bins: Int64, per_octave: int) -> Float64:
    """The error in the middle of each bin."""
    inside = np.where(np.abs(bins) < NONFINITE, bins, 0)
    return np.where(bins == ZERO, 0.0, np.where(bins == NONFINITE, np.inf, np.exp2(inside / per_octave)))


def whole(value: Any, what: str) -> int:
    """A whole number of a file.

    Raises:
        InvalidInputError: it is none, or none that anything counts.
    """
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**53:
        raise InvalidInputError(f"hours of errors are damaged: {what} must be a whole number")
    return value


def whole_numbers(values: Any, what: str) -> list[int]:
    """Whole numbers of a file.

    Raises:
        InvalidInputError: they are none.
    """
    if not isinstance(values, list):
        raise InvalidInputError(f"hours of errors are damaged: {what} must be a list of whole numbers")
    return [whole(value, what) for value in values]
