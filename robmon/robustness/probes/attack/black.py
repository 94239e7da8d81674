"""Attacks that ask the model and nothing else: corners of the ball, one coordinate after the other, and squares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.attack.ball import Ball
from robmon.robustness.probes.attack.target import Target

CORNERS: Final = 0.1
"""Share of the queries of the random search that is spent on corners, before coordinates are changed one by one."""
SQUARE_SHARE: Final = 0.8
"""Of the cells that the first squares change; and of the queries after which it halves (Andriushchenko et al.)."""
HALVINGS: Final = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)

Propose = Callable[[Float64, float, np.random.Generator], Float64]
"""`propose(moves, done, generator)`: others in their place, after a share `done` of the queries."""


def search(
    ball: Ball,
    target: Target,
    rows: NDArray[np.int64],
    propose: Propose,
    *,
    queries: int,
    generator: np.random.Generator,
    is_over: Callable[[], bool],
) -> Float64:
    """Moves of rows that changed their class, or came nearest to it: a proposal is kept where it comes no less near.

    Args:
        ball: of these rows.
        target: what is attacked.
        rows: their places among all.
        propose: what is tried next.
        queries: of each row, at most.
        generator: of all that is drawn.
        is_over: whether time is up.
    """
    best, least = ball.anywhere(generator), np.full(len(rows), np.inf)
    for query in range(queries):
        open_rows = np.flatnonzero(least > 0)
        if is_over() or not open_rows.size:
            break
        part = ball.of(open_rows)
        tried = best[open_rows] if query == 0 else part.projected(propose(best, query / queries, generator)[open_rows])
        margins = target.margins(part.points(tried), rows[open_rows])
        nearer = margins <= least[open_rows]
        least[open_rows[nearer]], best[open_rows[nearer]] = margins[nearer], tried[nearer]
    return best


def coordinates(ball: Ball, has_scores: bool) -> Propose:
    """Corners of the ball, and then one coordinate at a time turned round; corners alone where there are no scores."""

    def propose(moves: Float64, done: float, generator: np.random.Generator) -> Float64:
        if done < CORNERS or not has_scores:
            return ball.anywhere(generator)
        keys = np.where(ball.movable, generator.random(moves.shape), -1.0)
        chosen = np.arange(moves.shape[1]) == keys.argmax(axis=1)[:, None]
        return np.where(chosen, -moves, moves)

    return propose


def squares(ball: Ball, shape: tuple[int, ...], channel_axis: int | None) -> Propose:
    """Square attack (Andriushchenko et al., ECCV 2020): squares of a picture, or columns of a table, become a corner.

    Args:
        ball: of the rows.
        shape: of one row.
        channel_axis: of one row that is a picture, 0 or 2; None: of a table.
    """

    def propose(moves: Float64, done: float, generator: np.random.Generator) -> Float64:
        share = SQUARE_SHARE / 2 ** sum(done >= each for each in HALVINGS)
        count = len(moves)
        if channel_axis is None:
            columns = max(1, round(share * moves.shape[1]))
            order = np.argsort(generator.random(moves.shape), axis=1)
            inside = order < columns
            signs = np.where(generator.random(moves.shape) < 0.5, -1.0, 1.0)
        else:
            height, width = (length for axis, length in enumerate(shape) if axis != channel_axis)
            side = max(1, min(height, width, round(math.sqrt(share * height * width))))
            top = generator.integers(0, height - side + 1, count)[:, None, None]
            left = generator.integers(0, width - side + 1, count)[:, None, None]
            y, x = np.arange(height)[:, None], np.arange(width)
            square = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
            inside = np.broadcast_to(np.expand_dims(square, 1 + channel_axis), (count, *shape)).reshape(count, -1)
            of_channel = [count, 1, 1, 1]
            of_channel[1 + channel_axis] = shape[channel_axis]
            signs = np.where(generator.random(of_channel) < 0.5, -1.0, 1.0)
            signs = np.broadcast_to(signs, (count, *shape)).reshape(count, -1)
        part = 1.0 if ball.norm == "inf" else 1.0 / np.sqrt(np.maximum(inside.sum(axis=1, keepdims=True), 1))
        return np.where(inside, signs * ball.radius * part, moves)

    return propose
