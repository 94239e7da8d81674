"""Is one version worse under noise than another? Rows are the sampling unit, never the trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable
from robmon.robustness.mean_test import is_above_zero, joint_moments, lower_limit, moments, power, pvalue

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robmon.robustness.result import Assessment

POWER = 0.9
OTHER_UNITS = 10.0
"""Clean variances that differ by more than this factor are those of outputs in other units."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Version b against version a, on the same rows and noise.

    Errors are normalised as the robustness area is: squared changes over twice the variance of *a's* clean outputs, so
    that 1 is an output as unrelated to its clean one as another row's. All intervals have confidence `1 - 2 alpha`,
    level by level: with one level alone, b is worse exactly where `ratio_low` exceeds `1 + tolerance`.

    Attributes:
        levels: shape `(levels,)`, all above 0.
        ratio: shape `(levels,)`, noise MSE of b over that of a; +Inf where b's is infinite, or only a's is 0.
        ratio_low, ratio_high: its confidence limits, from 0 to +Inf.
        delta: shape `(levels,)`, normalised noise MSE of b less that of a.
        delta_low, delta_high: its confidence limits.
        pvalue: of the hypothesis that b's noise MSE is at most `(1 + tolerance)` times a's, over all levels.
        worse: `pvalue < alpha`.
        detectable_ratio: the smallest ratio, at all levels, that a sample like this shows with 90 % power; +Inf where
            it shows none, however large; None where a or b has no error.
        rows, alpha, tolerance: as used.
        a, b: both assessments, where the comparison was made from such.
    """

    levels: Float64
    ratio: Float64
    ratio_low: Float64
    ratio_high: Float64
    delta: Float64
    delta_low: Float64
    delta_high: Float64
    pvalue: float
    worse: bool
    detectable_ratio: float | None
    rows: int
    alpha: float
    tolerance: float
    a: Assessment | None = None
    b: Assessment | None = None

    @property
    def confidence(self) -> float:
        """Of the intervals."""
        return 1.0 - 2.0 * self.alpha

    def verdict(self, name_a: str = "a", name_b: str = "b") -> str:
        """The verdict in plain words; where nothing was found, also what could have been."""
        probability = f"p = {self.pvalue:.2g}" if self.pvalue >= 1e-6 else "p < 0.000001"
        chance = f"{probability}, {self.rows} rows"
        beyond = f" by more than the tolerated {100 * self.tolerance:g} %" if self.tolerance else ""
        if self.worse:
            return f"Under noise {name_b} is worse than {name_a}{beyond}: {self._size(name_a)} ({chance})."
        text = f"Under noise {name_b} is not shown to be worse than {name_a}{beyond} ({chance})."
        if self.detectable_ratio is None:
            return text
        if not math.isfinite(self.detectable_ratio):
            return f"{text} That says little: so few rows show no worsening with 90 % power, however large."
        if self.detectable_ratio < 1.001 * (1.0 + self.tolerance):
            return (
                f"{text} Their errors are in nearly the same proportion on every row, so that almost any "
                f"worsening{beyond} is found with 90 % power."
            )
        return (
            f"{text} That is not proof that they are equal: only errors at least {self.detectable_ratio:.3g} times as "
            "large are found with 90 % power."
        )

    def _size(self, name_a: str) -> str:
        if np.any(self.delta == math.inf):
            return "its outputs are not all finite"
        if np.any(self.ratio == math.inf):
            return f"it has errors where {name_a} has none"
        return f"its error is up to {float(np.max(self.ratio)):.4g} times as large"

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON has it; infinite is "+Inf"."""
        own = {key: value for key, value in vars(self).items() if key not in ("a", "b")}
        assessments = {key: None if each is None else each.to_dict() for key, each in (("a", self.a), ("b", self.b))}
        return jsonable(own | {"confidence": self.confidence} | assessments)  # type: ignore[no-any-return]

    def plot(self, name_a: str = "a", name_b: str = "b") -> Figure:
        """Both curves in one matplotlib figure. Needs both assessments."""
        from robmon.robustness.plot import plot_comparison

        return plot_comparison(self, name_a, name_b)

    def describe(self, name_a: str = "a", name_b: str = "b") -> str:
        """A table of the levels, and the verdict."""
        sure = f"{100 * self.confidence:g} % interval"
        lines = [f"{'level':>8}  {'MSE ratio':>10}  {sure:>22}  {'difference':>12}  {sure:>26}"]
        columns = self.levels, self.ratio, self.ratio_low, self.ratio_high, self.delta, self.delta_low, self.delta_high
        for numbers in zip(*columns, strict=True):
            level, ratio, ratio_low, ratio_high, delta, delta_low, delta_high = (f"{number:.4g}" for number in numbers)
            ratios, deltas = f"{ratio_low} to {ratio_high}", f"{delta_low} to {delta_high}"
            lines.append(f"{level:>8}  {ratio:>10}  {ratios:>22}  {delta:>12}  {deltas:>26}")
        if self.a is not None:
            lines.append(f"The difference is in units of twice the variance of the clean outputs of {name_a}.")
        return "\n".join([*lines, self.verdict(name_a, name_b)])

    def __str__(self) -> str:
        return self.describe()

    def __repr__(self) -> str:
        ratios = ", ".join(f"{level:g}: {ratio:.4g}" for level, ratio in zip(self.levels, self.ratio, strict=True))
        return f"<Comparison worse={self.worse} pvalue={self.pvalue:.3g} rows={self.rows} ratio by level {{{ratios}}}>"


