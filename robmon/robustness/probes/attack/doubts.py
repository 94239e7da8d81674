"""What makes attacks say less: answers that change by themselves, rows outside the range, a gradient that hides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.probes.attack.ball import Ball
from robmon.robustness.probes.attack.result import Gradient
from robmon.robustness.probes.attack.runs import WHITE, Runs
from robmon.robustness.probes.attack.target import Target
from robmon.robustness.statistics.beta import lower_limit

HIDDEN: Final = 0.02
"""Share of rows that attacks without the gradient may flip alone where it hides nothing: each attack misses some."""
CHANCE: Final = 0.01
"""How often it is at most said to hide something, at any of the radii, where that share is no larger."""


def doubts(target: Target, ball: Ball, rows: NDArray[np.int64]) -> list[str]:
    """Doubts about the rows as they are, a sentence each."""
    part = ball.of(rows)
    # Each half of the rows on its own, so that what a model makes of other batches is seen too.
    halves = np.array_split(np.arange(len(rows)), 2 if len(rows) > 3 else 1)
    unmoved = part.points(np.zeros_like(part.centre))
    lost = float(np.mean(np.concatenate([target.margins(unmoved[half], rows[half]) for half in halves]) < 0))
    outside = float(np.mean(np.any((part.centre < part.low) | (part.centre > part.high), axis=1)))
    found = []
    if lost:
        found.append(
            f"the model is itself random, or its answer depends on other rows: {100 * lost:.3g} % of the rows "
            "changed their class when they were asked again, unmoved, in other batches, so that a witness may be chance"
        )
    if outside:
        found.append(
            f"{100 * outside:.3g} % of the rows lie outside the valid range (clip) by themselves, and move no further "
            "out"
        )
    return found


def gradient_health(
    runs: Runs, lost: Mapping[str, NDArray[np.bool_]], counted: NDArray[np.int64]
) -> tuple[Gradient, bool]:
    """Whether rows have a gradient, and whether it hides how fragile the model is: see `Attack`."""
    if runs.slope is None or not WHITE & set(lost):
        return "none", False
    gradient: Gradient = "ok" if runs.has_slope[counted].mean() > 0.5 else "zero"
    return gradient, gradient == "zero" or _hides({name: found[counted] for name, found in lost.items()})


def _hides(lost: Mapping[str, NDArray[np.bool_]]) -> bool:
    """Whether attacks without the gradient flip more rows that those with it do not than chance gives, at some radius.

    That is so where the exact lower limit of their share (Clopper & Pearson, 1934) is above `HIDDEN`, at a level that
    is divided by the number of radii (Bonferroni): of 64 rows and 3 radii where 6 are flipped alone, of 256 where 13
    are. One row or two, which another seed may give or take, say nothing.
    """
    white = np.any([found for name, found in lost.items() if name in WHITE], axis=0)
    alone = np.any([found for name, found in lost.items() if name not in WHITE] or [np.zeros_like(white)], axis=0)
    counts = (alone & ~white).sum(axis=0).tolist()
    return any(lower_limit(count, len(white), 1.0 - CHANCE / len(counts)) > HIDDEN for count in counts)
