"""Projected gradient descent: towards the border of a class, along the model's own gradient.

Madry et al., ICLR 2018; with one step from the row itself the fast gradient method (Goodfellow et al., ICLR 2015). Each
restart goes down the margin and, by itself, the cross-entropy: the latter has no gradient left where a class is sure
(Carlini & Wagner 2017), the former sometimes the worse direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.attack.ball import Ball
from robmon.robustness.probes.attack.target import Slope, Target

OVERSHOOT: Final = 2.5
"""All steps together are so many radii long."""


def descend(
    ball: Ball,
    target: Target,
    slope: Slope,
    rows: NDArray[np.int64],
    *,
    steps: int,
    restarts: int,
    generator: np.random.Generator,
    is_over: Callable[[], bool],
) -> tuple[Float64, NDArray[np.bool_]]:
    """Moves of rows that changed their class, or came nearest to it; and whose gradient was never 0.

    Args:
        ball: of these rows.
        target: what is attacked.
        slope: the model's gradient.
        rows: their places among all.
        steps: of each descent.
        restarts: descents, the first from the row itself, the others from anywhere on the border of the ball; each by
            margin and by cross-entropy.
        generator: where descents begin.
        is_over: whether time is up.
    """
    nearest, has_slope = Nearest.of(ball), np.zeros(len(rows), dtype=bool)
    for moves, is_margin in starts(ball, restarts, generator):
        for step in range(steps + 1):
            open_rows = nearest.open_rows
            if is_over() or not open_rows.size:
                return nearest.moves, has_slope
            part = ball.of(open_rows)
            answer, gradient = slope(part.points(moves[open_rows]), rows[open_rows], is_margin)
            nearest.take(open_rows, target.margins_of(answer, rows[open_rows]), moves[open_rows])
            gradient = np.where(np.isfinite(gradient), gradient, 0.0) * part.scale
            has_slope[open_rows] |= np.any(gradient != 0, axis=1)
            if step < steps:
                moves[open_rows] = stepped(part, moves[open_rows], gradient, steps)
    return nearest.moves, has_slope


@dataclass(frozen=True)
class Nearest:
    """Each row's moves that came nearest to another class, and by how much they miss it; below 0 they reach it."""

    moves: Float64
    margins: Float64

    @classmethod
    def of(cls, ball: Ball) -> Nearest:
        """Rows of which nothing was tried yet."""
        return cls(np.zeros_like(ball.centre), np.full(len(ball.centre), np.inf))

    @property
    def open_rows(self) -> NDArray[np.int64]:
        """The rows that still have their class."""
        return np.flatnonzero(self.margins > 0)

    def take(self, rows: NDArray[np.int64], margins: Float64, moves: Float64) -> None:
        """What was tried of some of the rows, where it is nearer."""
        nearer = margins < self.margins[rows]
        self.margins[rows[nearer]], self.moves[rows[nearer]] = margins[nearer], moves[nearer]


def starts(ball: Ball, restarts: int, generator: np.random.Generator) -> Iterator[tuple[Float64, bool]]:
    """Where each descent begins, at the row itself, then anywhere on the border: by margin, and by cross-entropy."""
    for restart in range(restarts):
        start = ball.anywhere(generator) if restart else np.zeros_like(ball.centre)
        for is_margin in (True, False):
            yield start.copy(), is_margin


def stepped(ball: Ball, moves: Float64, gradient: Float64, steps: int) -> Float64:
    """Moves one of `steps` steps further down the gradient, in units of the scale, within the ball."""
    return ball.projected(moves - ball.steepest(gradient) * (OVERSHOOT / steps if steps > 1 else 1.0))
