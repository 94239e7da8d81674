"""Rows that look like a baseline's and are none of them: drawn from its summaries, the same again by everybody.

Only additions, multiplications and comparisons of IEEE numbers are used, on words of a counter-based generator, so that
neither another processor nor another version of NumPy gives other rows.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from robmon.drift.names import Names
from robmon.drift.numbers import Numbers
from robmon.robustness.arrays import Float64
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.columns import ColumnStatistics
from robmon.robustness.features.whole_numbers import Whole


def draw_rows(
    statistics: ColumnStatistics,
    axis: FeatureAxis,
    row_shape: tuple[int, ...],
    rows: int,
    seed: int,
    whole: Whole | None = None,
) -> Float64:
    """Rows of what is perturbed, in float64, shape `(rows, *row_shape)`.

    Each column has about the baseline's mean and standard deviation, and no cell is farther from the mean than 3.5 of
    the latter; columns of 0 and 1 have their shares, whole numbers are whole and within their range. Columns are
    independent of one another, and nothing is missing.

    Args:
        statistics: of the columns that `axis` gives.
        axis: which axis of the inputs counts features.
        row_shape: shape of one row.
        rows: how many.
        seed: of the draw.
        whole: which columns are whole numbers.

    >>> seen = ColumnStatistics.of_columns(1)
    >>> seen.update(np.random.default_rng(0).normal(5.0, 2.0, size=(1000, 1)))
    >>> rows = draw_rows(seen, FeatureAxis(1), (1,), 10_000, seed=1)
    >>> round(float(rows.mean()), 1), round(float(rows.std()), 1)
    (4.9, 1.9)
    """
    shape = (rows, *row_shape)
    columns = axis.columns(shape)
    cells = rows * math.prod(row_shape) // columns
    uniform = _uniform(seed, 4 * cells * columns).reshape(4, cells, columns)
    moments = statistics.moments
    mean, deviation = moments.mean, np.sqrt(moments.variance)
    near_normal = (((uniform[0] + uniform[1]) + uniform[2]) + uniform[3] - 2.0) * math.sqrt(3.0)
    drawn = mean + deviation * near_normal
    drawn = np.where(statistics.indicators, uniform[0] < mean, drawn)
    if whole is not None:
        nothing = np.full(columns, np.nan)
        low, high = whole.within(*(nothing if each is None else each for each in (statistics.low, statistics.high)))
        limited = np.fmin(np.fmax(np.rint(drawn), low), high)
        drawn = np.where(np.isnan(low), drawn, limited)
    return _as_rows(drawn, axis, shape)


def draw_from(summary: Numbers | Names, rows: int, seed: int) -> list[float] | list[str] | None:
    """Cells like those that a summary counted: middles of its cells, or frequent names; None where it has none.

    Of text, of identifiers and of a column of which no frequent name is kept nothing is drawn.

    >>> from robmon.drift.columns import column_of
    >>> seen = Names.none().added(column_of(np.array(["a"] * 90 + ["b"] * 10, dtype=object)))
    >>> sorted(set(draw_from(seen, 100, seed=1)))
    ['a', 'b']
    """
    if isinstance(summary, Names):
        keys = [] if summary.reason else sorted(summary.names)
        weights = np.array([summary.counts[key] for key in keys], dtype=np.int64)
        names = [summary.names[key] for key in keys]
        return [names[at] for at in _places(weights, rows, seed)] if keys else None
    known = summary.reference()
    if known.identifier or not len(known.places):
        return None
    return [float(known.places[at]) for at in _places(known.weights, rows, seed)]


def _places(weights: NDArray[np.int64], rows: int, seed: int) -> NDArray[np.intp]:
    """Places drawn with chances in proportion to the weights."""
    return np.searchsorted(np.cumsum(weights), _uniform(seed, rows) * int(weights.sum()), side="right")


def digest(rows: Float64) -> str:
    """A short word for rows, to the last bit."""
    return hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=8).hexdigest()


def _uniform(seed: int, count: int) -> Float64:
    """Numbers on [0, 1), 53 bits each."""
    words: NDArray[np.uint64] = np.random.Philox(key=seed).random_raw(count)
    return np.asarray((words >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _as_rows(columns: Float64, axis: FeatureAxis, shape: tuple[int, ...]) -> Float64:
    """The inverse of `FeatureAxis.by_column`."""
    if axis.axis is None:
        return columns.reshape(shape)
    moved = [length for index, length in enumerate(shape) if index != axis.axis]
    return np.ascontiguousarray(np.moveaxis(columns.reshape(*moved, shape[axis.axis]), -1, axis.axis))
