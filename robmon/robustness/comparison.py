"""Is one version worse under noise than another? Rows are the sampling unit, never the trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable
from robmon.robustness.ratios import PooledErrors, error_shares, level_ratio
from robmon.robustness.statistics.mean_test import moments, pvalue
from robmon.vocabulary import ComparisonScore, NoExponent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robmon.robustness.result import Assessment

ROUNDING = 1e-4
"""A worsening by this share is none: the same model in another precision may be so far off, on every row alike."""
OTHER_UNITS = 10.0
"""Clean variances that differ by more than this factor are those of outputs in other units."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Version b compared with version a, on the same rows under the same noise.

    All intervals have confidence `1 - 2 alpha`: b is worse exactly where `pooled_low` exceeds `1 + tolerance` by more
    than rounding, 0.01 %.

    Attributes:
        score: what row errors are. `mse`: squared changes of values, divided by twice the variance of *a's* clean
            outputs, so that 1 is an output as unrelated to its clean one as another row's. `probability`: for
            classifiers, mean squared changes of the probabilities, both versions brought to a common confidence
            (`robmon.robustness.confidence`). `flips`: for classifiers, shares of trials in which the class changed.
            `triplets`: for embeddings, shares of triplets whose order changed
            (`robmon.robustness.embedding_comparison`).
        pooled_ratio: what is tested: the sum of b's row errors over rows and levels, divided by that of a's; +Inf where
            b has infinite errors, or only a has none.
        pooled_low, pooled_high: its confidence limits, from 0 to +Inf.
        pvalue: of the hypothesis that the true pooled ratio is at most `1 + tolerance`.
        worse: `pvalue < alpha`.
        detectable_ratio: the smallest pooled ratio that such a sample detects with 90 % power; +Inf where it detects
            none, however large; None where a or b has no error.
        levels: shape `(levels,)`, all above 0.
        ratio: shape `(levels,)`, errors of b divided by those of a, level by level; +Inf as above.
        ratio_low, ratio_high: its confidence limits, from 0 to +Inf.
        delta: shape `(levels,)`, mean error of b minus that of a, in the units of the score.
        delta_low, delta_high: its confidence limits.
        error_share: shape `(levels,)`, the share of b's finite errors, all levels together, that lies at each level; 0
            where it has none.
        rows, alpha, tolerance: as used.
        exponents: those of a and b that bring them to the common confidence; None for other scores.
        common_confidence: the mean top probability to which both are brought; None for other scores.
        reason: why flips decide between classifiers: `labels`, `saturated`, `exponent` or `other_classes`, see
            `robmon.report.comparison.WHY_FLIPS`; None where they do not.
        disagreement: share of rows to which the two versions give different classes without noise; None where outputs
            are not classes, or one version's classes are names and the other's numbers.
        flip_ratio: shape `(levels,)`, share of flips of b divided by that of a; None where outputs are not classes.
        flip_pooled_ratio, flip_pvalue: what `pooled_ratio` and `pvalue` would be if flips decided; None where outputs
            are not classes.
        agreement_a, agreement_b: shape `(levels,)`, share of unchanged classes under noise; None where outputs are not
            classes.
        beyond_a, beyond_b: shape `(levels,)`, for embeddings, share of rows that noise moves beyond the version's own
            threshold; None for other outputs, and where there is none.
        self_nearest_a, self_nearest_b: likewise the share of rows that stay nearest to themselves.
        a, b: both assessments, where the comparison was made from assessments.
    """

    levels: Float64
    ratio: Float64
    ratio_low: Float64
    ratio_high: Float64
    delta: Float64
    delta_low: Float64
    delta_high: Float64
    error_share: Float64
    pooled_ratio: float
    pooled_low: float
    pooled_high: float
    pvalue: float
    worse: bool
    detectable_ratio: float | None
    rows: int
    alpha: float
    tolerance: float
    score: ComparisonScore = "mse"
    exponents: tuple[float, float] | None = None
    common_confidence: float | None = None
    reason: NoExponent | None = None
    disagreement: float | None = None
    flip_ratio: Float64 | None = None
    flip_pooled_ratio: float | None = None
    flip_pvalue: float | None = None
    agreement_a: Float64 | None = None
    agreement_b: Float64 | None = None
    beyond_a: Float64 | None = None
    beyond_b: Float64 | None = None
    self_nearest_a: Float64 | None = None
    self_nearest_b: Float64 | None = None
    a: Assessment | None = None
    b: Assessment | None = None

    @property
    def confidence(self) -> float:
        """Confidence of the intervals, `1 - 2 alpha`."""
        return 1.0 - 2.0 * self.alpha

    @property
    def flip_note(self) -> str:
        """A sentence where the verdict on probabilities and the flips disagree; else empty."""
        from robmon.report.comparison import flip_note

        return flip_note(self)

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON; infinite is "+Inf"."""
        own = {key: value for key, value in vars(self).items() if key not in ("a", "b")}
        assessments = {key: None if each is None else each.to_dict() for key, each in (("a", self.a), ("b", self.b))}
        return jsonable(own | {"confidence": self.confidence, "flip_note": self.flip_note} | assessments)  # type: ignore[no-any-return]

    def plot(self, name_a: str = "a", name_b: str = "b") -> Figure:
        """Both curves in one matplotlib figure. Needs both assessments."""
        from robmon.report.plot import plot_comparison

        return plot_comparison(self, name_a, name_b)

    def describe(self, name_a: str = "a", name_b: str = "b") -> str:
        """The verdict in plain words, the pooled ratio and how it was computed, and a table of the levels."""
        from robmon.report.comparison import text

        return text(self, name_a, name_b)

    def __str__(self) -> str:
        return self.describe()

    def __repr__(self) -> str:
        return (
            f"<Comparison worse={self.worse} pooled_ratio={self.pooled_ratio:.4g} pvalue={self.pvalue:.3g} "
            f"score={self.score} rows={self.rows}>"
        )


