"""At which level a score crosses the owner's limit, with an interval over rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.checks import check_confidence
from robmon.robustness.curve import Score
from robmon.robustness.statistics import student

FEWEST_ROWS: Final = 2
STEPS: Final = 60
"""Of a search between two levels: it ends where numbers do."""


@dataclass(frozen=True)
class Crossing:
    """The level at which the mean score crosses a limit: an MSE rises above it, an agreement or accuracy falls below
    it.

    Attributes:
        level: where the curve, interpolated between the levels assessed, crosses the limit; None: beyond the highest of
            them.
        low, high: confidence limits of the level over rows (requests); None: beyond the highest level assessed. A `low`
            of 0 means that the limit may be exceeded even without noise.
        limit: the owner's.
        score: what crosses it: `mse`, `agreement` or `accuracy`.
        confidence: of the interval.
        highest: the highest level assessed.

    >>> print(Crossing(0.21, 0.18, None, 0.5, "mse", 0.95, 0.4))
    0.21 (95 % interval 0.18 to beyond 0.4)
    """

    level: float | None
    low: float | None
    high: float | None
    limit: float
    score: Score
    confidence: float
    highest: float

    @property
    def is_beyond(self) -> bool:
        """Whether the limit is not reached up to the highest level assessed."""
        return self.level is None

    def __str__(self) -> str:
        beyond = f"beyond {self.highest:g}"
        level, low, high = (beyond if each is None else f"{each:.3g}" for each in (self.level, self.low, self.high))
        if self.low is None:
            return f"{level}, the highest level assessed, with {100 * self.confidence:g} % confidence"
        return f"{level} ({100 * self.confidence:g} % interval {low} to {high})"


def crossing(
    row_values: Float64, levels: Sequence[float], limit: float, score: Score, confidence: float = 0.95
) -> Crossing:
    """The first level at which the mean over rows crosses a limit.

    Between levels every row's value is taken to be straight in level² (an MSE, to first order) or level (shares of
    classes). The interval holds the levels at which the mean is not told from the limit by a t-test over rows: the
    inversion of the test that Fieller (1954) inverts for ratios. In closed form, since the squared t-statistic is
    a ratio of parabolas between two levels. Where an output is not finite from some level on, the crossing is taken to
    lie at the level before, and the interval ends at that level.

    Args:
        row_values: shape `(n, levels)`: row errors, or each row's share of unchanged, or right, classes.
        levels: rising from 0.
        limit: at least 0; of shares at most 1.
        score: what the values are.
        confidence: of the interval, two-sided.

    Raises:
        InvalidInputError: fewer than 2 rows, or a limit or confidence that cannot be.

    >>> rows = np.random.default_rng(0).chisquare(8, size=(400, 1)) / 8
    >>> found = crossing(rows * np.array([[0.0, 0.01, 0.04]]), (0.0, 0.1, 0.2), 0.02, "mse")
    >>> round(found.level, 2), round(found.low, 2), round(found.high, 2)
    (0.14, 0.14, 0.15)
    """
    values = np.asarray(row_values, dtype=np.float64)
    if len(values) < FEWEST_ROWS:
        raise InvalidInputError(f"at least {FEWEST_ROWS} rows are needed for an interval, not {len(values)}")
    check_confidence(confidence)
    _check_limit(limit, score)
    is_share = score != "mse"
    excess = limit - values if is_share else values - limit
    axis = np.asarray(levels, dtype=np.float64) ** (1 if is_share else 2)
    t = _quantile(0.5 + confidence / 2, len(values) - 1)
    last = _finite_levels(excess)
    means = [_first_crossing(excess[:, :last], axis[:last], shift) for shift in (0.0, t, -t)]
    level, low, high = (None if at is None else at if is_share else math.sqrt(at) for at in means)
    if last < len(levels):
        before = float(levels[last - 1]) if last else 0.0
        level, low = (before if each is None else each for each in (level, low))
        high = float(levels[last]) if high is None else high
    return Crossing(level, low, high, float(limit), score, confidence, float(levels[-1]))


@lru_cache(maxsize=16)
def _quantile(p: float, df: int) -> float:
    return student.quantile(p, df)


def _check_limit(limit: float, score: Score) -> None:
    if not (isinstance(limit, (int, float, np.number)) and math.isfinite(limit) and limit >= 0):
        raise InvalidInputError(f"a limit of {score} must be a finite number of at least 0, not {limit!r}")
    if score != "mse" and limit > 1:
        raise InvalidInputError(f"a limit of {score} is a share of the rows, at most 1, not {limit!r}")


def _finite_levels(excess: Float64) -> int:
    """How many levels, from the first on, are finite for all rows."""
    lost = np.flatnonzero(~np.isfinite(excess).all(axis=0))
    return int(lost[0]) if lost.size else excess.shape[1]


def _first_crossing(excess: Float64, axis: Float64, shift: float) -> float | None:
    """Where `mean + shift * standard error` of the excess first rises above 0, on the axis; None: nowhere.

    With a shift above 0 that is the lower end of the interval, with one below 0 the upper end.
    """
    if not excess.shape[1]:
        return None
    for index in range(excess.shape[1] - 1):
        at = _within(excess[:, index], excess[:, index + 1], shift)
        if at is not None:
            return float(axis[index] + at * (axis[index + 1] - axis[index]))
    return None


def _within(start: Float64, end: Float64, shift: float) -> float | None:
    """The first t in [0, 1] from which on the bound of `(1 - t) * start + t * end` lies above 0; None: nowhere.

    The bound is convex in t, a straight mean and a multiple of a norm, so that one that begins at 0 or below rises
    above it at most once; with a shift below 0 it is concave, and rises above it before it is highest.
    """
    count, first, last = len(start), float(start.mean()), float(end.mean())
    if shift <= 0 and max(first, last) <= 0:
        return None  # the bound lies nowhere above the mean
    off, step = start - first, (end - last) - (start - first)
    squares = float(off @ off), 2.0 * float(off @ step), float(step @ step)
    scale = shift / math.sqrt((count - 1) * count)

    def bound(t: float) -> float:
        spread = squares[0] + t * (squares[1] + t * squares[2])
        return first + t * (last - first) + scale * math.sqrt(max(spread, 0.0))

    if bound(0.0) > 0:
        return 0.0
    highest = 1.0 if shift >= 0 or bound(1.0) > 0 else _highest(bound)
    if bound(highest) <= 0:
        return None
    low, high = 0.0, highest
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if bound(middle) > 0 else (middle, high)
    return high


def _highest(bound: Callable[[float], float]) -> float:
    """Where a concave function on [0, 1] is highest."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        third = (high - low) / 3
        low, high = (low + third, high) if bound(low + third) < bound(high - third) else (low, high - third)
    middle = 0.5 * (low + high)
    return 1.0 if bound(1.0) >= bound(middle) else middle
