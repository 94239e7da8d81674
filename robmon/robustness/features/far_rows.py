"""Columns whose scale a few rows make: levels that count it are far from what the other rows are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from robmon.robustness.arrays import Float64

SHARE: Final = 0.01
"""Of the rows, those farthest from the middle of a column that may make its scale."""
FEWEST_ROWS: Final = 50
FACTOR: Final = 5.0
"""How many times the standard deviation of the others a scale is that is told."""

HERE: Final = (
    "at most {few} of {rows} rows make its scale, {times} the others: leave out what is wrong, or give a scale"
)
BEFORE: Final = (
    "its scale is {times} these rows: if what it was measured on held errors, record a baseline without them"
)


def far_row_notes(columns: Float64, scale: Float64, names: Sequence[str]) -> list[str]:
    """A sentence for each column whose scale is far above the standard deviation of 99 rows in 100.

    A few errors among the rows, such as a rare code, do that, and so do heavy tails: then a level of 0.1 is no small
    error for most rows.

    Args:
        columns: shape `(n, columns)`, NaN where a cell is not perturbed.
        scale: what levels multiply, shape `(columns,)`; 0: not perturbed.
        names: of the columns.

    >>> readings = np.append(np.sin(np.arange(198.0)), [-9999.0, -9999.0])[:, None]
    >>> far_row_notes(readings, readings.std(axis=0), ["t"])[0][:67]
    't: at most 2 of 200 rows make its scale, 1.41e+03 times the standar'
    """
    n = len(columns)
    if n < FEWEST_ROWS:
        return []
    notes = []
    with np.errstate(invalid="ignore", over="ignore"):
        reach = np.fmax.reduce(columns, axis=0) / 2 - np.fmin.reduce(columns, axis=0) / 2
    # Few rows can make a scale only if one of them lies this far out, or none of them is here any more.
    is_suspect = (scale > 0) & np.isfinite(scale) & ((reach > scale * FACTOR) | (reach < scale / FACTOR))
    for at in np.flatnonzero(is_suspect).tolist():
        numbers = columns[np.isfinite(columns[:, at]), at]
        few = max(1, int(len(numbers) * SHARE))
        far = np.argsort(np.abs(numbers / 2 - np.median(numbers) / 2), kind="stable")[len(numbers) - few :]
        others = float(np.delete(numbers, far).std()) if len(numbers) > few else 0.0
        if others > 0 and scale[at] > FACTOR * others:
            times = f"{scale[at] / others:.3g} times the standard deviation of"
            is_here = numbers.std() * FACTOR > scale[at]
            notes.append(
                f"{names[at]}: " + (HERE if is_here else BEFORE).format(few=few, rows=len(numbers), times=times)
            )
    return notes
