"""The noise robustness curve as a picture that a stranger understands."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from robmon.errors import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from robmon.robustness.comparison import Comparison
    from robmon.robustness.result import Assessment

SIZE_INCHES = (7.5, 5.2)
MEAN, BOUND, BAND, LIMIT = "#1f4e79", "#c55a11", "#f4d9c6", "#7f7f7f"


def plot_assessment(result: Assessment) -> Figure:
    """Mean, bound, band and limit against level, units on both axes, a sentence in plain words under them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    draw_curve(axes, result)
    _finish(figure, axes, sentence(result))
    return figure


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
    if result.band is not None and not label:
        axes.fill_between(levels, 0, _finite(result.band), color=BAND, lw=0, label="band of the whole curve")
    axes.plot(
        levels, bound, color=color if label else BOUND, ls="--", marker="v", ms=5,
        label=f"{name}bound of a further trial ({100 * result.confidence:g} %)",
    )  # fmt: skip
    axes.plot(levels, mean, color=color, marker="o", ms=5, label=f"{name}mean of {result.trials} trials")
    if result.mse_limit is not None and not label:
        axes.axhline(result.mse_limit, color=LIMIT, ls=":", label="limit")
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
    """The result in one or two sentences, about the highest level whose bound is finite."""
    point = next((point for point in reversed(result.curve) if math.isfinite(point.bound)), None)
    if point is None or point.level == 0:
        return "At every noise level the model returned outputs that are not finite: no bound exists."
    is_absolute = result.level_unit == "input units"
    at = f"noise of {point.level:g} input units" if is_absolute else f"{100 * point.level:g} % noise"
    sure = f"{100 * result.confidence:g} %"
    what = "changes a share of classes" if result.output == "label" else "has a mean squared error"
    text = f"At {at}, a further trial on these {result.rows} rows {what} of at most {point.bound:.3g} ({sure} sure)"
    if result.output == "label":
        text += "."
    elif point.request_bound is not None and math.isfinite(point.request_bound):
        verb = "move by" if result.reference == "prediction" else "are off by"
        text += f"; {sure} of requests {verb} less than {math.sqrt(point.request_bound):.3g}."
    else:
        text += "."
    if any(not math.isfinite(other.bound) for other in result.curve):
        text += " Levels with outputs that are not finite have no point."
    return text


def _finite(values: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)
