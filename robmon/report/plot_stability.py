"""Scores under noise of a model, of a control and of a stabilised candidate, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robmon.report.plot import BASELINE, BOUND, LIMIT, MEAN, SIZE_INCHES, finish
from robmon.report.stability import MODELS, Report, score_name, verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = {"before": (MEAN, "-", "o"), "control": (LIMIT, ":", "s"), "after": (BOUND, "-", "v")}


def plot_stability(report: Report) -> Figure:
    """Scores against level, the level that was trained at, and the verdict under them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    for name, label in MODELS.items():
        color, line, marker = LOOKS[name]
        axes.plot(report["levels"], report["scores"][name], color=color, ls=line, marker=marker, ms=5, label=label)
    axes.axvline(report["sigma"], color=BASELINE, lw=1, ls="--", label=f"trained at {report['sigma']:g}")
    axes.set_xlabel(f"noise level ({report['level_unit']})")
    axes.set_ylabel(score_name(report))
    axes.set_title(f"Stability training under {report['noise']} noise", loc="left")
    finish(figure, axes, verdict(report), legend="lower left", bottom=None)
    return figure
