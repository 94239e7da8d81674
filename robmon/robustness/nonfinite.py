"""Rows without a finite clean output, and numbers that overflow a small floating type: which, how many, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import (
    Array,
    Float64,
    as_float64,
    by_copy,
    is_floating,
    like,
    namespace,
    parts,
    to_numpy,
    zeros_of_rows,
)
from robmon.robustness.outputs import is_numeric, missing_labels
from robmon.robustness.sentences import some_of

TOLD: Final = 5
"""Most rows, or outputs, that a sentence names."""
SMALL: Final = 1e6
"""A floating type whose largest number is below this overflows in practice: float16, which ends at 65504."""
_HALF: Final = "65504, where float16 ends"


def finite_cells(outputs: Array) -> Array:
    """Which outputs are finite numbers, or labels that are not missing; shape `(rows, outputs)`, where they are.

    >>> finite_cells(np.array([[1.0, np.nan], [np.inf, 2.0]])).tolist()
    [[True, False], [False, True]]
    """
    rows = int(outputs.shape[0])
    if not is_numeric(outputs):
        return ~missing_labels(outputs.reshape(-1)).reshape(rows, -1)
    if not is_floating(outputs):
        return np.ones((rows, int(np.prod(outputs.shape[1:]))), dtype=np.bool_)
    xp = namespace(outputs)
    return xp.isfinite(xp.reshape(outputs, (rows, -1)))


def finite_rows(outputs: Array) -> NDArray[np.bool_]:
    """Which rows are finite in every output; shape `(rows,)`.

    >>> finite_rows(np.array(["cat", None, "dog"], dtype=object)).tolist()
    [True, False, True]
    """
    cells = to_numpy(finite_cells(outputs))
    # Most often all are, which is seen in a tenth of the time.
    return np.ones(len(cells), dtype=np.bool_) if cells.all() else np.asarray(cells.all(axis=1))


def none_finite(outputs: Array) -> str:
    """A sentence that no row has a finite clean output, and in which outputs that lies."""
    rows = int(outputs.shape[0])
    return f"without noise the model's output is not finite for any of the {rows} rows{_of_outputs(outputs)}"


def left_out(outputs: Array, finite: NDArray[np.bool_], names_rows: bool = True) -> list[str]:
    """How many rows are left out because their clean output is not finite, and which: a sentence, or none.

    Args:
        outputs: the clean ones, of all rows.
        finite: which rows are finite, shape `(rows,)`.
        names_rows: whether the rows' numbers mean anything to who reads it.

    >>> outputs = np.array([[1.0, 2.0], [np.nan, 2.0], [3.0, 4.0]])
    >>> left_out(outputs, finite_rows(outputs))[0]
    '1 of 3 rows is left out: without noise the output is not finite there (row 1, counted from 0; output 0 of 2)'
    """
    lost = np.flatnonzero(~finite)
    if not len(lost):
        return []
    rows = f"{'row' if len(lost) == 1 else 'rows'} {some_of(lost, TOLD)}, counted from 0" if names_rows else ""
    where = "; ".join(filter(None, [rows, _of_outputs(outputs).removeprefix(", in ")]))
    told = f"{len(lost)} of {int(outputs.shape[0])} rows {'is' if len(lost) == 1 else 'are'} left out"
    return [f"{told}: without noise the output is not finite there{where and f' ({where})'}"]


def _of_outputs(outputs: Array) -> str:
    """In which of several outputs."""
    lost = ~to_numpy(finite_cells(outputs))
    columns = lost.shape[1]
    if columns < 2 or lost.all(axis=0).all():
        return ""
    some = np.flatnonzero(lost.any(axis=0))
    return f", in {'output' if len(some) == 1 else 'outputs'} {some_of(some, TOLD)} of {columns}"


def largest_input(inputs: Array) -> float | None:
    """The largest number of the inputs' floating type, where it is so small that noise may exceed it.

    >>> largest_input(np.ones(1, dtype=np.float16)), largest_input(np.ones(1, dtype=np.float32))
    (65504.0, None)
    """
    largest = float(namespace(inputs).finfo(inputs.dtype).max)
    return largest if largest < SMALL else None


def beyond(values: Array, largest: Float64 | float) -> Array:
    """Which cells exceed what a type holds; of the values' shape, where they are. NaN does not, infinities do."""
    exact = as_float64(values)
    limit = like(np.asarray(largest, dtype=np.float64), exact)
    return namespace(exact).abs(exact) > limit


def rows_beyond(inputs: Array, largest: Float64 | float) -> int:
    """How many rows hold a number beyond what the type holds in which the model gets it."""
    cut = parts(inputs)
    return sum(int(to_numpy(_any(beyond(inputs[rows], largest))).sum()) for rows in cut)


def newly_beyond(perturbed: Array, inputs: Array, largest: Float64 | float | None) -> Array:
    """Which rows the noise takes beyond it, none without such a type; shape `(copies * rows,)`, where they are.

    Args:
        perturbed: copies of the inputs, one after the other.
        inputs: shape `(rows, *input_shape)`.
        largest: the largest number of the type.
    """
    xp = namespace(inputs)
    if largest is None:
        return zeros_of_rows(perturbed, xp.bool)
    new = by_copy(beyond(perturbed, largest), inputs) & ~beyond(inputs, largest)
    return _any(xp.reshape(new, perturbed.shape))


def _any(cells: Array) -> Array:
    xp = namespace(cells)
    return xp.any(xp.reshape(cells, (cells.shape[0], -1)), axis=1)


def overflows(
    largest: Float64 | float | None, dtype: Any, clean_rows: int, noisy_rows: Mapping[float, float], is_some_lost: bool
) -> list[str]:
    """What float16 could not hold, in sentences; none where there is no such type.

    Args:
        largest: the largest number of the type in which the model gets its inputs, where that is small.
        dtype: of the outputs.
        clean_rows: rows whose inputs exceed it without noise.
        noisy_rows: the share of rows whose inputs the noise took beyond it, by level.
        is_some_lost: whether some output is not finite.

    >>> overflows(65504.0, "float32", 0, {0.1: 0.0, 0.4: 0.1}, is_some_lost=True)[0]
    'noise takes inputs beyond 65504, where float16 ends, and the model gets infinity: at level 0.4 in 10 % of the rows'
    """
    told = []
    if clean_rows:
        told.append(f"{clean_rows} rows hold inputs beyond {_HALF}, and the model gets infinity")
    at = [f"at level {level:g} in {100 * share:.2g} % of the rows" for level, share in noisy_rows.items() if share]
    if at:
        told.append(f"noise takes inputs beyond {_HALF}, and the model gets infinity: {', '.join(at)}")
    is_half = largest is not None or str(dtype).rsplit(".", maxsplit=1)[-1] == "float16"
    if is_half and is_some_lost:
        told.append(f"the model computes in float16: outputs that are not finite may have overflowed, beyond {_HALF}")
    return told
