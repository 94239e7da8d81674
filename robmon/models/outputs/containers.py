"""What a model returns, as its parts by name: columns, keys, fields, or positions where they have no names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from robmon.errors import PredictionError
from robmon.models.outputs import cells
from robmon.models.strangers import type_word

UNNAMED: Final = ""
"""Name of the only part of an array, a list or a Series."""


def parts_of(outputs: Any, rows: int) -> list[tuple[str, Any]]:
    """The parts, none of them converted; those within parts as `outer.inner`.

    Args:
        outputs: what the model returned.
        rows: how many rows it was given, by which a list of arrays is told from a list of rows.

    Raises:
        PredictionError: it is nothing of the kind (`invalid_output`).

    >>> [name for name, _ in parts_of({"label": [1, 2], "scores": {"a": [0.1, 0.2]}}, 2)]
    ['label', 'scores.a']
    """
    named = _named(outputs, rows)
    if named is None:
        return [(UNNAMED, outputs)]
    if not named:
        raise invalid(f"an empty {type_word(type(outputs))}")
    return list(_flat(named, rows))


def invalid(what: str) -> PredictionError:
    """What the model returned instead of outputs."""
    return PredictionError(f"the model returned {what}, not one array of numbers or labels", "invalid_output")


def by_field(records: Sequence[Any]) -> list[tuple[str, Any]]:
    """Records as lists by field.

    Raises:
        PredictionError: they differ in their fields.
    """
    each = [_fields(record) for record in records]
    first = each[0] or {}
    if any(fields is None or fields.keys() != first.keys() for fields in each):
        raise invalid("records that differ in their fields")
    return [(str(name), [fields[name] for fields in each if fields is not None]) for name in first]


def _flat(named: Sequence[tuple[str, Any]], rows: int) -> Iterator[tuple[str, Any]]:
    for name, value in named:
        inner = None if isinstance(value, list) else _named(value, rows)
        if inner:
            yield from ((f"{name}.{below}", part) for below, part in _flat(inner, rows))
        else:
            yield name, value


def _named(outputs: Any, rows: int) -> list[tuple[str, Any]] | None:
    """Parts by name or position; None of what is one part."""
    if cells.is_tensor(outputs):
        return None
    if isinstance(outputs, np.ndarray):
        return _of_array(outputs)
    fields = _fields(outputs)
    if fields is not None:
        return [(str(name), value) for name, value in fields.items()]
    if isinstance(outputs, tuple):
        if len(outputs) == rows and all(np.ndim(value) == 0 and not cells.is_tensor(value) for value in outputs):
            return None  # one number, or one label, a row
        return _sole([(str(index), value) for index, value in enumerate(outputs)])
    frame = _columns(outputs)
    if frame is not None:
        return frame
    return _of_list(outputs, rows) if isinstance(outputs, list) else None


def _sole(parts: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """A tuple's only element has no need of its position."""
    return [(UNNAMED, parts[0][1])] if len(parts) == 1 else parts


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """Fields of a mapping, a named tuple, a dataclass or a pydantic model."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "model_fields_set") and hasattr(value, "model_dump"):
        return dict(value)
    return None


def _columns(frame: Any) -> list[tuple[str, Any]] | None:
    """Columns of a table of pandas, polars or Arrow."""
    if hasattr(frame, "iloc") and hasattr(frame, "columns"):
        if len(dtypes := set(frame.dtypes)) == 1 and isinstance(dtypes.pop(), np.dtype):
            values = frame.to_numpy()  # at once: tables of many classes are read often
            return [(str(name), values[:, index]) for index, name in enumerate(frame.columns)]
        return [(str(name), frame.iloc[:, index]) for index, name in enumerate(frame.columns)]
    if hasattr(frame, "get_columns"):
        return [(str(column.name), column) for column in frame.get_columns()]
    if hasattr(frame, "column_names") and hasattr(frame, "column"):
        return [(str(name), frame.column(index)) for index, name in enumerate(frame.column_names)]
    return None


def _of_array(array: Any) -> list[tuple[str, Any]] | None:
    """Fields of a structured array; columns of objects of several kinds; fields of records."""
    if array.dtype.names:
        return [(name, array[name]) for name in array.dtype.names]
    if array.dtype.kind != "O":
        return None
    if array.ndim == 1 and len(array) and _fields(array[0]) is not None:
        return by_field(array.tolist())
    return _if_mixed(array) if array.ndim == 2 else None


def _of_list(values: list[Any], rows: int) -> list[tuple[str, Any]] | None:
    if not values:
        return None
    if _fields(values[0]) is not None:
        return by_field(values)
    if len(values) != rows and all(cells.length(value) == rows for value in values):
        return _sole([(str(index), value) for index, value in enumerate(values)])
    if isinstance(values[0], (list, tuple)) and len({cells.length(value) for value in values}) == 1:
        row = np.empty((len(values), len(values[0])), dtype=object)
        for index, value in enumerate(values):
            row[index, :] = value
        return _if_mixed(row)
    return None


def _if_mixed(array: Any) -> list[tuple[str, Any]] | None:
    """The columns of a table of objects by position, if they are of different kinds."""
    parts = [(str(index), array[:, index]) for index in range(array.shape[1])]
    is_text = {all(isinstance(cell, (str, bytes)) or cells.is_missing(cell) for cell in part) for _, part in parts}
    return parts if len(is_text) > 1 else None
