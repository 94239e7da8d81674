"""What current rows of one column are compared with: the rows of a baseline, or the summary of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64

Int64 = NDArray[np.int64]
MOST_GROUPS = 10
MOST_BY_CHANCE = 0.1
"""Of the index of two samples of one law: smaller samples have fewer groups, so that it stays below."""
FAR_OUT = 0.1
"""Of the range of the baseline."""


@dataclass(frozen=True, eq=False)
class NumberReference:
    """Numbers of the baseline.

    Attributes:
        places, weights: rising, where its finite numbers are, and how many.
        low, high: its range.
        rows, missing, infinite, other: cells of the column, and how many hold nothing, an infinity, or no number.
        identifier: whether they are an identifier's.
        snapped: gives current numbers the places of the baseline's that they count as.
    """

    places: Float64
    weights: Int64
    low: float
    high: float
    rows: int
    missing: int
    infinite: int
    other: int
    identifier: bool
    snapped: Callable[[Float64], Float64]

    @property
    def finite(self) -> int:
        """How many numbers are finite."""
        return int(self.weights.sum())

    @property
    def deviation(self) -> float:
        """Standard deviation (divisor n), 0 of a constant."""
        if len(self.places) < 2:
            return 0.0
        scale = max(float(np.abs(self.places).max()), np.finfo(np.float64).tiny)
        values = self.places / scale
        mean = float(np.average(values, weights=self.weights))
        return scale * float(np.sqrt(np.average((values - mean) ** 2, weights=self.weights)))

    def cuts(self, groups: int) -> Float64:
        """Rising cut points of groups with about as many rows; group i holds `cuts[i - 1] <= x < cuts[i]`.

        A value that would fill half a group is one of its own. Without rows of the baseline are the groups at either
        end, which begin so far out of its range that rows of the same law are hardly ever in them.
        """
        if not len(self.places):
            return np.zeros(0)
        key, is_own = grouped(self.weights, groups)
        at = np.flatnonzero(key[1:] != key[:-1]) + 1
        before, after = self.places[at - 1], self.places[at]
        middle = before / 2 + after / 2
        between = np.where(middle > before, middle, after)[~is_own[at - 1] & ~is_own[at]]
        own = self.places[is_own]
        margin = FAR_OUT * (self.high / 2 - self.low / 2) * 2
        ends = [self.low - margin, np.nextafter(self.high + margin, np.inf)]
        return np.unique(np.concatenate([between, own, np.nextafter(own, np.inf), ends]))


@dataclass(frozen=True, eq=False)
class NameReference:
    """Names of the baseline.

    Attributes:
        counts: rows by key, of the names that are known.
        key: gives a name's.
        rest: rows whose name is not known.
        rows, missing, other: cells of the column, and how many hold nothing, or no name.
        reason: why they are not measured; empty where they are.
    """

    counts: Mapping[str, int]
    key: Callable[[str], str]
    rest: int
    rows: int
    missing: int
    other: int
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every name is known, so that one that is not is new."""
        return not self.rest

    def groups(self, most: int) -> dict[str, int]:
        """The group of each name that occurs more than once, the most frequent alone in theirs.

        The others stand together in the order of their keys, which owes nothing to how often they occur: the most
        frequent ones of a sample are less so in the next.

        A row with a name that occurs once would have been of a new name without it: it stands for those in the group of
        new names, so that names which are seldom alone are no drift (Good, Biometrika 40, 1953).
        """
        ordered = sorted(key for key, rows in self.counts.items() if rows > 1)
        if not ordered:
            return {}
        key, _ = grouped(np.array([self.counts[name] for name in ordered], dtype=np.int64), most)
        _, group = np.unique(key, return_inverse=True)
        return dict(zip(ordered, group.tolist(), strict=True))


def grouped(weights: Int64, groups: int) -> tuple[Int64, NDArray[np.bool_]]:
    """For each place a number of its group, and which places are a group of their own."""
    share = weights / weights.sum()
    is_own = share >= 0.5 / groups
    bucket = np.floor((np.cumsum(share) - share / 2) * groups).astype(np.int64)
    runs = np.cumsum(is_own) + np.append(0, np.cumsum(is_own)[:-1])
    return runs * (groups + 1) + np.where(is_own, 0, bucket), is_own


def fitting_groups(reference_rows: int, current_rows: int) -> int:
    """How many groups two samples of these sizes can fill.

    >>> fitting_groups(1024, 256), fitting_groups(1024, 64), fitting_groups(64, 64)
    (10, 7, 4)
    """
    chance = 1 / reference_rows + 1 / current_rows
    return int(np.clip(1 + np.floor(MOST_BY_CHANCE / chance), 2, MOST_GROUPS))
