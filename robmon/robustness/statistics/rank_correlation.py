"""Spearman's rank correlation of two columns of numbers, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from robmon.robustness.arrays import Float64

FEWEST: Final = 5
"""Pairs: of four even a perfect order comes about by chance in 1 of 12 cases, either way."""
Z_95: Final = 1.959964


@dataclass(frozen=True)
class RankCorrelation:
    """How alike two orders are.

    Attributes:
        count: of pairs.
        value: between -1 and 1; None where there are fewer than 5 pairs, or one of the columns does not vary.
        low, high: the 95 % interval (Bonett & Wright 2000); None likewise.
    """

    count: int
    value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_positive(self) -> bool | None:
        """Whether it is above 0 beyond chance, or below; None: neither, or not known."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return None
        return self.low > 0


def spearman(first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    """The rank correlation of pairs; equal numbers share the mean of their ranks.

    The interval is that of Bonett & Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations", Psychometrika 65 (2000): on Fisher's scale, with a variance of `(1 + value² / 2) / (n - 3)`. A
    perfect order, which is at infinity there, counts as half a step less, of those that so many pairs can make.

    >>> spearman([1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]).value
    -1.0
    >>> spearman([1, 2, 3], [1, 2, 3])
    RankCorrelation(count=3, value=None, low=None, high=None)
    """
    count = len(first)
    one, other = (average_ranks(np.asarray(each, dtype=np.float64)) for each in (first, second))
    if count < FEWEST or not one.std() or not other.std():
        return RankCorrelation(count)
    value = float(np.clip(np.corrcoef(one, other)[0, 1], -1.0, 1.0))
    most = 1.0 - 6.0 / (count * (count**2 - 1))
    held = max(-most, min(most, value))
    middle, half = math.atanh(held), Z_95 * math.sqrt((1.0 + held**2 / 2.0) / (count - 3))
    return RankCorrelation(count, value, math.tanh(middle - half), math.tanh(middle + half))


def average_ranks(values: Float64) -> Float64:
    """Ranks from 1, the lowest first; equals share the mean of their ranks."""
    lower = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return np.asarray(lower + (equal + 1) / 2.0)
