"""Ratios of two versions' errors, row by row, with their confidence limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from robmon.robustness.arrays import Float64
from robmon.robustness.statistics.mean_test import is_above_zero, joint_moments, lower_limit, moments, power

POWER = 0.9


@dataclass(frozen=True)
class PooledErrors:
    """Errors of the rows summed over the levels, in units of the largest, less their corrections.

    What is not finite in either is left out of both.
    """

    a: Float64
    b: Float64
    mean_a: float
    mean_b: float

    @classmethod
    def of(cls, a: Float64, b: Float64, off: Float64, pooled_off: Float64) -> PooledErrors:
        usable = np.isfinite(a) & np.isfinite(b)
        a, b, off_a, off_b = (np.where(usable, each, 0.0) for each in (a, b, *off))
        size = float(_safe(max(a.max(), b.max())))
        a, b, off_a, off_b = ((each / size).sum(axis=1) for each in (a, b, off_a, off_b))
        # Means are those of the errors themselves: a correction has none but for rounding.
        return cls(a - off_a, b - off_b - pooled_off / size, float(a.mean()), float(b.mean()))

    def limits(self, alpha: float) -> tuple[float, float, float]:
        """The ratio and its limits."""
        low = _lower_ratio(self.a, self.b, self.mean_a, self.mean_b, alpha)
        high = _ratio(1.0, _lower_ratio(self.b, self.a, self.mean_b, self.mean_a, alpha))
        return _ratio(self.mean_b, self.mean_a), low, high

    def detectable_ratio(self, tolerated: float, alpha: float) -> float | None:
        if self.mean_a <= 0 or self.mean_b <= 0:
            return None
        a, b = self.a / self.mean_a, self.b / self.mean_b
        # With b scaled to the ratio r, what is tested is b - tolerated / r a, but for a factor: q is 1 - tolerated / r.
        joint = joint_moments(b - a, a)
        q = _smallest(lambda q: power(joint.at(q), alpha) >= POWER)
        return tolerated / (1.0 - q) if q < 1.0 else math.inf


def level_ratio(a: Float64, b: Float64, off: Float64, alpha: float) -> tuple[float, ...]:
    """Ratio, difference, and their limits, in the order of `Comparison`, from one column of each version.

    `off`, shape `(2, n)`, is subtracted from a and b where chance is judged.
    """
    lost_a, lost_b = np.isinf(a), np.isinf(b)
    if np.any(lost_b & ~lost_a):
        return (math.inf,) * 6
    if np.any(lost_a & ~lost_b):
        return (0.0,) * 3 + (-math.inf,) * 3
    a, b, off = a[~lost_a], b[~lost_b], off[:, ~lost_a]
    if len(a) < 2:
        return 1.0, 0.0, math.inf, 0.0, -math.inf, math.inf
    size = float(_safe(np.maximum(a.max(), b.max())))
    mean_a, mean_b = float(np.mean(a / size)), float(np.mean(b / size))
    a, b = (a - off[0]) / size, (b - off[1]) / size
    difference = moments(b - a)
    return (
        _ratio(mean_b, mean_a),
        _lower_ratio(a, b, mean_a, mean_b, alpha),
        _ratio(1.0, _lower_ratio(b, a, mean_b, mean_a, alpha)),
        size * difference.mean,
        size * lower_limit(difference, alpha),
        -size * lower_limit(difference.mirrored, alpha),
    )


def _lower_ratio(a: Float64, b: Float64, mean_a: float, mean_b: float, alpha: float) -> float:
    """Lower limit of mean b over mean a: the largest r for which the test finds `b - r a` above 0."""
    if mean_a == 0 or mean_b == 0 or not math.isfinite(mean_b / mean_a):
        return math.inf if is_above_zero(moments(b), alpha) else 0.0
    a = a / mean_a
    joint = joint_moments(b / mean_b - a, a)
    return mean_b / mean_a * (1.0 - _smallest(lambda q: is_above_zero(joint.at(q), alpha)))


def _smallest(holds: Callable[[float], bool]) -> float:
    """The smallest q in [0, 1] from which on something holds, by bisection; 1 where it does not at 1 either."""
    if not holds(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _ratio(new: float, reference: float) -> float:
    """New over reference; 1 where both are 0 and +Inf where only the reference is."""
    if reference == 0:
        return math.inf if new > 0 else 1.0
    return new / reference


def _safe(sizes: ArrayLike) -> Float64:
    """Sizes to divide by: 1 instead of 0."""
    return np.where(np.asarray(sizes) > 0, sizes, 1.0)


def error_shares(errors: Float64) -> Float64:
    """Which part of the finite errors lies at each level, shape `(levels,)`."""
    finite = np.where(np.isfinite(errors), errors, 0.0)
    by_level = (finite / _safe(finite.max())).mean(axis=0)
    return np.asarray(by_level / _safe(by_level.sum()))
