"""What one assessment found: the noise robustness curve, its scalars, and what they were measured on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from robmon.robustness import curve as curves
from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable
from robmon.robustness.outputs import OutputKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """The noise robustness curve at one level. MSEs are in squared output units; for labels, shares of flips.

    Attributes:
        level: noise strength.
        mean_mse: mean trial MSE; +Inf where an output was not finite, as are the bounds.
        bound: U; a further trial on the same rows stays under it with the stated confidence.
        request_bound: V; the row error of a further prediction stays under it with that confidence. None: too few rows.
        mean_bound: the expected row error over inputs and noise lies under it with that confidence. None where no
            maximum of the row error is known (only labels and probabilities have one).
        trial_mse: shape `(T,)`.
        agreement: share of unchanged classes over all trials; None for a regression.
        nonfinite_outputs: rows whose output was not finite, over all trials.
    """

    level: float
    mean_mse: float
    bound: float
    request_bound: float | None
    mean_bound: float | None
    trial_mse: Float64
    agreement: float | None
    nonfinite_outputs: int


@dataclass(frozen=True, eq=False)
class Assessment:
    """One complete result.

    Attributes:
        curve: one point a level, level 0 first.
        slope: MSE against level squared; None where an output was not finite, or the rise drowns in the model's own
            randomness at level 0.
        agreement_slope: agreement against level; None for a regression, or as `slope`.
        area: 0 is untouched, 1 is as unrelated as another row's output; None where an output was not finite, or no
            output varies.
        index: `1 - area`.
        clean_mse: MSE against the targets without noise; None without targets.
        label_ceiling: `(sqrt(clean_mse) + sqrt(U of reference prediction))²` per level; None without targets.
        band: upper band per level, over the whole curve at once; None where trials are too few.
        reference: what noisy outputs are compared with, `prediction` or `label` (the targets).
        row_errors: shape `(n, levels)`, mean over trials, in squared output units.
        normalised_row_errors: shape `(n, levels)`, over twice the output variance, as the area has it.
        comparison_row_errors: the same over twice `comparison_variance`; None where that was not given.
        output: `value`, `probability`, `logit` or `label`.
        output_variance: shape `(outputs,)`, of the clean outputs unless given; of labels `p (1 - p)` per class.
        clean_variance: the same, always measured on these clean outputs.
        outputs_without_variance: outputs left out of area and normalised errors.
        clean_outputs: shape `(n, outputs)` in float64, or `(n,)` labels.
        scale: float64, broadcasts to one input row; what levels multiply.
        relative: whether levels are multiples of features' standard deviations, or in input units.
        mse_limit: the owner's limit of the bound, if any.
    """

    curve: tuple[CurvePoint, ...]
    slope: curves.Slope | None
    agreement_slope: curves.Slope | None
    area: float | None
    index: float | None
    clean_mse: float | None
    label_ceiling: tuple[float, ...] | None
    band: tuple[float, ...] | None
    reference: Literal["prediction", "label"]
    noise: str
    levels: tuple[float, ...]
    scale: Float64 = field(repr=False)
    relative: bool
    trials: int
    rows: int
    confidence: float
    bound_method: str
    task: str
    output: OutputKind
    seed: int
    mse_limit: float | None
    outputs_without_variance: int
    output_variance: Float64 = field(repr=False)
    clean_variance: Float64 = field(repr=False)
    clean_outputs: NDArray[Any] = field(repr=False)
    row_errors: Float64 = field(repr=False)
    normalised_row_errors: Float64 = field(repr=False)
    comparison_row_errors: Float64 | None = field(repr=False)

    def noise_margin(self, limit: float | None = None) -> float | None:
        """The largest level assessed up to which the bound stays at or under `limit` (default: `mse_limit`).

        None where even the bound at level 0 exceeds the limit, or no limit is set.
        """
        limit = self.mse_limit if limit is None else limit
        if limit is None:
            return None
        return curves.noise_margin([point.bound for point in self.curve], self.levels, limit)

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON has it: numbers, text, lists; infinite is "+Inf", absent is None.

        Nothing that belongs to single rows is in it.
        """
        result = {
            "noise": self.noise,
            "levels": list(self.levels),
            "scale": self.scale.ravel(),
            "relative": self.relative,
            "rows": self.rows,
            "trials": self.trials,
            "confidence": self.confidence,
            "bound_method": self.bound_method,
            "task": self.task,
            "output": self.output,
            "reference": self.reference,
            "seed": self.seed,
            "curve": [vars(point) for point in self.curve],
            "slope": self.slope and vars(self.slope),
            "agreement_slope": self.agreement_slope and vars(self.agreement_slope),
            "area": self.area,
            "index": self.index,
            "clean_mse": self.clean_mse,
            "label_ceiling": self.label_ceiling,
            "band": self.band,
            "mse_limit": self.mse_limit,
            "noise_margin": self.noise_margin(),
            "output_variance": self.output_variance,
            "outputs_without_variance": self.outputs_without_variance,
        }
        return {key: jsonable(value) for key, value in result.items()}

    def plot(self) -> Figure:
        """The curve as a matplotlib figure: mean, bound, band and limit against level, and a sentence in plain words.

        Needs matplotlib (`pip install "robmon[plot]"`).
        """
        from robmon.robustness.plot import plot_assessment

        return plot_assessment(self)

    def __str__(self) -> str:
        head = (
            f"{self.rows} rows, {self.trials} trials of {self.noise} noise, output {self.output}, "
            f"reference {self.reference}, confidence {self.confidence:g}"
        )
        lines = [head, f"{'level':>8} {'mean MSE':>12} {'bound':>12} {'request':>12} {'agreement':>10}"]
        lines += [
            f"{point.level:>8g} {point.mean_mse:>12.5g} {point.bound:>12.5g} "
            f"{_text(point.request_bound):>12} {_text(point.agreement):>10}"
            for point in self.curve
        ]
        slope = self.slope.value if self.slope else None
        return "\n".join([*lines, f"slope {_text(slope)}, area {_text(self.area)}, index {_text(self.index)}"])


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"
