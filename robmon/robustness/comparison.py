"""Is one version worse under noise than another? Rows are the sampling unit, never the trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError
from robmon.robustness import student
from robmon.robustness.arrays import Float64
from robmon.robustness.bounds import check_confidence
from robmon.robustness.jsonable import jsonable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robmon.robustness.result import Assessment

POWER = 0.9
OTHER_UNITS = 10.0
"""Clean variances that differ by more than this factor are those of outputs in other units."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Version b against version a, on the same rows and noise.

    Attributes:
        levels: shape `(levels,)`, all above 0.
        ratio: shape `(levels,)`, noise MSE of b over that of a; +Inf where b's is infinite, or only a's is 0.
        delta: shape `(levels,)`, normalised noise MSE of b less that of a.
        pvalue: of the hypothesis that b's noise MSE is at most `(1 + tolerance)` times a's, over all levels.
        worse: `pvalue < alpha`.
        detectable_ratio: the smallest ratio that this sample would have shown with 90 % power; None where a has no
            error.
        rows, alpha, tolerance: as used.
        a, b: both assessments, where the comparison was made from such.
    """

    levels: Float64
    ratio: Float64
    delta: Float64
    pvalue: float
    worse: bool
    detectable_ratio: float | None
    rows: int
    alpha: float
    tolerance: float
    a: Assessment | None = None
    b: Assessment | None = None

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON has it; infinite is "+Inf"."""

        own = {key: value for key, value in vars(self).items() if key not in ("a", "b")}
        assessments = {key: None if each is None else each.to_dict() for key, each in (("a", self.a), ("b", self.b))}
        return jsonable(own | assessments)  # type: ignore[no-any-return]

    def plot(self, name_a: str = "a", name_b: str = "b") -> Figure:
        """Both curves in one matplotlib figure. Needs both assessments."""
        from robmon.robustness.plot import plot_comparison

        return plot_comparison(self, name_a, name_b)


def compare_rows(
    a: ArrayLike, b: ArrayLike, *, levels: Sequence[float] | None = None, alpha: float = 0.01, tolerance: float = 0.0
) -> Comparison:
    """Compare two versions by their row errors on the same rows under the same noise.

    Each row gives one difference `b - (1 + tolerance) a`, summed over levels with weights `1 / (mean a + mean b)`, so
    that every level counts alike; a one-sided t-test over rows (Student 1908) decides. The smallest detectable ratio is
    `1 + tolerance + (t_alpha + t_0.9) * standard error / mean`, in a's errors.

    Args:
        a, b: shape `(n, levels)`, row errors averaged over the same trials, each output divided by the *reference*
            version's clean variance; only levels above 0.
        levels: the levels of the columns; None: they are numbered from 1.
        alpha: chance of a false alarm.
        tolerance: relative worsening that is tolerated.

    Errors that are infinite in b and finite in a are a failure of b: it is worse, at p-value 0. Where both are infinite
    nothing is compared.

    Raises:
        InvalidInputError: shapes differ, fewer than 2 rows, levels not above 0, NaN, alpha or tolerance out of range.

    >>> errors = np.random.default_rng(0).chisquare(4, size=(200, 1))
    >>> compare_rows(errors, 1.5 * errors).worse, compare_rows(errors, errors).worse
    (True, False)
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    columns = first.shape[1] if first.ndim == 2 else 0
    at = np.arange(1.0, columns + 1) if levels is None else np.asarray(levels, dtype=np.float64)
    _check(first, second, at, alpha, tolerance)
    broken, healed = np.isinf(second) & ~np.isinf(first), np.isinf(first) & ~np.isinf(second)
    usable = np.isfinite(first) & np.isfinite(second)
    kept_a, kept_b = np.where(usable, first, 0.0), np.where(usable, second, 0.0)
    rows = np.maximum(usable.sum(axis=0), 1)
    mean_a, mean_b = kept_a.sum(axis=0) / rows, kept_b.sum(axis=0) / rows
    gone_a, gone_b = healed.any(axis=0), broken.any(axis=0)
    ratio = _ratio(np.where(gone_a & ~gone_b, np.inf, mean_a), np.where(gone_b, np.inf, mean_b))
    delta = np.where(gone_b, np.inf, np.where(gone_a, -np.inf, mean_b - mean_a))
    size = mean_a + mean_b
    weight = np.where(size > 0, 1.0 / np.where(size > 0, size, 1.0), 0.0)
    difference = (kept_b - (1.0 + tolerance) * kept_a) @ weight
    pvalue = 0.0 if broken.any() else _pvalue(difference)
    return Comparison(
        levels=at,
        ratio=ratio,
        delta=delta,
        pvalue=pvalue,
        worse=pvalue < alpha,
        detectable_ratio=_detectable(difference, float(mean_a @ weight), alpha, tolerance),
        rows=len(first),
        alpha=alpha,
        tolerance=tolerance,
    )


def _check(a: Float64, b: Float64, levels: Float64, alpha: float, tolerance: float) -> None:
    if a.ndim != 2 or a.shape != b.shape or a.shape[1:] != levels.shape:
        raise InvalidInputError(
            f"row errors must both be of shape (rows, {levels.size}) for these levels, not {a.shape} and {b.shape}"
        )
    if len(a) < 2:
        raise InvalidInputError("at least 2 rows are needed to compare")
    if np.isnan(a).any() or np.isnan(b).any() or not np.all(levels > 0):
        raise InvalidInputError("row errors must not be NaN, and levels must be above 0")
    if not 0 < alpha < 1 or not (math.isfinite(tolerance) and tolerance >= 0):
        raise InvalidInputError("alpha must lie between 0 and 1, and tolerance be a finite number of at least 0")


def _ratio(reference: Float64, new: Float64) -> Float64:
    """New over reference; 1 where both are 0 and +Inf where only the reference is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = new / reference
    return np.asarray(np.where((reference == 0) & (new == 0), 1.0, ratio))


