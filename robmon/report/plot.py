"""The noise robustness curve as a picture that a stranger understands."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from robmon.errors import InvalidInputError
from robmon.report.assessment import explanation, opening
from robmon.report.comparison import verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from robmon.robustness.comparison import Comparison
    from robmon.robustness.result import Assessment

SIZE_INCHES = (7.5, 5.2)
WIDE_INCHES = (12.0, 5.2)
MEAN, BOUND, BAND, LIMIT, BASELINE = "#1f4e79", "#c55a11", "#fbeee5", "#7f7f7f", "#2e7d32"


def plot_assessment(result: Assessment, baseline: Mapping[float, float] | None = None) -> Figure:
    """Mean, bound, band, baseline, limit and margin against level, and a sentence in plain words under them.

    Args:
        result: what is drawn.
        baseline: mean MSE of the baseline by level, where there is one.
    """
    from matplotlib.figure import Figure

    is_embedding = result.embedding is not None
    figure = Figure(figsize=WIDE_INCHES if is_embedding else SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot(1, 2, 1) if is_embedding else figure.add_subplot()
    if is_embedding:
        _draw_shares(figure.add_subplot(1, 2, 2), result)
    if result.band is not None:
        axes.fill_between(
            result.levels,
            0,
            _finite(result.band),
            color=BAND,
            lw=0,
            label=f"band of a whole further curve ({100 * result.confidence:g} %)",
        )
    draw_curve(axes, result)
    if baseline:
        mean = _finite(list(baseline.values()))
        axes.plot(list(baseline), mean, color=BASELINE, ls="-.", label="mean of the baseline")
    _draw_margin(axes, result)
    finish(figure, axes, f"{opening(result)} {explanation(result)}")
    return figure


def _draw_shares(axes: Axes, result: Assessment) -> None:
    """What decides of embeddings, each a share that rises with noise."""
    near = [None if point.self_nearest is None else 1.0 - point.self_nearest for point in result.curve]
    at = "" if result.threshold is None else f", {result.threshold:.3g}"
    shares = {
        f"requests moved beyond the threshold{at}": ([point.beyond_threshold for point in result.curve], MEAN, "o"),
        "requests no longer the nearest to themselves": (near, BOUND, "v"),
        "triplets in another order": ([point.triplet_flips for point in result.curve], BASELINE, "s"),
    }
    for label, (values, color, marker) in shares.items():
        if values[0] is not None:
            axes.plot(result.levels, _finite(values), color=color, marker=marker, ms=5, label=label)
    axes.set_xlabel(level_label(result))
    axes.set_ylabel("share")
    axes.set_title("What of it decides", loc="left")
    _dress(axes)
    axes.set_ylim(0, 1.02)


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
    if result.score == "triplets":
        _draw_triplets(axes, result.a, label=name_a, color=MEAN)
        _draw_triplets(axes, result.b, label=name_b, color=BOUND)
    else:
        draw_curve(axes, result.a, label=name_a, color=MEAN)
        draw_curve(axes, result.b, label=name_b, color=BOUND)
    finish(figure, axes, verdict(result, name_a, name_b))
    return figure


def _draw_triplets(axes: Axes, result: Assessment, *, label: str, color: str) -> None:
    """The share of triplets in another order: distances of two versions have no unit in common."""
    shares = _finite([point.triplet_flips for point in result.curve])
    axes.plot(result.levels, shares, color=color, marker="o", ms=5, label=f"{label}: mean of {result.trials} trials")
    axes.set_xlabel(level_label(result))
    axes.set_ylabel("share of triplets in another order")
    axes.set_title(f"Which of two is nearer, under {result.noise} noise", loc="left")


def draw_curve(axes: Axes, result: Assessment, *, label: str = "", color: str = MEAN) -> None:
    """Draw one curve into axes, so that several can share a picture. Points that are infinite are left out and told."""
    levels = np.array(result.levels)
    mean, bound = (_finite([getattr(point, name) for point in result.curve]) for name in ("mean_mse", "bound"))
    name = f"{label}: " if label else ""
    if not np.isnan(bound).all():
        axes.plot(
            levels, bound, color=color if label else BOUND, ls="--", marker="v", ms=5,
            label=f"{name}bound of a further trial ({100 * result.confidence:g} %)",
        )  # fmt: skip
    axes.plot(levels, mean, color=color, marker="o", ms=5, label=f"{name}mean of {result.trials} trials")
    axes.set_xlabel(level_label(result))
    axes.set_ylabel(error_label(result))
    how = "move" if result.reference == "prediction" else "are off"
    axes.set_title(f"How far outputs {how} under {result.noise} noise", loc="left")


def finish(
    figure: Figure,
    axes: Axes,
    text: str,
    *,
    legend: Literal["upper left", "lower left"] = "upper left",
    bottom: float | None = 0,
) -> None:
    """Limits, grid and legend of a picture, and the text under it; the vertical axis begins where `bottom` says."""
    _dress(axes, legend, bottom)
    width = round(14 * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(text.replace(" %", "\N{NO-BREAK SPACE}%"), width), fontsize=9)


def _dress(axes: Axes, legend: Literal["upper left", "lower left"] = "upper left", bottom: float | None = 0) -> None:
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=bottom)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc=legend, edgecolor="none", framealpha=0.9)


def level_label(result: Assessment) -> str:
    """What the horizontal axis counts, with its unit."""
    return f"noise level ({result.level_unit})"


def error_label(result: Assessment) -> str:
    """What the vertical axis counts, with its unit."""
    against = "clean output" if result.reference == "prediction" else "target"
    if result.output == "label":
        return f"share of classes that differ from the {against}"
    if result.distance is not None:
        return (
            f"mean {'distance (1 - cosine)' if result.distance == 'cosine' else 'squared distance'} from the {against}"
        )
    unit = {"value": "output units²", "probability": "probability²", "multilabel": "probability²", "logit": "logit²"}[
        result.output
    ]
    return f"mean squared distance from the {against} ({unit})"


def _finite(values: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)
