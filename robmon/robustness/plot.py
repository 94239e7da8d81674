"""The noise robustness curve as a picture that a stranger understands."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from robmon.errors import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from robmon.robustness.assessment import Assessment, CurvePoint
    from robmon.robustness.comparison import Comparison

SIZE_INCHES = (7.5, 5.2)
MEAN, BOUND, BAND, LIMIT, BASELINE = "#1f4e79", "#c55a11", "#fbeee5", "#7f7f7f", "#2e7d32"


def plot_assessment(result: Assessment, baseline: Mapping[float, float] | None = None) -> Figure:
    """Mean, bound, band, baseline, limit and margin against level, and a sentence in plain words under them.

    Args:
        result: what is drawn.
        baseline: mean MSE of the baseline by level, where there is one.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    if result.band is not None:
        axes.fill_between(result.levels, 0, _finite(result.band), color=BAND, lw=0, label="band of the whole curve")
    draw_curve(axes, result)
    if baseline:
        mean = _finite(list(baseline.values()))
        axes.plot(list(baseline), mean, color=BASELINE, ls="-.", label="mean of the baseline")
    _draw_margin(axes, result)
    _finish(figure, axes, sentence(result))
    return figure


def _draw_margin(axes: Axes, result: Assessment) -> None:
    """The owner's limit as a line across, and the largest level that stays under it as a line down."""
    margin = result.noise_margin()
    if margin is None:
        return
    axes.axhline(margin.limit, color=LIMIT, ls=":", label=f"limit {margin.limit:g}")
    if margin.level:
        axes.axvline(margin.level, color=LIMIT, lw=1, label=f"noise margin {margin.level:g}")


def plot_comparison(result: Comparison, name_a: str = "a", name_b: str = "b") -> Figure:
    """Both curves in one picture, with the verdict under it.

    Raises:
        InvalidInputError: the comparison was made from row errors alone, without assessments.
    """
    from matplotlib.figure import Figure

    if result.a is None or result.b is None:
        raise InvalidInputError("a comparison of row errors alone has no curves to draw")
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    draw_curve(axes, result.a, label=name_a, color=MEAN)
    draw_curve(axes, result.b, label=name_b, color=BOUND)
    _finish(figure, axes, verdict(result, name_a, name_b))
    return figure


def verdict(result: Comparison, name_a: str = "a", name_b: str = "b") -> str:
    """The verdict in plain words."""
    probability = f"p = {result.pvalue:.2g}" if result.pvalue >= 1e-4 else "p < 0.0001"
    chance = f"{probability}, {result.rows} rows, tolerance {100 * result.tolerance:g} %"
    if result.worse:
        worst = float(np.max(result.ratio))
        return f"Under noise {name_b} is worse than {name_a}: its error is up to {worst:.3g} times as large ({chance})."
    text = f"Under noise {name_b} is not shown to be worse than {name_a} ({chance})."
    if result.detectable_ratio is not None:
        text += f" Errors {result.detectable_ratio:.3g} times as large would have been found with 90 % power."
    return text


def draw_curve(axes: Axes, result: Assessment, *, label: str = "", color: str = MEAN) -> None:
    """Draw one curve into axes, so that several can share a picture. Points that are infinite are left out and told."""
    levels = np.array(result.levels)
    mean, bound = (_finite([getattr(point, name) for point in result.curve]) for name in ("mean_mse", "bound"))
    name = f"{label}: " if label else ""
    axes.plot(
        levels, bound, color=color if label else BOUND, ls="--", marker="v", ms=5,
        label=f"{name}bound of a further trial ({100 * result.confidence:g} %)",
    )  # fmt: skip
    axes.plot(levels, mean, color=color, marker="o", ms=5, label=f"{name}mean of {result.trials} trials")
    axes.set_xlabel(level_label(result))
    axes.set_ylabel(error_label(result))
    axes.set_title(f"How far outputs move under {result.noise} noise", loc="left")


def _finish(figure: Figure, axes: Axes, text: str) -> None:
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", edgecolor="none", framealpha=0.9)
    figure.supxlabel(textwrap.fill(text.replace(" %", "\N{NO-BREAK SPACE}%"), 105), fontsize=9)


def level_label(result: Assessment) -> str:
    """What the horizontal axis counts, with its unit."""
    return f"noise level ({result.level_unit})"


def error_label(result: Assessment) -> str:
    """What the vertical axis counts, with its unit."""
    against = "clean output" if result.reference == "prediction" else "target"
    if result.output == "label":
        return f"share of classes that differ from the {against}"
    unit = {"value": "output units²", "probability": "probability²", "logit": "logit²"}[result.output]
    return f"mean squared distance from the {against} ({unit})"


def sentence(result: Assessment) -> str:
    """The result in a few sentences, about the highest level whose bound is finite."""
    point = next((point for point in reversed(result.curve) if math.isfinite(point.bound)), None)
    if point is None or point.level == 0:
        return "At every noise level the model returned outputs that are not finite: no bound exists."
    is_absolute = result.level_unit == "input units"
    at = f"noise of {point.level:g} input units" if is_absolute else f"{100 * point.level:g} % noise"
    parts = [_of_requests(result, point, at), _of_trials(result, point, at)]
    slope, margin = result.slope, result.noise_margin()
    if slope is not None and slope.is_straight:
        parts.append(f"The error rises by {slope.value:.3g} per level².")
    if result.index is not None:
        parts.append(f"Robustness index {result.index:.3g} (1: unmoved, 0: as far as another row's output).")
    if margin is not None:
        parts.append(f"Noise margin {margin}.")
    if any(not math.isfinite(other.bound) for other in result.curve):
        parts.append("Levels with outputs that are not finite have no point.")
    return " ".join(part for part in parts if part)


def _of_requests(result: Assessment, point: CurvePoint, at: str) -> str:
    """What one request may expect."""
    if result.output == "label":
        against = "keep their class" if result.reference == "prediction" else "get the true class"
        return f"{100 * (1.0 - point.mean_mse):.3g} % of requests {against} at {at}."
    if point.request_bound is None or not math.isfinite(point.request_bound):
        return ""
    verb = "move by" if result.reference == "prediction" else "are off by"
    return f"{100 * result.confidence:g} % of requests {verb} less than {math.sqrt(point.request_bound):.3g} at {at}."


def _of_trials(result: Assessment, point: CurvePoint, at: str) -> str:
    """What a further trial may bring."""
    what = "changes at most a share of" if result.output == "label" else "has a mean squared error of at most"
    return (
        f"A further trial on these {result.rows} rows at {at} {what} {point.bound:.3g}, "
        f"with {100 * result.confidence:g} % probability."
    )


def _finite(values: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)
