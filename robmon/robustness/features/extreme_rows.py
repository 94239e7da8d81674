"""Rows with a number so large that nothing can be learnt from them: one would decide the scale of all noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64
from robmon.robustness.features.channels import FeatureAxis, choose
from robmon.robustness.features.codes import as_matrix, codes_of_each, is_code

EXTREME_DISTANCE = 1e20
"""Of an extreme value from the middle of its column, at least: beyond every 64-bit integer."""
EXTREME_FACTOR = 1e12
"""How many times farther from the middle it lies than three numbers in four of its column."""


def extreme_rows(
    inputs: NDArray[np.floating[Any]], sentinels: Float64 | None = None, axis: FeatureAxis | None = None
) -> NDArray[np.bool_]:
    """Which rows hold an extreme value: one far beyond what the others of its column, or channel, are like.

    A column whose numbers are all huge has none, and sentinels are none, unless they are beyond float32: there, outputs
    overflow.

    Args:
        inputs: shape `(n, *input_shape)`.
        sentinels: of the columns, shape `(codes, columns)`, or `(columns,)`; None: they are looked for.
        axis: which axis of the inputs counts features; None: by their rank.

    Returns:
        shape `(n,)`.

    >>> extreme_rows(np.array([[1.0, 1e200], [2.0, 2e200], [1e300, 1e200], [3.0, 3e200]])).tolist()
    [False, False, True, False]
    """
    if not inputs.size or _largest(inputs) <= EXTREME_DISTANCE / 2:
        return np.zeros(len(inputs), dtype=np.bool_)
    columns = (axis or choose(inputs, refuses=False)).as_columns(inputs)
    if sentinels is None:
        sentinels = as_matrix(codes_of_each(columns))
    sentinels = np.atleast_2d(sentinels)
    if sentinels.shape[1:] != columns.shape[1:]:  # a baseline of other columns is refused where it is used
        sentinels = np.full((1, columns.shape[1]), np.nan)
    spared = np.where(np.abs(sentinels) <= np.finfo(np.float32).max, sentinels, np.nan)
    cells = np.column_stack([_far(column) for column in columns.T]) & ~is_code(columns, spared)
    return np.asarray(cells.reshape(len(inputs), -1).any(axis=1))


def _largest(inputs: NDArray[np.floating[Any]]) -> float:
    """The largest absolute number, without a copy of the inputs; NaN where there is none."""
    return max(abs(float(end.reduce(inputs, axis=None))) for end in (np.fmin, np.fmax))


def _far(column: Float64) -> NDArray[np.bool_]:
    """Which numbers of a column are extreme; NaN and infinities are not."""
    is_finite = np.isfinite(column)
    halves = column[is_finite] / 2  # the distance of two numbers may overflow, half of it cannot
    if not len(halves):
        return is_finite
    distances = np.abs(halves - np.quantile(halves, 0.5, method="lower"))
    usual = np.quantile(distances, 0.75, method="lower")
    far = is_finite.copy()
    far[is_finite] = (distances > EXTREME_DISTANCE / 2) & (distances / EXTREME_FACTOR > usual)
    return far