def compare_rows(
    a: ArrayLike,
    b: ArrayLike,
    correction: ArrayLike | None = None,
    *,
    levels: Sequence[float] | None = None,
    alpha: float = 0.01,
    tolerance: float = 0.0,
) -> Comparison:
    """Compare two versions by their row errors on the same rows under the same noise.

    The errors of a row are summed over the levels. Each row gives one difference `b - (1 + tolerance) a`; a one-sided
    t-test over rows, corrected for skewness (Hall 1992, see `statistics.mean_test`), decides. The confidence limits of
    the ratio of the sums are the ratios that the same test does not reject, as in Fieller (1954, J. R. Statist. Soc. B
    16, 175-185). The detectable ratio r is the smallest for which b's errors, scaled so that their mean is r times a's,
    would be found worse with 90 % power: it therefore stays the same when b gets worse as a whole.

    Args:
        a, b: shape `(n, levels)`, row errors averaged over the same trials, in the same units; only levels above 0.
        correction: what is subtracted from the tested difference, where errors depend on something that was estimated
            on the same rows; it changes no ratio, only the standard error. Shape `(n,)`, or `(2, n, levels)`: what is
            subtracted from a and from b, and so from every difference, those of single levels included.
        levels: the levels of the columns; None: numbered from 1.
        alpha: chance of a false alarm, below 0.5. It is approximate: right where many rows carry a's error, exceeded
            where few do (`robmon.robustness.statistics.mean_test.pvalue` has figures).
        tolerance: relative worsening that is tolerated.

    Returns:
        The comparison. Errors that are infinite in b and finite in a are a failure of b: it is worse, with p-value 0.
        A row and level that is infinite in a is left out of both.

    Raises:
        InvalidInputError: shapes differ, fewer than 2 rows, levels not above 0, NaN, alpha or tolerance out of range.

    >>> errors = np.random.default_rng(0).chisquare(4, size=(200, 1))
    >>> noisy = errors * np.random.default_rng(1).gamma(9.0, 1.3 / 9.0, size=(200, 1))
    >>> result = compare_rows(errors, noisy)
    >>> result.worse, round(result.pooled_ratio, 2), round(result.pooled_low, 2)
    (True, 1.24, 1.17)
    >>> compare_rows(errors, 1.5 * errors).worse, compare_rows(errors, errors).worse
    (True, False)
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    columns = first.shape[1] if first.ndim == 2 else 0
    at = np.arange(1.0, columns + 1) if levels is None else np.asarray(levels, dtype=np.float64)
    _check(first, second, at, alpha, tolerance)
    off, pooled_off = _corrections(correction, first.shape)
    limits = np.array([level_ratio(first[:, i], second[:, i], off[:, :, i], alpha) for i in range(columns)])
    pooled = PooledErrors.of(first, second, off, pooled_off)
    is_broken = bool(np.any(np.isinf(second) & ~np.isinf(first)))
    tolerated = (1.0 + tolerance) * (1.0 + ROUNDING)
    chance = 0.0 if is_broken else pvalue(moments(pooled.b - tolerated * pooled.a))
    whole = (math.inf,) * 3 if is_broken else pooled.limits(alpha)
    ratio, ratio_low, ratio_high, delta, delta_low, delta_high = limits.T
    return Comparison(
        levels=at,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        delta=delta,
        delta_low=delta_low,
        delta_high=delta_high,
        error_share=error_shares(second),
        pooled_ratio=whole[0],
        pooled_low=whole[1],
        pooled_high=whole[2],
        pvalue=chance,
        worse=chance < alpha,
        detectable_ratio=pooled.detectable_ratio(tolerated, alpha),
        rows=len(first),
        alpha=alpha,
        tolerance=tolerance,
    )


def _corrections(correction: ArrayLike | None, shape: tuple[int, ...]) -> tuple[Float64, Float64]:
    """What is subtracted from a and b, shape `(2, n, levels)`, and from the sums of b over the levels, `(n,)`."""
    nothing, nothing_pooled = np.zeros((2, *shape)), np.zeros(shape[0])
    if correction is None:
        return nothing, nothing_pooled
    given = np.asarray(correction, dtype=np.float64)
    if given.shape not in (nothing.shape, nothing_pooled.shape) or not np.all(np.isfinite(given)):
        raise InvalidInputError(
            f"a correction must be finite numbers of shape {nothing_pooled.shape} or {nothing.shape}, not {given.shape}"
        )
    return (nothing, given) if given.ndim == 1 else (given, nothing_pooled)


def _check(a: Float64, b: Float64, levels: Float64, alpha: float, tolerance: float) -> None:
    if a.ndim != 2 or a.shape != b.shape or a.shape[1:] != levels.shape:
        raise InvalidInputError(
            f"row errors must both be of shape (rows, {levels.size}) for these levels, not {a.shape} and {b.shape}"
        )
    if len(a) < 2 or levels.size == 0:
        raise InvalidInputError("at least 2 rows and 1 level above 0 are needed to compare")
    if np.isnan(a).any() or np.isnan(b).any() or not np.all(levels > 0):
        raise InvalidInputError("row errors must not be NaN, and levels must be above 0")
    check_judgement(alpha, tolerance)


def check_judgement(alpha: float, tolerance: float) -> None:
    """Refuse what no verdict can be taken by.

    Raises:
        InvalidInputError: alpha does not lie between 0 and 0.5, or tolerance is negative or not finite.
    """
    if not 0 < alpha < 0.5 or not (math.isfinite(tolerance) and tolerance >= 0):
        raise InvalidInputError("alpha must lie between 0 and 0.5, and tolerance be a finite number of at least 0")


def comparable(variance_a: ArrayLike, variance_b: ArrayLike) -> bool:
    """Whether two versions' values are in the same units: no clean variance differs by more than a factor of 10.

    >>> comparable([1.0, 2.0], [2.0, 3.0]), comparable([1.0], [100.0]), comparable([1.0], [1.0, 1.0])
    (True, False, False)
    """
    a, b = (np.asarray(variance, dtype=np.float64).ravel() for variance in (variance_a, variance_b))
    if a.size != b.size:
        return False
    return bool(np.all((a <= OTHER_UNITS * b) & (b <= OTHER_UNITS * a)))
