"""Rows for a model that tells no signature: as its own clients sent them.

What most of the sampled rows look like is what the model takes, so that no odd request decides for the others. Named
cells become named arrays, an unnamed row one array. A name is perturbed where any of its values is a floating-point
number; integers, truth values and text pass through as they are. A cell in a list of its own, as in a tensor of shape
(rows, 1), is the cell of a column where the others stand alone. Unnamed rows among named ones get the names, in the
order in which clients send them, if nearly all send them in one order; else nobody knows which cell is which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.models.signature.collected import Collected, Row, finish
from robmon.models.signature.unsigned import Unsigned

SAME_ORDER_SHARE: Final = 0.9
"""Of the named rows, to take their order for the model's. Cells under wrong names would be worse than fewer rows."""


@dataclass(frozen=True)
class AsSent:
    """The signature of a model that tells none.

    Attributes:
        dtype: of rows without names (`model.input_dtype`); None: float64, unless they came as other floating numbers.
        shape: of one such row (`model.input_shape`); None: that of the first.
    """

    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] | None = None
    fixed_rows = None
    takes = ""

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows. Rejection reasons: `missing_column`, `unnamed_row`, `wrong_shape`, `wrong_type`,
        `other_shape`.

        Raises:
            InvalidInputError: nothing in the rows can be perturbed.
        """
        usual = _usual([_columns(row) if row.tensor is None else None for row in rows])
        if usual is None:  # one array a row, whose name V2's clients tell
            usual = _usual([_columns(row) for row in rows if row.tensor is not None])
        if usual is not None:
            return _collect_named(rows, usual)
        came_as = _usual([row.tensor.dtype for row in rows if isinstance(row.tensor, np.ndarray)])
        is_floating = came_as is not None and came_as.kind == "f"
        dtype = self.dtype or (came_as if is_floating else np.dtype(np.float64))
        return Unsigned(dtype, self.shape, as_matrix=True).collect(rows)


def _columns(row: Row) -> tuple[str, ...] | None:
    """The names of a row's cells; numbered columns have none."""
    if row.columns is None or not all(isinstance(name, str) for name in row.columns):
        return None
    return tuple(sorted(row.columns))


def _collect_named(rows: Sequence[Row], names: Sequence[str]) -> Collected:
    wanted = frozenset(names)
    named = {index: _cells(row, wanted) for index, row in enumerate(rows) if _has_all(row, wanted)}
    unnamed = {index: row.tensor for index, row in enumerate(rows) if index not in named and row.tensor is not None}
    cells = _in_one_shape(named, named | _given_names(unnamed, list(named.values())))
    rejected = {index: "unnamed_row" if index in unnamed else "missing_column"
                for index in range(len(rows)) if index not in cells}  # fmt: skip
    kept = sorted(cells)
    names = list(cells[kept[0]])  # in the order in which a client sent them
    for name in names:
        _mark_missing(cells, name)
        for what, told in (("wrong_type", _kind), ("other_shape", _shape)):
            seen = [told(cells[index][name]) for index in kept]
            usual = _usual([each for each in seen if each != _MISSING])
            fitting = [index for index, each in zip(kept, seen, strict=True) if each in (usual, _MISSING)]
            rejected |= dict.fromkeys(set(kept) - set(fitting), f"{what} {name}")
            kept = fitting
    return finish({name: _stacked([cells[index][name] for index in kept]) for name in names}, kept, rejected)


def _mark_missing(cells: Mapping[int, dict[str, Any]], name: str) -> None:
    """None for NaN in a column of no numbers, such as text: readers of tables mark missing cells of all types so."""
    kinds = {_kind(row[name]) for row in cells.values() if not _is_nan(row[name])}
    if "number" not in kinds:
        for row in cells.values():
            row[name] = None if _is_nan(row[name]) else row[name]


