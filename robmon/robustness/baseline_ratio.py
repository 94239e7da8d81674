"""How today's errors compare with the baseline's, which other rows gave."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.checks import check_confidence


def mean_ratio(
    row_errors: ArrayLike,
    baseline_mean: ArrayLike,
    baseline_variance: ArrayLike,
    baseline_rows: int,
    confidence: float = 0.95,
) -> tuple[Float64, Float64]:
    """Mean row error over a baseline's from other rows, and its lower confidence limit.

    Rows are the unit on both sides. On the log scale the standard error is `sqrt(s²/(n m²) + v/(N M²))` (delta method),
    the limit `ratio * exp(-z * standard error)`. Simulated with 256 rows and a baseline of 1024 that are equal in law:
    the limit at 95 % lies above 1 in 4.5 to 5.2 % of samples from chi-square laws and of classes that flip seldom, in
    2.8 to 4.2 % from log-normal and Pareto ones, and in 5.7 % where 5 % of the rows carry all the error.

    Args:
        row_errors: shape `(n, levels)`, averaged over trials.
        baseline_mean, baseline_variance: shape `(levels,)`, mean and variance of the baseline's row errors.
        baseline_rows: rows they were taken over.
        confidence: one-sided, of the limit.

    Returns:
        ratio and limit, each of shape `(levels,)`. An infinite mean gives +Inf twice. A baseline of 0 gives 1 or +Inf,
        and a limit of 0: it tells nothing.

    >>> ratio, lower = mean_ratio(np.full((100, 1), 2.0), [1.0], [0.25], 100)
    >>> ratio.tolist(), lower.round(3).tolist()
    ([2.0], [1.842])
    """
    check_confidence(confidence)
    errors = np.asarray(row_errors, dtype=np.float64)
    base, spread = np.asarray(baseline_mean, dtype=np.float64), np.asarray(baseline_variance, dtype=np.float64)
    if errors.ndim != 2 or len(errors) < 2 or errors.shape[1:] != base.shape or base.shape != spread.shape:
        raise InvalidInputError(f"row errors of shape {errors.shape} do not fit a baseline of {base.size} levels")
    finite = np.all(np.isfinite(errors), axis=0)
    kept = np.where(finite, errors, 0.0)
    mean, variance = kept.mean(axis=0), kept.var(axis=0, ddof=1)
    ratio = np.where(finite, _ratio(base, mean), np.inf)
    known = (mean > 0) & (base > 0)
    safe_mean, safe_base = np.where(known, mean, 1.0), np.where(known, base, 1.0)
    error = np.sqrt(variance / (len(errors) * safe_mean**2) + spread / (baseline_rows * safe_base**2))
    lower = np.where(known, np.where(known, ratio, 0.0) * np.exp(-NormalDist().inv_cdf(confidence) * error), 0.0)
    return ratio, np.where(finite, lower, np.inf)


def _ratio(reference: Float64, new: Float64) -> Float64:
    """New over reference; 1 where both are 0 and +Inf where only the reference is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = new / reference
    return np.asarray(np.where((reference == 0) & (new == 0), 1.0, ratio))
