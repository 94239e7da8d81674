"""Witnesses of another model, tried on the one that is attacked (Papernot et al., 2016): a way round a missing or lying
gradient, for whoever has a network that does the same, such as the one behind a black box or the same without
rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64, to_numpy
from robmon.robustness.probes.attack.ball import Ball
from robmon.robustness.probes.attack.target import Slope, Target
from robmon.robustness.probes.attack.white import Nearest, starts, stepped
from robmon.vocabulary import OutputKind


def transferred(
    ball: Ball,
    target: Target,
    slope: Slope,
    rows: NDArray[np.int64],
    *,
    steps: int,
    restarts: int,
    generator: np.random.Generator,
    is_over: Callable[[], bool],
) -> Float64:
    """Moves that end where a substitute is surest of another class, and that change that of the target, or come nearest
    to it.

    Args:
        ball: of these rows.
        target: what is attacked; it is asked about the end of each descent.
        slope: the substitute's gradient.
        rows: their places among all.
        steps, restarts, generator, is_over: as in `descend`.
    """
    nearest = Nearest.of(ball)
    for start, is_margin in starts(ball, restarts, generator):
        open_rows = nearest.open_rows
        if is_over() or not open_rows.size:
            break
        part, moves = ball.of(open_rows), start[open_rows]
        for _ in range(steps):
            _, gradient = slope(part.points(moves), rows[open_rows], is_margin)
            moves = stepped(part, moves, np.where(np.isfinite(gradient), gradient, 0.0) * part.scale, steps)
        nearest.take(open_rows, target.margins(part.points(moves), rows[open_rows]), moves)
    return nearest.moves


def substitute_kind(outputs: Any, classes: NDArray[Any], kind: OutputKind) -> OutputKind:
    """What a substitute's outputs are taken for: its scores go down, so that logits and probabilities are enough.

    Args:
        outputs: its own for the clean rows, shape `(n, columns)`.
        classes: of the model that is attacked, as `classes_of` gives them.
        kind: of that model's outputs.

    Raises:
        InvalidInputError: its columns are not the model's classes.

    >>> substitute_kind(np.array([[0.2, 0.8]]), np.array([1]), "label")
    'probability'
    """
    scores = to_numpy(outputs).astype(np.float64).reshape(len(classes), -1)
    is_within = bool(np.all((scores >= 0) & (scores <= 1)))
    if kind == "multilabel":
        if scores.shape[1] != classes.shape[1] or not is_within:
            raise InvalidInputError("the substitute must return a probability for each of the model's labels")
        return "multilabel"
    count = max(2, scores.shape[1])
    is_numbered = classes.dtype.kind in "iuf" and bool(np.all(np.isin(classes, [-1, *range(count)])))
    if not is_numbered:
        raise InvalidInputError(
            f"the substitute has {count} classes, counted from 0, and the model has others: its column i must be "
            "class i"
        )
    sums_to_one = scores.shape[1] == 1 or bool(np.all(np.abs(scores.sum(axis=1) - 1) < 2e-3))
    return "probability" if is_within and sums_to_one else "logit"
