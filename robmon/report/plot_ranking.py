"""A ranking as a bump chart that a stranger understands."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robmon.report.ranking import best, crossings, signed
from robmon.robustness.arrays import Float64
from robmon.robustness.ranking import Ranking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES_A_LEVEL, INCHES_A_MODEL, INCHES_A_LETTER, INCHES_OF_TEXT = 1.0, 0.34, 0.083, 2.3
GAINS, LOSES, KEEPS = "#1f4e79", "#c55a11", "#7f7f7f"
FIGURE_SPACE, MINUS = "\N{FIGURE SPACE}", "\N{MINUS SIGN}"  # as wide as a digit and a plus
STEPS = np.linspace(0.0, 1.0, 30)
LONGEST_NAME = 40


def plot_ranking(ranking: Ranking) -> Figure:
    """A line a model: its rank at every level, its name and scores at both ends, its RankDiff at the right one."""
    from matplotlib.figure import Figure

    left, right = _end_labels(ranking)
    width = INCHES_A_LEVEL * len(ranking.levels) + INCHES_A_LETTER * (max(map(len, left)) + max(map(len, right)))
    height = INCHES_OF_TEXT + INCHES_A_MODEL * len(ranking.names)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    places = _places(ranking)
    colors = [GAINS if diff > 0 else LOSES if diff < 0 else KEEPS for diff in ranking.rank_diff[:, -1]]
    for line, ranks, color in zip(places, ranking.ranks, colors, strict=True):
        _draw_line(axes, line, ranks, color)
    _write_labels(axes, places[:, 0], left, colors)
    _write_labels(axes.twinx(), places[:, -1], right, colors)
    axes.set_xticks(range(len(ranking.levels)), ["0 (clean)", *(f"{level:g}" for level in ranking.levels[1:])])
    axes.set_xlabel(f"noise level ({ranking.conditions.level_unit})" if ranking.conditions else "noise level")
    figure.suptitle(_title(ranking), x=0.01, ha="left")
    figure.supxlabel(textwrap.fill(_caption(ranking), int(13 * width)), fontsize=9)
    return figure


def _places(ranking: Ranking) -> NDArray[np.int64]:
    """Heights of the lines, 1 on top: the ranks, but equals beside each other in the order in which they came."""
    columns = [np.arange(len(ranking.names))]
    for ranks in ranking.ranks.T:
        order = np.lexsort((columns[-1], ranks))
        column = np.empty_like(order)
        column[order] = np.arange(1, len(order) + 1)
        columns.append(column)
    return np.stack(columns[1:], axis=1)


def _draw_line(axes: Axes, places: NDArray[np.int64], ranks: Float64, color: str) -> None:
    """An S from each level to the next, and the rank in a disc at each."""
    from matplotlib import patheffects

    rise = STEPS**2 * (3.0 - 2.0 * STEPS)
    x = np.concatenate([index + STEPS for index in range(len(places) - 1)])
    y = np.concatenate([here + (there - here) * rise for here, there in itertools.pairwise(places)])
    apart = [patheffects.Stroke(linewidth=5, foreground="white"), patheffects.Normal()]
    axes.plot(x, y, color=color, lw=2.5, path_effects=apart, zorder=2 if color != KEEPS else 1)
    axes.plot(range(len(places)), places, "o", ms=14, color=color, mec="white", mew=1.5, zorder=3)
    for index, (place, rank) in enumerate(zip(places, ranks, strict=True)):
        text = f"{rank:g}"
        size = {1: 8, 2: 8, 3: 6}.get(len(text), 5)
        axes.text(index, place, text, color="white", size=size, ha="center", va="center_baseline", zorder=4)


def _end_labels(ranking: Ranking) -> tuple[list[str], list[str]]:
    """What stands at the left and the right end of each line; the last of each list is what stands above them."""
    names = [
        name if len(name) <= LONGEST_NAME else f"{name[:12]}…{name[13 - LONGEST_NAME :]}" for name in ranking.names
    ]
    moved = [signed(diff).replace("-", MINUS) for diff in ranking.rank_diff[:, -1]]
    wide = max(map(len, moved))
    left = [f"{name}   {score:#.3g}" for name, score in zip(names, ranking.scores[:, 0], strict=True)]
    right = [
        f"{score:#.3g}   {diff.rjust(wide, FIGURE_SPACE)}   {name}"
        for name, score, diff in zip(names, ranking.scores[:, -1], moved, strict=True)
    ]
    return [*left, f"clean {ranking.score}"], [*right, f"{ranking.score} at level {ranking.levels[-1]:g}, RankDiff"]


def _write_labels(axes: Axes, places: NDArray[np.int64], labels: list[str], colors: list[str]) -> None:
    """Beside the places, and the last of the labels above them."""
    axes.set_ylim(len(places) + 0.6, -0.1)
    axes.set_yticks([*places.tolist(), 0.1], labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for tick, color in zip(axes.get_yticklabels(), [*colors, "black"], strict=True):
        tick.set_color(color)


def _title(ranking: Ranking) -> str:
    under = f"{ranking.conditions.noise} noise" if ranking.conditions else "noise"
    return f"Which model is best under {under}? Rank by {ranking.score}, 1 is best"


def _caption(ranking: Ranking) -> str:
    """What it says, and how to read it."""
    reading = (
        f"RankDiff: places gained from clean inputs to level {ranking.levels[-1]:g}; blue lines gain places, orange "
        "ones lose some, grey ones end where they began."
    )
    where = f"Measured on {ranking.conditions}." if ranking.conditions else ""
    without = f"Left out: {', '.join(name for name, _ in ranking.left_out)}." if ranking.left_out else ""
    return " ".join(filter(None, [best(ranking), *crossings(ranking, most=1), reading, where, without]))
