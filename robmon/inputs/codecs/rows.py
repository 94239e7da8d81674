"""What every codec returns: rows, built only when they are looked at.

Usually one row of a request is drawn, so a codec parses and checks a body as a whole and converts rows one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias, overload

import numpy as np

from robmon.errors import CodecError

MAX_DIMENSIONS = 32
_INT64 = np.iinfo(np.int64)

Reading: TypeAlias = Literal["frame", "table", "tensor", "text", "typed"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a request: named cells, or one unnamed row without the row axis.

    A cell is a number, bool, text or None (missing), or an array where a column holds tensors.
    A tensor has the type that the format says or JSON's numbers suggest, and dtype object for text and mixed cells. The
    raw bytes of a tensor whose type only the model knows are a scalar of void type.

    Attributes:
        columns: cells by name; an integer where a table's columns are numbered.
        tensor: the unnamed row. A row with both may be taken either way: by name, if the model knows the name.
        reading: how a server makes the model's types of the cells: `frame` and `tensor` as MLflow's server casts JSON
            tables and JSON tensors, `table` as `frame`, but no request: a missing cell may stand for no column; `text`
            as it reads CSV, `typed` as it only checks the types of a typed table.
        texts: the cells as they were written, for `text`, and for columns of text that look like numbers.
        listed: whether each cell stood in a list of its own, as in a column of one row.
    """

    columns: dict[Any, Any] | None = None
    tensor: np.ndarray[Any, np.dtype[Any]] | None = None
    reading: Reading = "tensor"
    texts: dict[str, str] | None = None
    listed: bool = False


class LazyRows(Sequence[Row]):
    """`count` rows, the i-th of which is `build(i)`."""

    def __init__(self, count: int, build: Callable[[int], Row]) -> None:
        self._indices = range(count)
        self._build = build

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._build(i) for i in self._indices[index]]
        return self._build(self._indices[index])


def as_cell(value: Any) -> Any:
    """The cell of a named column; lists of one shape become arrays, everything else stays as it is."""
    if type(value) is list:
        try:
            return as_tensor(value)
        except CodecError:
            return value  # an Array or Object column of MLflow: nothing to perturb, and often not even used
    return _fitting(value) if type(value) is int else value


def as_tensor(value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """One row of scalars or nested lists as an array.

    Raises:
        CodecError: the lists have no common shape, are empty or nested too deeply, or hold objects.
    """
    cells, shape = flatten(value)
    types = set(map(type, cells))
    if dict in types:
        raise CodecError("unsupported_value", "a row without column names holds an object")
    return _array(cells, types).reshape(shape)


def flatten(value: Any) -> tuple[list[Any], tuple[int, ...]]:
    """The cells of a scalar or of nested lists, row-major, and their shape.

    Raises:
        CodecError: ragged, empty, too_deep.
    """
    shape: list[int] = []
    cells = [value]
    while type(cells[0]) is list:
        lengths = {len(item) if type(item) is list else -1 for item in cells}
        if len(lengths) > 1:
            raise ragged()
        shape += lengths
        if 0 in lengths:
            raise CodecError("empty", "a row has no cell")
        if len(shape) > MAX_DIMENSIONS:
            raise CodecError("too_deep", f"a row has more than {MAX_DIMENSIONS} dimensions")
        cells = [cell for item in cells for cell in item]
    if any(type(cell) is list for cell in cells):
        raise ragged()
    return cells, tuple(shape)


def ragged() -> CodecError:
    """The error of rows that have no common shape."""
    return CodecError("ragged", "the rows or columns of the request differ in length")


def _array(cells: list[Any], types: set[type]) -> np.ndarray[Any, np.dtype[Any]]:
    """Flat cells in the type that holds them all; anything besides numbers and booleans as objects."""
    if types == {bool}:
        return np.array(cells, dtype=np.bool_)
    if types <= {bool, int}:
        fitting = [_fitting(number) for number in cells]
        return np.array(fitting, dtype=np.float64 if float in map(type, fitting) else np.int64)
    if types <= {bool, int, float}:
        return np.array([_fitting(number) for number in cells] if int in types else cells, dtype=np.float64)
    mixed = np.empty(len(cells), dtype=object)
    mixed[:] = [_fitting(cell) if type(cell) is int else cell for cell in cells]
    return mixed


def _fitting(number: int) -> int | float:
    """An integer that int64 can hold, or else the float nearest to it."""
    if _INT64.min <= number <= _INT64.max:
        return number
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