def compare_rows(
    a: ArrayLike, b: ArrayLike, *, levels: Sequence[float] | None = None, alpha: float = 0.01, tolerance: float = 0.0
) -> Comparison:
    """Compare two versions by their row errors on the same rows under the same noise.

    Each row gives one difference `b - (1 + tolerance) a`, summed over levels with weights `1 / (mean a + mean b)`, so
    that every level counts alike. A one-sided t-test over rows, corrected for skewness (Hall 1992, see
    `robmon.robustness.mean_test`), decides. The limits of the ratio are those which the same test does not reject, as
    in Fieller (1954, J. R. Statist. Soc. B 16, 175-185). The detectable ratio r is the smallest with which b's errors,
    scaled so that their means are r times a's, would be found with 90 % power: so it stays the same when b gets worse
    as a whole.

    Args:
        a, b: shape `(n, levels)`, row errors averaged over the same trials, each output divided by the *reference*
            version's clean variance; only levels above 0.
        levels: the levels of the columns; None: they are numbered from 1.
        alpha: chance of a false alarm, below 0.5. It is approximate: true where many rows carry a's error, and exceeded
            where few do (`robmon.robustness.mean_test.pvalue` has figures).
        tolerance: relative worsening that is tolerated.

    Errors that are infinite in b and finite in a are a failure of b: it is worse, at p-value 0. Where both are infinite
    nothing is compared.

    Raises:
        InvalidInputError: shapes differ, fewer than 2 rows, levels not above 0, NaN, alpha or tolerance out of range.

    >>> errors = np.random.default_rng(0).chisquare(4, size=(200, 1))
    >>> noisy = errors * np.random.default_rng(1).gamma(9.0, 1.3 / 9.0, size=(200, 1))
    >>> result = compare_rows(errors, noisy)
    >>> result.worse, result.ratio.round(2).tolist(), result.ratio_low.round(2).tolist()
    (True, [1.24], [1.17])
    >>> compare_rows(errors, 1.5 * errors).worse, compare_rows(errors, errors).worse
    (True, False)
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    columns = first.shape[1] if first.ndim == 2 else 0
    at = np.arange(1.0, columns + 1) if levels is None else np.asarray(levels, dtype=np.float64)
    _check(first, second, at, alpha, tolerance)
    limits = np.array([_one_level(first[:, i], second[:, i], alpha) for i in range(columns)])
    rows = _UsableRows.of(first, second)
    is_broken = np.any(np.isinf(second) & ~np.isinf(first))
    chance = 0.0 if is_broken else pvalue(moments(rows.difference(1.0 + tolerance)))
    ratio, ratio_low, ratio_high, delta, delta_low, delta_high = limits.T
    return Comparison(
        levels=at,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        delta=delta,
        delta_low=delta_low,
        delta_high=delta_high,
        pvalue=chance,
        worse=chance < alpha,
        detectable_ratio=rows.detectable_ratio(1.0 + tolerance, alpha),
        rows=len(first),
        alpha=alpha,
        tolerance=tolerance,
    )


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


@dataclass(frozen=True)
class _UsableRows:
    """Errors at all levels, each level in units of its largest one, with 0 where a row cannot be compared."""

    a: Float64
    b: Float64
    mean_a: Float64
    mean_b: Float64

    @classmethod
    def of(cls, a: Float64, b: Float64) -> _UsableRows:
        usable = np.isfinite(a) & np.isfinite(b)
        a, b = np.where(usable, a, 0.0), np.where(usable, b, 0.0)
        size, count = _safe(np.maximum(a.max(axis=0), b.max(axis=0))), np.maximum(usable.sum(axis=0), 1)
        a, b = a / size, b / size
        return cls(a, b, a.sum(axis=0) / count, b.sum(axis=0) / count)

    def difference(self, tolerated: float) -> Float64:
        """One number a row: `b - tolerated a` over all levels, which count alike."""
        return np.asarray((self.b - tolerated * self.a) @ (1.0 / _safe(self.mean_a + self.mean_b)))

    def detectable_ratio(self, tolerated: float, alpha: float) -> float | None:
        known = (self.mean_a > 0) & (self.mean_b > 0)
        if not known.any():
            return None
        a, b = (each[:, known] / mean[known] for each, mean in ((self.a, self.mean_a), (self.b, self.mean_b)))
        a, b = a.sum(axis=1), b.sum(axis=1)
        # With b scaled to the ratio r, what is tested is b - tolerated / r a, but for a factor: q is 1 - tolerated / r.
        joint = joint_moments(b - a, a)
        q = _smallest(lambda q: power(joint.at(q), alpha) >= POWER)
        return tolerated / (1.0 - q) if q < 1.0 else math.inf


def _one_level(a: Float64, b: Float64, alpha: float) -> tuple[float, ...]:
    """Ratio, difference, and their limits, in the order of `Comparison`, from one column of each version."""
    lost_a, lost_b = np.isinf(a), np.isinf(b)
    if np.any(lost_b & ~lost_a):
        return (math.inf,) * 6
    if np.any(lost_a & ~lost_b):
        return (0.0,) * 3 + (-math.inf,) * 3
    a, b = a[~lost_a], b[~lost_b]
    if len(a) < 2:
        return 1.0, 0.0, math.inf, 0.0, -math.inf, math.inf
    size = float(_safe(np.maximum(a.max(), b.max())))
    a, b = a / size, b / size
    difference = moments(b - a)
    return (
        _ratio(float(b.mean()), float(a.mean())),
        _lower_ratio(a, b, alpha),
        _ratio(1.0, _lower_ratio(b, a, alpha)),
        size * difference.mean,
        size * lower_limit(difference, alpha),
        -size * lower_limit(difference.mirrored, alpha),
    )


def _lower_ratio(a: Float64, b: Float64, alpha: float) -> float:
    """Lower limit of mean b over mean a: the largest r for which the test finds `b - r a` above 0."""
    mean_a, mean_b = float(a.mean()), float(b.mean())
    if mean_a == 0 or mean_b == 0 or not math.isfinite(mean_b / mean_a):
        return math.inf if is_above_zero(moments(b), alpha) else 0.0
    a = a / mean_a
    joint = joint_moments(b / mean_b - a, a)
    return mean_b / mean_a * (1.0 - _smallest(lambda q: is_above_zero(joint.at(q), alpha)))


def _smallest(holds: Callable[[float], bool]) -> float:
    """The smallest q in [0, 1] from which on something holds, by bisection; 1 where it does not at 1 either."""
    if not holds(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _ratio(new: float, reference: float) -> float:
    """New over reference; 1 where both are 0 and +Inf where only the reference is."""
    if reference == 0:
        return math.inf if new > 0 else 1.0
    return new / reference


def _safe(sizes: ArrayLike) -> Float64:
    """Sizes to divide by: 1 instead of 0."""
    return np.where(np.asarray(sizes) > 0, sizes, 1.0)


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
