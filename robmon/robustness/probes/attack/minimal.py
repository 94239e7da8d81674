"""The nearest witness along the gradient, in either norm.

A descent whose ball follows the border of the class: it grows while the class is kept, first by the distance to the
border to first order, and shrinks when it is lost (Rony et al., CVPR 2019, DDN; Pintor et al., NeurIPS 2021, FMN).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.attack.ball import Ball
from robmon.robustness.probes.attack.target import Slope, Target

CHANGE: Final = 0.05
"""By which share the ball grows or shrinks at the first step; later by less."""
BEYOND: Final = 1.01
"""The border is sought a little beyond where it is to first order."""
FIRST_STEP: Final = 0.5
LEAST_STEP: Final = 0.01
"""Share of the radius that the first step, and the last, are long: as long as the radius, steps may go to and fro."""


def nearest(
    ball: Ball,
    target: Target,
    slope: Slope,
    rows: NDArray[np.int64],
    *,
    steps: int,
    reach: float,
    is_over: Callable[[], bool],
) -> tuple[Float64, NDArray[np.bool_]]:
    """The shortest moves found that change the class, 0 where none do; and whose gradient was never 0.

    Args:
        ball: of these rows; its radius is of no matter.
        target: what is attacked.
        slope: the model's gradient.
        rows: their places among all.
        steps: of the descent.
        reach: by how much a ball grows at most in a step, while it is smaller than that.
        is_over: whether time is up.
    """
    moves, best = np.zeros_like(ball.centre), np.zeros_like(ball.centre)
    least, radius = np.full(len(rows), np.inf), np.zeros(len(rows))
    has_slope = np.zeros(len(rows), dtype=bool)
    unbounded, direction = ball.within(math.inf), ball.within(1.0)
    for step in range(steps + 1):
        if is_over():
            break
        points = unbounded.points(moves)
        answer, gradient = slope(points, rows, True)
        margins, sizes = target.margins_of(answer, rows), ball.distances(points)
        flipped = margins < 0
        nearer = flipped & (sizes < least)
        best[nearer], least[nearer] = moves[nearer], sizes[nearer]
        if step == steps:
            break
        gradient = np.where(np.isfinite(gradient), gradient, 0.0) * ball.scale
        has_slope |= np.any(gradient != 0, axis=1)
        cooled = (1 + math.cos(math.pi * step / steps)) / 2
        ahead = BEYOND * np.minimum(_to_first_order(margins, gradient, ball), np.maximum(radius, reach))
        radius = np.where(
            flipped,
            np.minimum(sizes, least) * (1 - CHANGE * cooled),
            np.where(np.isfinite(least), radius * (1 + CHANGE * cooled), radius + ahead),
        )
        stride = max(FIRST_STEP * cooled, LEAST_STEP) * radius[:, None]
        moves = ball.within(radius).projected(moves - stride * direction.steepest(gradient))
    return best, has_slope


def _to_first_order(margins: Float64, gradient: Float64, ball: Ball) -> Float64:
    """How far the border would be, were the margin linear, shape `(n,)`."""
    steepness = np.abs(gradient).sum(axis=1) if ball.norm == "inf" else np.linalg.norm(gradient, axis=1)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.where(steepness > 0, np.maximum(margins, 0.0) / steepness, np.inf)
