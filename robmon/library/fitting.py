"""Inputs that a caller gives, as rows that a model takes: what does not fit is left out and told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robmon.errors import InvalidInputError
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.outputs.cells import to_numpy
from robmon.models.served.served import ServedModel
from robmon.models.signature.casting import plain
from robmon.models.signature.collected import Misfits, shape_words
from robmon.robustness.sentences import some_of

if TYPE_CHECKING:
    import pandas as pd

FEWEST_SHARE: Final = 0.5
"""Of the rows that must fit: where most do not, the inputs are those of another model."""
NAMED_ROWS: Final = 5
"""Most rows that a sentence names of one reason."""
SHAPES_NAMED: Final = 3
"""Most shapes that it names of rows of several."""


@dataclass(frozen=True)
class Fitting:
    """Inputs in the form and type that a model takes.

    Attributes:
        inputs: the rows that fit.
        kept: their indices among all rows; None where all fit.
        of_rows: how many rows there are.
        notes: what was left out, and why.
    """

    inputs: ModelInputs
    of_rows: int
    kept: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()


def fit(model: ServedModel, inputs: Any, integers: Sequence[str] = ()) -> Fitting:
    """The rows of an array, a list of arrays, a DataFrame or a dict of arrays that the model takes.

    Args:
        model: what is to take them.
        inputs: the rows.
        integers: columns of whole numbers that are measurements, see `models.inputs.split`.

    Raises:
        InvalidInputError: most rows do not fit, or fewer than two do.
    """
    rows = _rows(inputs)
    parts, kept, rejected = model.collect(rows, integers)
    if parts is not None and not rejected:
        return Fitting(parts, len(rows))
    left_out = f"{len(rejected.by_row)} of {len(rows)} rows of the inputs do not fit the model"
    if model.takes and any(reason.startswith("wrong_shape") for reason in rejected):
        left_out += f", which takes {model.takes}, where the inputs have {_row_shape(inputs)}"
    if "wrong_type" in rejected and _hold_fractions(inputs):
        left_out += ", whose signature says whole numbers where the inputs hold fractions"
    if parts is None or len(kept) < max(2, FEWEST_SHARE * len(rows)):
        raise InvalidInputError(f"{left_out}: {_reasons_and_rows(rejected)}")
    return Fitting(
        parts,
        len(rows),
        tuple(kept),
        (f"{left_out}, and are left out (counted from 0): {_reasons_and_rows(rejected)}",),
    )


def _hold_fractions(inputs: Any) -> bool:
    if hasattr(inputs, "columns"):
        return False  # which column does not fit stands behind the reason
    tensors = inputs.values() if isinstance(inputs, dict) else inputs if isinstance(inputs, list) else [inputs]
    arrays = [to_numpy(tensor) for tensor in tensors]
    return any(array.dtype.kind == "f" and bool(np.any(array != np.trunc(array))) for array in arrays)


def _row_shape(inputs: Any) -> str:
    """What a row of the inputs is, as `ServedModel.takes` says it."""
    if hasattr(inputs, "columns"):
        return f"{len(inputs.columns)} columns"
    if isinstance(inputs, dict):
        shapes = {name: np.shape(tensor)[1:] for name, tensor in inputs.items()}
        return ", ".join(f"{name} of shape {shape_words(shape)}" for name, shape in shapes.items())
    if isinstance(inputs, list):
        shapes_seen = sorted({np.shape(row) for row in inputs})[:SHAPES_NAMED]
        return f"rows of shape {' and '.join(map(shape_words, shapes_seen))}"
    return f"rows of shape {shape_words(tuple(inputs.shape)[1:])}"


def _reasons_and_rows(rejected: Misfits) -> str:
    """The reasons, most frequent first, each with its first rows, counted from 0."""
    reasons = []
    for reason, count in sorted(rejected.items(), key=lambda each: -each[1]):
        numbers = [index for index, why in rejected.by_row.items() if why == reason]
        reasons.append(f"{reason} ({count}: {row_numbers(numbers)})")
    return ", ".join(reasons) or "there are none"


def row_numbers(numbers: Sequence[int]) -> str:
    """Rows as a sentence names them.

    >>> row_numbers([3]), row_numbers([1, 2, 3, 4, 5, 6, 9])
    ('row 3', 'rows 1, 2, 3, 4, 5 and 2 more')
    """
    return f"row{'' if len(numbers) == 1 else 's'} {some_of(numbers, NAMED_ROWS)}"


def other_rows(first: Sequence[int] | None, second: Sequence[int] | None) -> str:
    """What to do about two models that take different rows, each given as `Fitting.kept`.

    >>> other_rows((0, 1, 2), (0, 2, 3)), other_rows(None, (0, 2))
    ('leave rows 1, 3 (counted from 0) out of the inputs', 'leave out of the inputs all rows but those that both take')
    """
    if first is None or second is None:
        return "leave out of the inputs all rows but those that both take"
    only = sorted(set(first) ^ set(second))
    return f"leave {row_numbers(only)} (counted from 0) out of the inputs"


@dataclass(frozen=True)
class _Row:
    """One row as a model's signature takes it."""

    columns: dict[Any, Any] | None
    tensor: Any
    reading: str = "table"
    texts: None = None
    listed: bool = False


def _rows(inputs: Any) -> list[_Row]:
    if hasattr(inputs, "columns"):
        return [_Row(row, None) for row in _records(inputs)]
    if isinstance(inputs, dict):
        names, tensors = list(inputs), [to_numpy(tensor) for tensor in inputs.values()]
        return [_Row(dict(zip(names, cells, strict=True)), None) for cells in zip(*tensors, strict=True)]
    return [_Row(None, row) for row in (inputs if isinstance(inputs, (np.ndarray, list)) else to_numpy(inputs))]


def _records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """The rows; missing cells are None, but for NumPy's floating columns, whose own they are NaN."""
    cells = {name: _cells(column) for name, column in frame.items()}
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _cells(column: pd.Series[Any]) -> list[Any]:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        return column.tolist()
    # Arrays in cells are lists: by name, arrays are what a dict of them holds.
    return [None if missing else plain(cell) for cell, missing in zip(column.tolist(), column.isna(), strict=True)]
