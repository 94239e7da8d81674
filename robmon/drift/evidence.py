"""The recursion of evidence: Shiryaev-Roberts sums of bets that a mean lies above a limit.

For one bet with factors `L_t` that have a mean of at most 1 while nothing is wrong, `M_t = (M_(t-1) + 1) L_t` is the
sum over all times at which a change may have begun of the product of the factors since, and `M_t - t` is a
supermartingale: an e-detector (Shin, Ramdas & Rinaldo, NEJSDS 2024). So `E[alarms in H steps] <= H / threshold` where
each alarm starts from 0 again, and a mean of such evidence, over bets, statistics or pods, keeps that.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from robmon.robustness.arrays import Float64

FRACTIONS: Final = np.geomspace(0.01, 0.6, 8)
"""Bets as fractions of what the limit allows: no row takes more than 60 % of the evidence."""
MOST_EVIDENCE: Final = 1e12
"""Each bet's evidence ends here, so that one that stands can still be told from a rising one and then forgotten."""


def bets_above(limits: Float64) -> Float64:
    """Shape `(statistics, 8)`: bets that the mean is above the limit, given limits `(statistics,)`."""
    return np.asarray(FRACTIONS / limits[:, None])


def bets_below(limits: Float64) -> Float64:
    """Shape `(statistics, 8)`: bets that the mean is below the limit; smaller, since a row may be far above it."""
    return np.asarray(-0.6 * FRACTIONS / np.maximum(limits, 1.0 - limits)[:, None])


def log_factors(values: Float64, limits: Float64, bets: Float64) -> Float64:
    """Logarithm of the factor of one assessment for each bet, shape `(statistics, 8)`.

    Args:
        values: shape `(m, statistics)`, each row's mean of each statistic over its trials.
        limits: shape `(statistics,)`.
        bets: shape `(statistics, 8)`.
    """
    return np.asarray(np.log1p(bets * (values - limits)[:, :, None]).sum(axis=0))


def advanced(log_evidence: Float64, factors: Float64) -> Float64:
    """Evidence after one more assessment, both as logarithms of any one shape: `(M + 1) L`, at most 1e12.

    >>> float(advanced(np.array(-np.inf), np.array(math.log(2.0)))) == math.log(2.0)  # of nothing yet
    True
    """
    return np.asarray(np.minimum(factors + np.logaddexp(0.0, log_evidence), math.log(MOST_EVIDENCE)))


def advanced_where_told(log_evidence: Float64, factors: Float64) -> Float64:
    """The same, where a statistic that no row says anything of, whose factors are all 1, makes no step.

    As many steps as assessments at most are counted, so the bound on alarms holds. Without it evidence of a statistic
    that is never told anything would be the number of steps.
    """
    told = (factors != 0.0).any(axis=-1, keepdims=True)
    return np.where(told, advanced(log_evidence, factors), log_evidence)


def mean_evidence(log_evidence: Float64) -> Float64:
    """The mean over statistics and bets, the last two axes."""
    return np.asarray(np.exp(log_evidence).mean(axis=(-2, -1)))


def clearing_evidence(log_evidence: Float64) -> Float64:
    """Evidence of bets that means lie below their limits: the mean over bets, and the least of the statistics.

    While one statistic is above its limit nothing is cleared, however far below another is.
    """
    return np.asarray(np.exp(log_evidence).mean(axis=-1).min(axis=-1))


def nothing(statistics: int) -> Float64:
    """Logarithm of no evidence, shape `(statistics, 8)`."""
    return np.full((statistics, len(FRACTIONS)), -np.inf)
