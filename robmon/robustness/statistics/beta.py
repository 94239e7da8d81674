"""The beta distribution and the exact limits of a share, for a model's environment may lack SciPy."""

from __future__ import annotations

import math


def cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) for X ~ Beta(a, b): the regularised incomplete beta function I_x(a, b).

    By its continued fraction (Abramowitz & Stegun 1964, 26.5.8), on the side where that converges fast.

    >>> round(cdf(0.5, 2, 3), 12)
    0.6875
    """
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log_front) * _fraction(a, b, x) / a
    return 1.0 - math.exp(log_front) * _fraction(b, a, 1.0 - x) / b


def quantile(p: float, a: float, b: float) -> float:
    """The x with P(X <= x) = p, 0 < p < 1, by bisection down to the resolution of floating point.

    >>> round(quantile(0.05, 99, 1), 12) == round(0.05 ** (1 / 99), 12)
    True
    """
    low, high = 0.0, 1.0
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if cdf(middle, a, b) < p else (low, middle)
    return high


def lower_limit(count: int, of: int, confidence: float) -> float:
    """The exact one-sided lower confidence limit of a probability, `count` successes in `of` independent tries.

    The smallest p under which so many successes have a probability of at least `1 - confidence` (Clopper & Pearson,
    Biometrika 26, 1934): the quantile `1 - confidence` of Beta(count, of - count + 1), 0 without a success. It holds
    with a probability of at least `confidence`, whatever p is.

    >>> round(lower_limit(99, 99, 0.95), 6), lower_limit(0, 99, 0.95)
    (0.970193, 0.0)
    """
    return quantile(1.0 - confidence, count, of - count + 1) if count > 0 else 0.0


def upper_limit(count: int, of: int, confidence: float) -> float:
    """The exact one-sided upper confidence limit of a probability: 1 less the lower limit of the failures.

    >>> round(upper_limit(0, 99, 0.95), 6), upper_limit(99, 99, 0.95)
    (0.029807, 1.0)
    """
    return 1.0 - lower_limit(of - count, of, confidence)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction, evaluated by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    value = d
    for m in range(1, 1000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + term * d
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = 1.0 + term / c
            c = c if abs(c) > tiny else tiny
            step = d * c
            value *= step
        if abs(step - 1.0) < 1e-15:
            break
    return value
