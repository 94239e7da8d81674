"""The mean bound: an upper bound of the expected row error over inputs and noise, for losses with a known maximum."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.checks import check_confidence

STAKED_FOR = 0.05
"""The alpha whose best stakes are staked at every confidence: what is ruled out at one is so at every lower one."""
HALVINGS = 30
"""They place the bound to 1e-9 of the maximum."""


def mean_upper_bound(row_errors: ArrayLike, confidence: float, maximum: float, method: str = "betting") -> float:
    """The mean bound B: the expected row error over inputs and noise is at most B with probability `confidence`.

    Betting (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024, section
    4): for each candidate mean m, a gambler who stakes against it row after row has the wealth
    `prod(1 - lambda_i (x_i - m))`, with x scaled to [0, 1]. If m were the mean, that wealth would ever reach 1/alpha
    with probability at most alpha (Ville's inequality), so every m whose wealth does is ruled out, and B is the
    smallest that is ruled out. The stakes are the authors': `lambda_i = min(1, sqrt(2 log(1/0.05) / (n v_{i-1})))` with
    v the running variance, best for 95 %. A stake depends only on the rows before it, so B depends on the order of the
    rows: leave it as it came.

    The independent units are row means. Trials pooled over rows are not independent: a row that moves easily does so in
    every trial, and a nominal 95 % then covers far less.

    No such bound exists for losses without a maximum (Bahadur & Savage, Ann. Math. Statist. 27, 1956).

    Args:
        row_errors: shape `(n,)`, each row's error averaged over its trials, between 0 and `maximum`. Rows must be
            independent; pooled trials are not rows.
        confidence: the stated probability, `1 - alpha`.
        maximum: the largest possible row error (1 for classes).
        method: `betting`.

    Returns:
        B, in the units of `row_errors`, at most `maximum`.

    Raises:
        InvalidInputError: an error lies outside [0, maximum], there are none, or confidence or method cannot be used.

    >>> round(mean_upper_bound(np.zeros(256), 0.95, maximum=1.0), 4)
    0.012
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
    stakes, enough = _stakes(scaled), -math.log1p(-confidence)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        # The wealth rises with the candidate: all above one that is ruled out are ruled out too.
        ruled_out = float(np.cumsum(np.log1p(stakes * (middle - scaled))).max()) >= enough
        low, high = (low, middle) if ruled_out else (middle, high)
    return high * maximum


def _stakes(scaled: Float64) -> Float64:
    """Predictable stakes: that of a row depends on the rows before it only."""
    count = np.arange(1, scaled.size + 1)
    means = (0.5 + np.cumsum(scaled)) / (count + 1)
    variances = (0.25 + np.cumsum((scaled - means) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.asarray(np.minimum(np.sqrt(2.0 * math.log(1.0 / STAKED_FOR) / (scaled.size * before)), 1.0))
