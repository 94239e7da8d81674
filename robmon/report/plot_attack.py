"""What attacks left of the agreement, as a picture that a stranger understands."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from robmon.report.attack import HIDES, distances, opening
from robmon.report.plot import BOUND, MEAN, SIZE_INCHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robmon.robustness.probes.attack.result import Attack

MARKERS = "sv^D<>p*"


def plot_attack(result: Attack) -> Figure:
    """Agreement against radius, each attack's and the worst, the accuracy where labels are known, and a sentence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    radii = np.concatenate([[0.0], result.radii])
    if len(result.by_attack) > 1:
        for (name, share), marker in zip(result.by_attack.items(), MARKERS, strict=False):
            axes.plot(radii, np.concatenate([[1.0], share]), lw=1, ls="--", marker=marker, ms=4, label=name)
    worst = "worst of all" if len(result.by_attack) > 1 else next(iter(result.by_attack))
    axes.plot(radii, np.concatenate([[1.0], result.agreement]), color=MEAN, lw=2.5, marker="o", ms=6, label=worst)
    if result.accuracy is not None:
        axes.plot(result.radii, result.accuracy, color=BOUND, lw=2.5, marker="o", ms=6, label="accuracy, worst of all")
    of = "largest move of a cell" if result.norm == "inf" else "length of a row's move"
    axes.set_xlabel(f"radius: {of} ({result.unit})")
    axes.set_ylabel("share of the rows, at most")
    axes.set_title("How many rows keep their class where the worst is looked for", loc="left")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", edgecolor="none", framealpha=0.9)
    sentences = [opening(result), distances(result), HIDES if result.masked else ""]
    said = " ".join(filter(None, sentences)).replace(" %", "\N{NO-BREAK SPACE}%")
    figure.supxlabel(textwrap.fill(said, 105), fontsize=9)
    return figure