def _is_nan(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _has_all(row: Row, wanted: Set[str]) -> bool:
    return row.columns is not None and row.columns.keys() >= wanted


def _cells(row: Row, wanted: Set[str]) -> dict[str, Any]:
    """The wanted cells in the shape and type in which they were sent."""
    columns = row.columns or {}
    if row.tensor is not None and len(columns) == 1:
        return dict.fromkeys(columns, row.tensor)
    return {name: _listed(value) if row.listed else value for name, value in columns.items() if name in wanted}


def _listed(value: Any) -> Any:
    if value is None:
        return None
    return np.array([value], dtype=None if _kind(value) in ("number", "truth") else object)


def _given_names(unnamed: Mapping[int, Any], named: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The cells of unnamed rows by the names of the others, where these have one order and are as many."""
    if len(named[0]) == 1:
        return {index: dict.fromkeys(named[0], tensor) for index, tensor in unnamed.items()}
    tables = [cells for cells in named if all(_shape(cell) in (_MISSING, *_SINGLE) for cell in cells.values())]
    if 2 * len(tables) <= len(named):
        return {}
    order, times = Counter(map(tuple, tables)).most_common(1)[0]
    if times < SAME_ORDER_SHARE * len(tables):
        return {}
    whole = {name for name in order if not any(_is_floating(cells[name]) for cells in tables)}
    given = {}
    for index, tensor in unnamed.items():
        if tensor.shape == (len(order),):
            cells = zip(order, tensor.tolist(), strict=True)
            given[index] = {name: _as_whole(cell) if name in whole else cell for name, cell in cells}
    return given


def _as_whole(cell: Any) -> Any:
    """The cells of one tensor share a type: a whole number beside a fraction came as 3.0, and passes through as 3."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _is_floating(value: Any) -> bool:
    return _kind(value) == "number" and np.asarray(value).dtype.kind == "f"


def _in_one_shape(
    named: Mapping[int, Mapping[str, Any]], cells: Mapping[int, Mapping[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Single cells in lists of their own, or out of them, as most of the named rows have those of that name."""
    names = next(iter(named.values()))
    columns = {name: [row[name] for row in named.values() if row[name] is not None] for name in names}
    shapes = {name: _usual(list(map(_shape, column))) for name, column in columns.items()}
    return {index: {name: _shaped(value, shapes[name]) for name, value in row.items()} for index, row in cells.items()}


def _shaped(value: Any, shape: Any) -> Any:
    """A single cell in the shape of single cells; anything else as it is."""
    if shape == _shape(value) or not {shape, _shape(value)} <= {*_SINGLE}:
        return value
    return _listed(value) if shape else value[0]


_MISSING = "missing"
_SINGLE: Final[tuple[tuple[int, ...], ...]] = ((), (1,))
"""Shapes of a cell alone, and in a list of its own."""


def _usual(seen: Sequence[Any]) -> Any:
    """What is seen most often, the first of those that are seen alike; None where there is nothing."""
    return Counter(seen).most_common(1)[0][0] if seen else None


def _kind(value: Any) -> str:
    if value is None:
        return _MISSING
    if isinstance(value, np.ndarray):
        return {"f": "number", "i": "number", "u": "number", "b": "truth"}.get(value.dtype.kind, "other")
    if isinstance(value, (bool, np.bool_)):
        return "truth"
    return "number" if isinstance(value, (int, float, np.number)) else "other"


def _shape(value: Any) -> Any:
    if value is None:
        return _MISSING
    return value.shape if isinstance(value, np.ndarray) else ()


def _stacked(values: Sequence[Any]) -> NDArray[Any]:
    """One array of a name's values: floating where any of them is, missing ones as NaN; else as they are."""
    kinds = set(map(_kind, values))
    shape = next((_shape(value) for value in values if value is not None), ())
    is_floating = any(_is_floating(value) for value in values)
    if kinds in ({"number"}, {"truth"}) or (is_floating and kinds == {"number", _MISSING}):
        return np.stack([np.full(shape, np.nan) if value is None else np.asarray(value) for value in values])
    objects = np.empty((len(values), *shape), dtype=object)
    for position, value in enumerate(values):
        objects[position] = value
    return objects