def _standard_error(difference: Float64) -> float:
    return float(difference.std(ddof=1)) / math.sqrt(len(difference))


def _pvalue(difference: Float64) -> float:
    mean, error = float(difference.mean()), _standard_error(difference)
    if error <= 1e-15 * abs(mean) or error == 0.0:
        return 0.0 if mean > 0 else 1.0
    return student.sf(mean / error, len(difference) - 1)


def _detectable(difference: Float64, size: float, alpha: float, tolerance: float) -> float | None:
    if size <= 0:
        return None
    df = len(difference) - 1
    steps = student.quantile(1.0 - alpha, df) + student.quantile(POWER, df)
    return 1.0 + tolerance + steps * _standard_error(difference) / size


def mean_ratio(
    row_errors: ArrayLike,
    baseline_mean: ArrayLike,
    baseline_variance: ArrayLike,
    baseline_rows: int,
    confidence: float = 0.95,
) -> tuple[Float64, Float64]:
    """Mean row error over a baseline's from other rows, and its lower confidence limit.

    Rows are the unit on both sides. On the log scale the standard error is `sqrt(s²/(n m²) + v/(N M²))` (delta method),
    the limit `ratio * exp(-z * standard error)`.

    Args:
        row_errors: shape `(n, levels)`, averaged over trials.
        baseline_mean, baseline_variance: shape `(levels,)`, mean and variance of the baseline's row errors.
        baseline_rows: rows they were taken over.
        confidence: one-sided, of the limit.

    Returns:
        ratio and limit, each of shape `(levels,)`. An infinite mean gives +Inf twice. A baseline of 0 gives 1 or +Inf,
        and
        a limit of 0: it tells nothing.

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


def comparable(variance_a: ArrayLike, variance_b: ArrayLike, output: str = "value") -> bool:
    """Whether two versions' outputs are in the same units: no clean variance differs by more than a factor of 10.

    Of values, each output's; of classes, the sum over outputs, which is what divides their errors.

    >>> comparable([1.0, 2.0], [2.0, 3.0]), comparable([1.0], [100.0]), comparable([1.0], [1.0, 1.0])
    (True, False, False)
    """
    a, b = (np.asarray(variance, dtype=np.float64).ravel() for variance in (variance_a, variance_b))
    if output != "label" and a.size != b.size:
        return False
    if output != "value":
        a, b = a.sum(keepdims=True), b.sum(keepdims=True)
    return bool(np.all((a <= OTHER_UNITS * b) & (b <= OTHER_UNITS * a)))
