"""What one assessment found: the noise robustness curve, its scalars, and what they were measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness import curve as curves
from robmon.robustness.arrays import Float64
from robmon.robustness.confidence import Common
from robmon.robustness.crossing import Crossing, crossing
from robmon.robustness.curve import Axis, NoiseMargin, Score, Slope
from robmon.robustness.curve_point import CurvePoint
from robmon.robustness.embeddings import EmbeddingRows
from robmon.robustness.false_matches import Threshold
from robmon.robustness.features.features import Features
from robmon.robustness.judged import JudgedTrials
from robmon.robustness.noise.masking import Masked
from robmon.robustness.specification import Specification
from robmon.robustness.statistics.certificate import CertifiedShare, certified_share
from robmon.robustness.statistics.clusters import cluster_means, first_rows
from robmon.robustness.worst import WORST_SHARE, worst_rows
from robmon.vocabulary import OutputKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Assessment:
    """The complete result of one assessment. `print(result)` gives a table, `result.plot()` a picture,
    `result.to_dict()` JSON.

    Attributes:
        curve: one point per level, level 0 first.
        area: 0 where noise changes nothing, 1 where outputs are as unrelated as those of another row; None where an
            output was not finite, no output varies, or all rows have one class.
        index: `1 - area`.
        clean_mse: MSE against the targets without noise; None without targets.
        own_mse: how far the model's outputs move from one pass to the next without noise: 0 unless the model itself is
            random.
        label_ceiling: `(sqrt(clean_mse) + sqrt(U of reference prediction))²` per level, an upper bound of the MSE
            against the targets; None without targets.
        band: upper band per level, valid over the whole curve at once; None where there are too few trials.
        reference: what noisy outputs are compared with: `prediction` (the model's own clean outputs) or `label` (the
            targets).
        specification: what was done; its trials are those that were run.
        noise: name of the noise.
        rows: number of rows assessed: those given, without those that have no finite clean output.
        finite: shape `(n,)`, which of the rows given have a finite clean output. The others are left out: arrays over
            rows hold NaN for them, except `comparison_row_errors`, which holds +Inf.
        row_errors: shape `(n, levels)` over the rows given, mean over trials, in squared output units.
        normalised_row_errors: shape `(n, levels)`, the same divided by twice the output variance, as in the area.
        comparison_row_errors: the same divided by twice `comparison_variance`; None where that was not given, or has
            another number of outputs.
        common: what a comparison of classifiers needs, where one was asked for; else None, and for values and labels.
        trial_row_errors: shape `(n, trials)`, the row errors of each trial at the highest level, against the model's
            own clean outputs; None where they were not asked for.
        judged_trials: what a verdict may say about single trials; None for an assessment that is not compared.
        row_agreement: shape `(n, levels)`, share of its trials in which a row kept its class; None without classes.
        row_accuracy: the same against the targets' classes; also None without targets.
        embedding: for embeddings, what noise does to each row's; None for other outputs.
        clusters: shape `(n,)`, the request that each row came from; each row its own where none were given.
        output: `value`, `probability`, `multilabel`, `logit`, `label` or `embedding`.
        output_variance: shape `(outputs,)`, variance of the clean outputs unless another was given; for labels
            `p (1 - p)` per class.
        clean_variance: the same, always measured on these clean outputs.
        outputs_without_variance: number of outputs left out of area and normalised errors.
        clean_outputs: shape `(n, outputs)` in float64, or `(n,)` labels; embeddings under `cosine` as unit vectors.
        level_unit: what a level counts.
        features: scale and mean of the features, and which values are set apart.
        masked: how much of the inputs was not perturbed, and why.
        cut: in words, how many of the rows and trials a time budget left, and what to raise; empty: all of them.
        notes: sentences on what was deduced, left alone or left out.
        batch_rows: most rows that the model was given at a time.
        out_of_memory_retries: how often memory ran out and batches were halved.
        draws: what drew the noise, `numpy`, or `torch` with device and dtype: elsewhere a seed gives other numbers.
        axis: what slope and area are measured against: `level_squared`, or `level` where no first-order law is known.
        uses_realised_level: whether slopes are against the realised level: rounded integers move by another amount than
            asked.
    """

    curve: tuple[CurvePoint, ...]
    area: float | None
    index: float | None
    clean_mse: float | None
    own_mse: float
    label_ceiling: tuple[float, ...] | None
    band: tuple[float, ...] | None
    reference: Literal["prediction", "label"]
    specification: Specification
    noise: str
    level_unit: str
    features: Features = field(repr=False)
    masked: Masked
    rows: int
    output: OutputKind
    seed: int
    outputs_without_variance: int
    output_variance: Float64 = field(repr=False)
    clean_variance: Float64 = field(repr=False)
    clean_outputs: NDArray[Any] = field(repr=False)
    batch_rows: int
    out_of_memory_retries: int
    draws: str
    row_errors: Float64 = field(repr=False)
    normalised_row_errors: Float64 = field(repr=False)
    comparison_row_errors: Float64 | None = field(repr=False)
    common: Common | None = field(repr=False)
    row_agreement: Float64 | None = field(repr=False)
    row_accuracy: Float64 | None = field(repr=False)
    clusters: NDArray[np.int64] = field(repr=False)
    finite: NDArray[np.bool_] = field(repr=False)
    axis: Axis = "level_squared"
    trial_row_errors: Float64 | None = field(default=None, repr=False)
    judged_trials: JudgedTrials | None = field(default=None, repr=False)
    embedding: EmbeddingRows | None = field(default=None, repr=False)
    cut: str = ""
    notes: tuple[str, ...] = ()
    uses_realised_level: bool = False

    @property
    def levels(self) -> tuple[float, ...]:
        """Noise strengths, rising from 0."""
        return self.specification.levels

    @property
    def trials(self) -> int:
        """Independent draws of the noise for every row."""
        return self.specification.trials

    @property
    def confidence(self) -> float:
        """Stated probability of the bounds."""
        return self.specification.confidence

    @property
    def bound_method(self) -> str:
        """Method of the trial bound."""
        return self.specification.bound

    @property
    def task(self) -> str:
        """`regression`, `classification` or `embedding`."""
        return self.specification.task

    @property
    def distance(self) -> str | None:
        """For embeddings, `l2` or `cosine`; None for other outputs."""
        return None if self.embedding is None else self.specification.distance

    @property
    def threshold(self) -> float | None:
        """For embeddings, the distance beyond which two no longer count as the same thing, as in `beyond_threshold`;
        None for other outputs, and where none is known. The notes say where it comes from.
        """
        return None if self.embedding is None else self.embedding.threshold

    @property
    def decided(self) -> Threshold | None:
        """The threshold and where it comes from, for another noise on these rows."""
        return None if self.embedding is None else Threshold(self.embedding.threshold, self.embedding.threshold_note)

    @property
    def mse_limit(self) -> float | None:
        """The owner's limit for the bound, if any."""
        return self.specification.mse_limit

    @property
    def no_bound(self) -> Literal["deterministic"] | None:
        """Why there is no trial bound; None where there is one."""
        return None if self.specification.is_random else "deterministic"

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which of the rows given count, shape `(n,)`: the finite ones, or all rows of a version under comparison that
        is never finite.
        """
        return self.finite if self.finite.any() else np.ones_like(self.finite)

    @property
    def clean_nonfinite_ratio(self) -> float:
        """Share of the rows given whose clean output is not finite."""
        return 1.0 - float(self.finite.mean())

    @property
    def scale(self) -> Float64:
        """What relative levels are multiples of: float64, broadcasts to one input row; 0 for what is not perturbed."""
        return np.asarray(self.features.scale)

    @property
    def relative(self) -> bool:
        """Whether the scale is in standard deviations of the features rather than input units."""
        return self.features.relative

    @property
    def slope(self) -> Slope | None:
        """The robustness slope of the MSE, against level² (for perturbations of images, against level); see
        `slope_over`.
        """
        return self.slope_over(self.axis)

    @property
    def agreement_slope(self) -> Slope | None:
        """The slope of the agreement against level; also None without classes, see `slope_over`."""
        return self.slope_over("level", "agreement")

    @property
    def accuracy_slope(self) -> Slope | None:
        """The slope of the accuracy against level; also None without classes or targets, see `slope_over`."""
        return self.slope_over("level", "accuracy")

    def slope_over(self, axis: Axis, score: Score = "mse") -> Slope | None:
        """The slope of a score against an axis, through the point at level 0, with its standard error over rows.

        Where several rows came from one request, the standard error is over requests.

        Args:
            axis: `level_squared`, `level`, or `severity`, which numbers the levels 0, 1, 2, ...
            score: `mse`, `agreement` or `accuracy`.

        Returns:
            The slope; None where the score was not measured, an output was not finite, or the change up to the highest
            level is smaller than what the model, being itself random, changes without noise.

        Raises:
            InvalidInputError: no such axis or score.

        >>> import robmon
        >>> inputs = np.random.default_rng(0).normal(size=(200, 2))
        >>> targets = (inputs.sum(axis=1) > 0).astype(int)
        >>> result = robmon.assess(
        ...     lambda x: (x.sum(axis=1) > 0).astype(int), inputs, targets=targets, task="classification"
        ... )
        >>> slope = result.slope_over("severity", score="accuracy")
        >>> slope.axis, -0.06 < slope.value < 0
        ('severity', True)
        """
        measured = self._by_row(score)
        levels = [point.realised_level for point in self.curve] if self.uses_realised_level else self.levels
        farthest = float(curves.axis_values(levels, axis)[-1])
        if measured is None:
            return None
        rows = self.counted
        slope = curves.slope(cluster_means(measured[rows], self.clusters[rows]), levels, score, axis)
        own = self.own_mse if self.row_agreement is None or score == "mse" else 1.0 - self.row_agreement[rows, 0].mean()
        return None if slope is None or abs(slope.value) * farthest < own else slope

    def worst_rows(self, level: float | None = None, share: float = WORST_SHARE) -> NDArray[np.int64]:
        """Indices of the rows with the largest errors at a level, largest first: where the model is fragile.

        Args:
            level: one of `levels`; None: the highest.
            share: of the rows, above 0 and at most 1, rounded up.

        Returns:
            shape `(ceil(share * n),)`, shorter where fewer rows have any error.

        Raises:
            InvalidInputError: no such level, or no such share.

        >>> import robmon
        >>> inputs = np.random.default_rng(0).normal(size=(100, 1))
        >>> inputs[7] = 20.0
        >>> int(robmon.assess(lambda x: x[:, 0] ** 2, inputs).worst_rows()[0])
        7
        """
        rows = np.flatnonzero(self.counted)
        return rows[worst_rows(self.row_errors[rows, self._index(level)], share)]

    def certified_share(self, radii: Sequence[float], level: float | None = None) -> CertifiedShare:
        """The share of rows certified beyond each radius, with its confidence interval over rows.

        Where several rows came from one request only the first counts, since rows of one request are not independent.

        Args:
            radii: in units of the scale, each at least 0; certificates end at
                `level * Phi^-1((1 - confidence)**(1 / trials))`.
            level: one of `levels`, each of which has its own certificates; None: the highest.

        Raises:
            InvalidInputError: no such level, impossible radii, or there are no certificates.

        >>> import robmon
        >>> inputs = np.random.default_rng(0).normal(size=(200, 2))
        >>> result = robmon.assess(lambda x: (x[:, 0] > 0).astype(int), inputs, task="classification", trials=99)
        >>> certified = result.certified_share([0.0, 0.5])
        >>> bool(certified.lower[1] < certified.share[1] < certified.upper[1] < certified.share[0])
        True
        """
        point = self.curve[self._index(level)]
        if point.certified_radius is None:
            raise InvalidInputError("there are no certified radii: they need a classification under gaussian noise")
        rows = self.counted
        radius = point.certified_radius[rows][first_rows(self.clusters[rows])]
        return certified_share(radius, radii, point.level, self.confidence)

    def _by_row(self, score: Score) -> Float64 | None:
        """A score of the rows given, shape `(n, levels)`; None where it was not measured."""
        values = {"mse": self.row_errors, "agreement": self.row_agreement, "accuracy": self.row_accuracy}
        if score not in values:
            raise InvalidInputError(f"score {score!r} is not known: it is one of {', '.join(values)}")
        return None if score == "agreement" and self.curve[0].agreement is None else values[score]

    def _index(self, level: float | None) -> int:
        if level is None:
            return len(self.levels) - 1
        if level not in self.levels:
            known = ", ".join(f"{each:g}" for each in self.levels)
            raise InvalidInputError(f"level {level!r} was not assessed: it is one of {known}")
        return self.levels.index(level)

    def noise_margin(self, limit: float | None = None) -> NoiseMargin | None:
        """The largest level assessed up to which the bound stays at or below `limit` (default: `mse_limit`).

        `str()` of it is a plain answer. None where no limit is given or set, or there is no bound.

        >>> import robmon
        >>> inputs = np.random.default_rng(0).normal(size=(100, 1))
        >>> result = robmon.assess(lambda x: x[:, 0], inputs, levels=(0.1, 0.2), scale=1.0)
        >>> print(result.noise_margin(limit=0.02), "/", result.noise_margin(limit=1.0))
        0.1: the bound first exceeds 0.02 at level 0.2 / not crossed up to the highest level assessed, 0.2
        """
        limit = self.mse_limit if limit is None else limit
        bounds = [point.bound for point in self.curve if point.bound is not None]
        if limit is None or not bounds:
            return None
        return curves.noise_margin(bounds, self.levels, limit)

    def crossing(
        self, limit: float | None = None, score: Score = "mse", confidence: float | None = None
    ) -> Crossing | None:
        """The level at which the mean score crosses the owner's limit, with an interval over rows (requests).

        Where `noise_margin` is about a bound at the levels assessed, this is about the mean, also between levels, over
        the distribution that the rows were drawn from. See `robmon.robustness.crossing`.

        Args:
            limit: what an MSE is to stay under, or what agreement or accuracy, a share, is not to fall below. None: the
                owner's, `mse_limit`, `agreement_limit` or `accuracy_limit`.
            score: `mse`, `agreement` or `accuracy`.
            confidence: of the interval; None: that of the bounds.

        Returns:
            The crossing; None where no limit is given or set, or the score was not measured.

        Raises:
            InvalidInputError: no such score, limit or confidence.

        >>> import robmon
        >>> inputs = np.random.default_rng(0).normal(size=(100, 1))
        >>> result = robmon.assess(lambda x: x[:, 0], inputs, levels=(0.1, 0.2), scale=1.0)
        >>> print(result.crossing(limit=0.0225), "/", result.crossing(limit=1.0))
        0.15 (95 % interval 0.147 to 0.153) / beyond 0.2, the highest level assessed, with 95 % confidence
        """
        measured = self._by_row(score)
        limit = self.specification.limit_of(score) if limit is None else limit
        if limit is None or measured is None:
            return None
        rows = self.counted
        means = cluster_means(measured[rows], self.clusters[rows])
        return crossing(means, self.levels, limit, score, self.confidence if confidence is None else confidence)

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """For each score that the owner has limited and that was measured, the level at which it crosses the limit."""
        found = (self.crossing(score=score) for score in get_args(Score))
        return tuple(each for each in found if each is not None)

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON: numbers, text, lists; infinite is "+Inf", absent is None. It holds nothing about
        single rows.
        """
        from robmon.report.assessment_json import assessment_json

        return assessment_json(self)

    def plot(self, baseline: Mapping[float, float] | None = None) -> Figure:
        """The curve as a matplotlib figure: mean, bound, band, limit and margin, with a summary in plain words.

        Needs matplotlib (`pip install "robmon[plot]"`).

        Args:
            baseline: mean MSE by level of an earlier assessment, drawn for comparison.
        """
        from robmon.report.plot import plot_assessment

        return plot_assessment(self, baseline)

    def __str__(self) -> str:
        from robmon.report.assessment import text

        return text(self)
