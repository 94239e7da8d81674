"""Levels finer than the distance between two numbers of the inputs' own type: rounding takes such noise back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, largest_sizes, namespace
from robmon.robustness.features.features import Features
from robmon.robustness.features.whole_numbers import FEW_MOVE
from robmon.robustness.sentences import some_of

NAMED: Final = 5
"""Columns that a sentence names."""


def finer_columns(inputs: Array, features: Features, levels: Sequence[float]) -> list[int]:
    """Columns some of whose numbers the lowest of these levels may leave as they are.

    Args:
        inputs: shape `(n, *input_shape)`, floating.
        features: of them; columns are what its axis gives.
        levels: above 0.

    >>> from robmon.robustness.features.features import measure
    >>> inputs = np.random.default_rng(0).normal((0.0, 1e8), 1.0, (50, 2)).astype(np.float32)
    >>> finer_columns(inputs, measure(inputs, 1.0, correlation=False), (0.05, 0.4))
    [1]
    """
    columns = features.axis.as_columns(largest_sizes(inputs)).max(axis=0)
    scale = features.axis.as_columns(np.broadcast_to(features.scale, tuple(inputs.shape[1:]))[None]).max(axis=0)
    # The distance is at most eps times the number, and half of it is rounded away.
    rounding = 0.5 * float(namespace(inputs).finfo(inputs.dtype).eps) * columns
    is_finer = (scale > 0) & (min(levels, default=np.inf) * scale < rounding)
    return np.flatnonzero(is_finer).tolist()


def hardly_moved_notes(
    names: Sequence[str], levels: Sequence[float], moved: NDArray[np.floating[Any]], dtype: str
) -> list[str]:
    """The columns that hardly move at some levels, a sentence for those of the same levels.

    Args:
        names: of the columns.
        levels: above 0.
        moved: shape `(levels, columns)`, the share of each column's cells that move.
        dtype: of the inputs.

    >>> hardly_moved_notes(["a", "b"], (0.05, 0.4), np.array([[0.0, 0.0], [0.3, 0.1]]), "bfloat16")
    ['a, b: noise of level 0.05 is finer than bfloat16 is there, and not applied: fewer than 5 % of the cells move']
    """
    columns: dict[str, list[str]] = {}
    for name, shares in zip(names, moved.T, strict=True):
        few = [f"{level:g}" for level, share in zip(levels, shares, strict=True) if share < FEW_MOVE]
        if few:
            at = f"level {few[0]}" if len(few) == 1 else f"levels {', '.join(few)}"
            columns.setdefault(at, []).append(name)
    return [
        f"{some_of(alike, NAMED)}: noise of {at} is finer than {dtype} is there, and not applied: "
        "fewer than 5 % of the cells move"
        for at, alike in columns.items()
    ]
