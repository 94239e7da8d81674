"""The mean bound: an upper bound of the expected row error over inputs and noise, for losses with a known maximum."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64, batches
from robmon.robustness.bounds import check_confidence

GRID = 256
"""Candidate means a pass; two passes place the bound to 1.6e-5 of the maximum."""
TRUNCATION = 0.75
"""No bet stakes more than this share of the wealth, so that wealth stays positive."""


def mean_upper_bound(row_errors: ArrayLike, confidence: float, maximum: float, method: str = "betting") -> float:
    """The mean bound B: the expected row error over inputs and noise is at most B with probability `confidence`.

    Betting (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024, section
    4.2): for each candidate mean m a gambler who stakes against it row after row holds the wealth
    `prod(1 - lambda_i(m) (x_i - m))`, x scaled to [0, 1], `lambda_i = min(sqrt(2 log(1/alpha) / (n v_{i-1})),
    c / (1 - m))` with v the running variance (their equations 25 and 26). Were m the mean, its wealth would reach
    1/alpha with probability alpha at most (Ville's inequality), so every m whose wealth ever did is ruled out.

    Args:
        row_errors: shape `(n,)`, each row's error averaged over its trials, between 0 and `maximum`. Rows must be
            independent; pooled trials are not rows.
        confidence: the stated probability, `1 - alpha`.
        maximum: the largest possible row error (1 for classes).
        method: `betting`.

    Returns:
        B, in the units of `row_errors`, at most `maximum`.

    Raises:
        InvalidInputError: an error lies outside [0, maximum], there is none, or confidence or method is not usable.

    >>> mean_upper_bound(np.zeros(256), 0.95, maximum=1.0) < 0.02
    True
    """
    check_confidence(confidence)
    if method != "betting":
        raise InvalidInputError(f"mean bound {method!r} is not known: it is betting")
    if not (math.isfinite(maximum) and maximum > 0):
        raise InvalidInputError(f"maximum must be a finite number above 0, not {maximum!r}")
    errors = np.asarray(row_errors, dtype=np.float64)
    if errors.ndim != 1 or errors.size == 0:
        raise InvalidInputError(f"row errors must be one row of at least one number, not of shape {errors.shape}")
    if not bool(np.all((errors >= 0) & (errors <= maximum * (1 + 1e-9)))):
        raise InvalidInputError(f"row errors must lie between 0 and the maximum {maximum:g}")
    scaled = np.minimum(errors / maximum, 1.0)
    stakes = _stakes(scaled, 1.0 - confidence)
    low, high = 0.0, 1.0
    for _ in range(2):
        low, high = _bracket(scaled, stakes, np.linspace(low, high, GRID + 1), 1.0 - confidence)
    return float(high * maximum)


def _stakes(scaled: Float64, alpha: float) -> Float64:
    """Predictable stakes: that of a row depends on the rows before it only."""
    count = np.arange(1, scaled.size + 1)
    means = (0.5 + np.cumsum(scaled)) / (count + 1)
    variances = (0.25 + np.cumsum((scaled - means) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.asarray(np.sqrt(2.0 * math.log(1.0 / alpha) / (scaled.size * before)))


def _bracket(scaled: Float64, stakes: Float64, candidates: Float64, alpha: float) -> tuple[float, float]:
    """The last candidate that is not ruled out, and the one after it."""
    limit = TRUNCATION / np.maximum(1.0 - candidates, 1e-12)
    wealth, richest = np.zeros(candidates.size), np.full(candidates.size, -np.inf)
    for rows in batches(scaled.size, 256):
        stake = np.minimum(stakes[rows, None], limit)
        steps = np.log1p(-stake * (scaled[rows, None] - candidates))
        path = wealth + np.cumsum(steps, axis=0)
        wealth, richest = path[-1], np.maximum(richest, path.max(axis=0))
    kept = np.flatnonzero(richest < math.log(1.0 / alpha))
    last = int(kept[-1]) if kept.size else 0
    return float(candidates[last]), float(candidates[min(last + 1, candidates.size - 1)])
