"""Student's t distribution, so that the numerics need nothing beyond NumPy (a model's environment may lack SciPy)."""

from __future__ import annotations

import math

from robmon.robustness.statistics import beta


def cdf(t: float, df: float) -> float:
    """P(T <= t) for Student's t with `df` degrees of freedom.

    By the regularised incomplete beta function (Abramowitz & Stegun 1964, 26.7.1).

    >>> round(cdf(2.0, 10), 6)
    0.963306
    """
    if math.isinf(t):
        return 0.0 if t < 0 else 1.0
    tail = 0.5 * beta.cdf(df / (df + t * t), 0.5 * df, 0.5)
    return tail if t < 0 else 1.0 - tail


def sf(t: float, df: float) -> float:
    """P(T > t), precise in the upper tail."""
    return cdf(-t, df)


def quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, 0 < p < 1, by bisection.

    >>> round(quantile(0.95, 38), 6)
    1.685954
    """
    tail = min(p, 1.0 - p)
    low, high = 0.0, 1.0
    while sf(high, df) > tail:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (middle, high) if sf(middle, df) > tail else (low, middle)
    return high if p >= 0.5 else -high
