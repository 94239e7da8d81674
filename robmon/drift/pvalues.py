"""p-values of the statistics of drift, in closed forms that need NumPy alone, and the rate of false discoveries.

A model server's environment may have no SciPy, and a verdict must not depend on whether it has: so none is asked.
"""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robmon.errors import InvalidInputError

TERMS = 100
"""Of a series that has long converged by then."""
THETA_BELOW = 0.6
"""Below it the other form of Kolmogorov's series converges at once."""


def kolmogorov_smirnov_pvalue(distance: float, reference_rows: int, current_rows: int) -> float:
    """Probability of a larger distance between two samples of one continuous law; of one with ties it is smaller.

    Smirnov's limit: Kolmogorov's distribution of `sqrt(n m / (n + m)) D`. Of small samples it is on the safe side.

    >>> round(kolmogorov_smirnov_pvalue(0.136, 200, 200), 3)
    0.049
    """
    if not reference_rows or not current_rows:
        return 1.0
    at = distance * math.sqrt(reference_rows * current_rows / (reference_rows + current_rows))
    if at <= 0:
        return 1.0
    if at < THETA_BELOW:
        terms = (math.exp(-(((2 * k - 1) * math.pi / at) ** 2) / 8) for k in range(1, TERMS))
        return max(1.0 - math.sqrt(2 * math.pi) / at * sum(terms), 0.0)
    terms = (math.exp(-2 * (k * at) ** 2) * (1 if k % 2 else -1) for k in range(1, TERMS))
    return min(2 * sum(terms), 1.0)


def chi_square_pvalue(statistic: float, degrees: int) -> float:
    """Probability that a chi-square of so many degrees of freedom is larger: a finite sum, for each of them.

    Source: Abramowitz & Stegun (1964), 26.4.4 and 26.4.5.

    >>> round(chi_square_pvalue(3.841, 1), 3), round(chi_square_pvalue(5.991, 2), 3)
    (0.05, 0.05)
    """
    if degrees < 1 or statistic <= 0:
        return 1.0
    half = statistic / 2
    if degrees % 2:
        first, tail = math.sqrt(2 * statistic / math.pi) * math.exp(-half), math.erfc(math.sqrt(half))
        count, start = (degrees - 1) // 2, 3.0
    else:
        first, tail, count, start = math.exp(-half), 0.0, degrees // 2, 2.0
    if not count:
        return tail
    terms = accumulate(range(count - 1), lambda term, k: term * statistic / (start + 2 * k), initial=first)
    return min(tail + sum(terms), 1.0)


def share_pvalue(reference: int, reference_rows: int, current: int, current_rows: int) -> float:
    """Whether a share of rows changed: Fisher's exact test of two counts, both tails, twice the smaller one.

    >>> share_pvalue(0, 1024, 0, 64), round(share_pvalue(0, 1024, 3, 64), 5)
    (1.0, 0.00039)
    """
    hits, rows = reference + current, reference_rows + current_rows
    low, high = max(0, hits - reference_rows), min(hits, current_rows)
    if low == high:
        return 1.0
    k = np.arange(low, high, dtype=np.float64)
    steps = np.log((hits - k) * (current_rows - k)) - np.log((k + 1) * (rows - hits - current_rows + k + 1))
    weights = np.append(0.0, np.cumsum(steps))
    chance = np.exp(weights - weights.max())
    at = current - low
    tail = min(chance[: at + 1].sum(), chance[at:].sum()) / chance.sum()
    return min(2 * float(tail), 1.0)


def exceedance_pvalue(beyond: int, reference_rows: int, current_rows: int) -> float:
    """Probability that so many of the current rows or more lie beyond the largest of the reference's.

    Of exchangeable rows the largest k are all current with `prod (n - i) / (N + n - i)`, i from 0 to k - 1 (the
    precedence test: Nelson, Technometrics 5, 1963); with ties it is less.

    >>> exceedance_pvalue(0, 100, 100), exceedance_pvalue(1, 300, 100)
    (1.0, 0.25)
    """
    places = np.arange(beyond, dtype=np.float64)
    return float(np.prod((current_rows - places) / (reference_rows + current_rows - places)))


def new_names_pvalue(reference: ArrayLike, current: ArrayLike) -> float:
    """Bound on the probability that so many current rows or more have a name that the reference has not.

    If nothing changed, which rows are the current ones is chance: all t of a name are with at most `(n / (N + n))^t`,
    and less often those of several names together than if they were independent (negative association: Joag-Dev &
    Proschan, Ann. Stat. 11, 1983). Chernoff's bound of the sum, the least over a grid of its parameter.

    Args:
        reference, current: shape `(names,)`, rows of each name.

    >>> new_names_pvalue([50, 50], [50, 50]), round(new_names_pvalue([500, 500, 0], [50, 45, 5]), 6)
    (1.0, 1.4e-05)
    """
    before, now = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    new = float(now[before == 0].sum())
    if not new or not before.sum():
        return 1.0
    size, names = np.unique(before + now, return_counts=True)
    all_current = size * math.log(now.sum() / (before.sum() + now.sum()))
    grid = np.geomspace(0.01, 100.0, 200)[:, None]
    log_means = np.logaddexp(np.log(-np.expm1(all_current)), all_current + grid * size)
    exponents = np.sum(names * log_means, axis=1) - grid[:, 0] * new
    return min(math.exp(min(float(exponents.min()), 0.0)), 1.0)


def adjusted(pvalues: ArrayLike) -> NDArray[np.float64]:
    """Benjamini-Hochberg: the smallest rate of false discoveries at which each is one, shape `(tests,)`.

    Source: Benjamini & Hochberg, J. R. Stat. Soc. B 57 (1995).

    Raises:
        InvalidInputError: they are no probabilities.

    >>> adjusted([0.01, 0.04, 0.5]).round(3).tolist()
    [0.03, 0.06, 0.5]
    """
    values = np.asarray(pvalues, dtype=np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise InvalidInputError("p-values must be numbers from 0 to 1")
    order = np.argsort(values)
    scaled = values[order] * values.size / np.arange(1, values.size + 1)
    result = np.empty_like(values)
    result[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return result
