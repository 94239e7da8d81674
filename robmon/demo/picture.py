"""Both versions' published curves in one picture that a stranger understands."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robmon.demo.scrape import Disturbances, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BEFORE, AFTER = "#1f4e79", "#c55a11"
NAMES = ("version 1, trained with noise", "version 2, trained without")


def draw(
    before: Sequence[Point],
    after: Sequence[Point],
    sentence: str,
    file: Path,
    further: tuple[Disturbances, Disturbances] = ({}, {}),
) -> None:
    """Error and agreement against the noise level, and a sentence in plain words under them, as a PNG.

    Args:
        before, after: curves of both versions.
        sentence: goes under them.
        file: the PNG.
        further: what further noises do to both versions; where there are any, in a third panel.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14.5 if further[0] else 10.5, 6.0), layout="constrained")
    errors, agreements, *others = figure.subplots(1, 3 if further[0] else 2)
    for points, name, color in zip((before, after), NAMES, (BEFORE, AFTER), strict=True):
        levels = [point.level for point in points]
        errors.plot(levels, [point.mse for point in points], color=color, marker="o", label=f"{name}: mean")
        errors.plot(
            levels, [point.bound for point in points], color=color, ls="--", marker="v", label=f"{name}: 95 % bound"
        )
        agreements.plot(levels, [100 * point.agreement for point in points], color=color, marker="o", label=name)
    errors.set_title("How far the outputs move", loc="left")
    errors.set_ylabel("mean squared distance from the clean output (probability²)")
    errors.set_ylim(bottom=0)
    errors.legend(loc="upper left", edgecolor="none")
    agreements.set_title("How many answers stay the same", loc="left")
    agreements.set_ylabel("digits whose predicted class is unchanged (%)")
    agreements.set_ylim(top=100.5)
    agreements.legend(loc="lower left", edgecolor="none")
    for axes in (errors, agreements):
        _finish(axes)
    for axes in others:
        _draw_bars(axes, further)
    figure.suptitle("Two versions of a digit classifier under Gaussian input noise", x=0.01, ha="left", weight="bold")
    figure.supxlabel(textwrap.fill(sentence.replace(" %", "\N{NO-BREAK SPACE}%"), 130), fontsize=10)
    figure.savefig(file, dpi=150, format="png")


def _draw_bars(axes: Axes, further: tuple[Disturbances, Disturbances]) -> None:
    """How many answers stay the same under noises whose levels have no unit in common: a pair of bars for each."""
    names = [f"{noise}\n{level:g}" for noise, level in further[0]]
    for side, (version, color) in enumerate(zip(further, (BEFORE, AFTER), strict=True)):
        places = [place + (side - 0.5) * 0.4 for place in range(len(names))]
        axes.bar(places, [100 * version[each].agreement for each in further[0]], width=0.4, color=color)
    axes.set_title("And under other noise", loc="left")
    axes.set_xticks(range(len(names)), names)
    axes.set_xlabel("noise and level")
    axes.set_ylim(top=100.5)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _finish(axes: Axes) -> None:
    axes.set_xlabel("noise level (standard deviations of each pixel)")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
