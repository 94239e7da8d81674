"""How soon a detector sees a change, worked out beforehand from the errors of the baseline's worst hour."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from robmon.drift.blocks import Block
from robmon.drift.evidence import FRACTIONS, bets_above
from robmon.drift.limit import Limit
from robmon.drift.statistic import Statistic
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

RATIOS: Final = np.concatenate([np.geomspace(0.5, 4.0, 61), np.geomspace(4.0, 64.0, 13)[1:]])
"""Ratios to the worst hour's errors at which the growth is worked out; between them it is interpolated."""


@dataclass(frozen=True, eq=False)
class Power:
    """What a detector sees, and how soon.

    Attributes:
        growth: shape `(73,)`, growth of the logarithm of the fastest bet's evidence a row, when errors are `RATIOS`
            times those of the worst hour.
        bets: how many there are.
    """

    growth: Float64
    bets: int

    @classmethod
    def of(cls, limits: Sequence[Limit], worst_hour: Block) -> Power:
        """`max over j, k of mean ln(1 + lambda_jk (X_j - m_j))`, the mean over the worst hour's rows, errors scaled."""
        growth = [max(_growth(limit, worst_hour, float(ratio)) for limit in limits) for ratio in RATIOS]
        return cls(np.array(growth), len(limits) * len(FRACTIONS))

    def assessments(self, ratio: float, threshold: float, rows: int) -> float:
        """Assessments of so many rows until evidence reaches the threshold: a whole number, or infinite.

        `(ln threshold + ln K) / (rows growth)`: of the K bets in the mean, the fastest has to bring it there alone.
        """
        if ratio < RATIOS[0]:
            return math.inf
        rate = float(np.interp(math.log(ratio), np.log(RATIOS), self.growth))
        needed = math.log(threshold) + math.log(self.bets)
        return float(math.ceil(needed / (rows * rate))) if rate > 0.0 else math.inf

    def smallest_ratio(self, within: float, threshold: float, rows: int) -> float:
        """The smallest ratio that is seen within so many assessments of so many rows; infinite if none is."""
        return _smallest(lambda ratio: self.assessments(ratio, threshold, rows) <= within, float(RATIOS[0]))

    def to_list(self) -> list[float]:
        """JSON-able, to the bit."""
        return [float(value) for value in self.growth]

    @classmethod
    def from_list(cls, growth: Any, statistics: int) -> Power:
        """Inverse of `to_list`.

        Raises:
            InvalidInputError: it is no such list.
        """
        values = np.array(growth, dtype=np.float64)
        if values.shape != RATIOS.shape or not bool(np.isfinite(values).all()):
            raise InvalidInputError("the power of a detector is damaged")
        return cls(values, statistics * len(FRACTIONS))


def _growth(limit: Limit, worst_hour: Block, ratio: float) -> float:
    values, shares = worst_hour.law(limit.statistic, ratio)
    bets = bets_above(np.array([limit.mean]))[0]
    return float(np.max(np.log1p(bets[:, None] * (values - limit.mean)) @ shares))


def worst_hour_ratio(blocks: Sequence[Block], statistic: Statistic) -> float:
    """By which ratio the errors of the median hour would have to rise to make it the worst; infinite if none does."""
    means = [block.moments(statistic, 1.0)[0] for block in blocks]
    order = np.argsort(means, kind="stable")
    median, worst = blocks[int(order[len(order) // 2])], means[int(order[-1])]

    def is_as_bad(ratio: float) -> bool:
        values, shares = median.law(statistic, ratio)
        return float(np.sum(shares * values)) >= worst

    return _smallest(is_as_bad, 1.0)


def _smallest(holds: Callable[[float], bool], low: float) -> float:
    """The smallest ratio from `low` on at which something holds, to 0.1 %; infinite if it does at none of `RATIOS`."""
    high = float(RATIOS[-1])
    if not holds(high):
        return math.inf
    if holds(low):
        return low
    while high > 1.001 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
