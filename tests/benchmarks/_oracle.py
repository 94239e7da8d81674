"""How soon any detector could see a change: a CUSUM that knows the law of errors and every level of the traffic.

None sees one sooner that raises as few false alarms (Moustakides, Ann. Stat. 1986). It cannot be had: a detector knows
neither. What lies between the two is the price of knowing little; what this one needs is the price of the promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from scipy import stats

from tests.benchmarks._streams import ROWS, THRESHOLD, TRIALS, Float64

RISES = np.linspace(0.0, 2.0, 41)
"""Logarithms of the ratio of a level to what is allowed, at which the evidence of a row is worked out."""
LEAST_SPREAD = 0.005
"""Of the logarithm of a row's mean error: the distance of the points at which its density is worked out."""


class Evidence(NamedTuple):
    """Of one row: mean and variance of the logarithm of how much likelier it is at its level than at another."""

    mean: float
    variance: float


class Rows(Protocol):
    """Rows of one law of errors."""

    def evidence(self, allowed: float, level: float) -> Evidence:
        """Of a row at that level, against the level that is allowed."""


class Squared:
    """Of `squared(spread, spikes)`: all that tells levels apart is the mean error of the rows that have one."""

    def __init__(self, spread: float, spikes: float) -> None:
        self._spikes = spikes
        self._logs = np.linspace(-9.0, 9.0, 3601)
        of_trials = np.linspace(-2.5, 1.5, 801)
        weights = stats.chi2.pdf(TRIALS * np.exp(of_trials), TRIALS) * np.exp(of_trials)
        density = stats.norm.pdf(self._logs[:, None] - of_trials, scale=max(spread, LEAST_SPREAD)) @ weights
        self._density = density / density.sum()

    def evidence(self, allowed: float, level: float) -> Evidence:
        """Rows without any error say nothing: there are as many at every level."""
        log_density = np.log(np.maximum(self._density, 1e-300))
        rise = np.log(level / allowed)
        told = log_density - np.interp(self._logs + rise, self._logs, log_density)
        mean, square = (self._spikes * float(self._density @ power) for power in (told, told**2))
        return Evidence(mean, square - mean**2)


class Flips:
    """Of `flips`: how often a row flips, a beta-binomial number."""

    def evidence(self, allowed: float, level: float) -> Evidence:
        """By its probabilities."""
        counts = np.arange(TRIALS + 1)
        before, after = (
            stats.betabinom.logpmf(counts, TRIALS, mean, 1.0 - mean)
            for mean in np.minimum(0.05 * np.array([allowed, level]), 0.9)
        )
        mean, square = (float(np.exp(after) @ (after - before) ** power) for power in (1, 2))
        return Evidence(mean, square - mean**2)


BY_NAME: dict[str, Callable[[], Rows]] = {
    "MSE, sd 0.5": lambda: Squared(0.5, 1.0),
    "MSE, sd 1": lambda: Squared(1.0, 1.0),
    "MSE, sd 1.5": lambda: Squared(1.5, 1.0),
    "MSE, 5 % of the rows": lambda: Squared(1.0, 0.05),
    "MSE, 5 % of the rows, alike": lambda: Squared(0.0, 0.05),
    "flips": Flips,
}
"""Of each law. Not of that with a trace beside 5 % of the rows: there all rows tell the level."""


def best_delays(rows: Rows, allowed: Float64, log_levels: Float64, generator: np.random.Generator) -> Float64:
    """Assessments until that CUSUM reaches the logarithm of the threshold, shape `(streams,)`; infinite if never.

    With this threshold it raises at most as many false alarms as the detector, while errors are at the level that is
    allowed (Lorden, Ann. Math. Stat. 1971). An assessment whose level is not above that tells it nothing: whoever
    counted it as worse would break the promise. The evidence of its 256 rows is taken as normal.

    Args:
        rows: the law of errors.
        allowed: shape `(streams,)`, the level up to which none may raise an alarm.
        log_levels: shape `(streams, assessments)`, logarithms of the levels after the change.
        generator: of random numbers.
    """
    usual = float(np.median(allowed))
    table = np.array([rows.evidence(usual, usual * float(np.exp(rise))) for rise in RISES])
    rises = np.clip(log_levels - np.log(allowed)[:, None], 0.0, RISES[-1])
    mean, variance = (ROWS * np.interp(rises, RISES, column) for column in table.T)
    told = np.where(rises > 0.0, mean + np.sqrt(np.maximum(variance, 0.0)) * generator.normal(size=rises.shape), 0.0)
    state, seen = np.zeros(len(rises)), np.full(len(rises), np.inf)
    for at in range(rises.shape[1]):
        state = np.maximum(state, 0.0) + told[:, at]
        seen[np.isinf(seen) & (state >= np.log(THRESHOLD))] = at + 1
    return seen
