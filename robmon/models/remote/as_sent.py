"""Rows for a model that tells no signature: as its own clients sent them.

What most of the sampled rows look like is what the model takes. Named cells become named arrays, an unnamed row one
array. A name is perturbed where any of its values is a floating-point number; integers, truth values and text pass
through as they are. Unnamed rows among named ones get the names, in the order in which clients send them, if all send
them in one order; else nobody knows which cell is which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.models.inputs import split
from robmon.models.signature import Collected, Row, Unsigned


@dataclass(frozen=True)
class AsSent:
    """The signature of a model that tells none.

    Attributes:
        dtype: of rows without names (`model.input_dtype`); None: float64, unless they came as other floating numbers.
        shape: of one such row (`model.input_shape`); None: that of the first.
    """

    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] | None = None

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows. Rejection reasons: `missing_column`, `unnamed_row`, `wrong_shape`, `wrong_type`, `not_finite`.

        Raises:
            InvalidInputError: nothing in the rows can be perturbed.
        """
        usual = _usual([None if row.columns is None else tuple(sorted(row.columns)) for row in rows])
        if usual is not None:
            return _collect_named(rows, usual)
        came_as = _usual([row.tensor.dtype for row in rows if isinstance(row.tensor, np.ndarray)])
        is_floating = came_as is not None and came_as.kind == "f"
        dtype = self.dtype or (came_as if is_floating else np.dtype(np.float64))
        return Unsigned(dtype, self.shape, as_matrix=True).collect(rows)


def _given_names(rows: Sequence[Row], wanted: Sequence[str]) -> dict[int, dict[str, Any]]:
    """The cells of unnamed rows by the names of the others, where these have one order and are as many."""
    alike = [row for row in rows if row.columns is not None and row.columns.keys() == {*wanted}]
    named = [row.columns or {} for row in alike]
    order = [*named[0]]
    single = not any(row.listed for row in alike) and not any(
        isinstance(cell, np.ndarray) for columns in named for cell in columns.values()
    )
    if not single or any([*columns] != order for columns in named):
        return {}
    whole = {name for name in order if all(_is_whole(columns[name]) for columns in named)}
    given = {}
    for index, row in enumerate(rows):
        if row.columns is None and row.tensor is not None and row.tensor.shape == (len(order),):
            cells = zip(order, row.tensor.tolist(), strict=True)
            given[index] = {name: _as_whole(cell) if name in whole else cell for name, cell in cells}
    return given


def _as_whole(cell: Any) -> Any:
    """The cells of one tensor share a type: a whole number beside a fraction came as 3.0, and passes through as 3."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _is_whole(value: Any) -> bool:
    return value is None or (_kind(value) == "number" and np.asarray(value).dtype.kind in "iu")


def _collect_named(rows: Sequence[Row], wanted: Sequence[str]) -> Collected:
    rejected: Counter[str] = Counter()
    given = _given_names(rows, wanted)
    kept = [index for index, row in enumerate(rows) if index in given or _has_all(row, wanted)]
    rejected["unnamed_row"] = sum(row.columns is None for row in rows) - len(given)
    rejected["missing_column"] = len(rows) - len(kept) - rejected["unnamed_row"]
    cells = {index: given[index] if index in given else _cells(rows[index]) for index in kept}
    names = [name for name in cells[kept[0]] if name in wanted]  # in the order in which a client sent them
    for name in names:
        for what, told in (("wrong_type", _kind), ("wrong_shape", _shape)):
            seen = [told(cells[index][name]) for index in kept]
            usual = _usual([each for each in seen if each != _MISSING])
            fitting = [index for index, each in zip(kept, seen, strict=True) if each in (usual, _MISSING)]
            rejected[f"{what} {name}"] = len(kept) - len(fitting)
            kept = fitting
    counts = {reason: count for reason, count in rejected.items() if count}
    return split({name: _stacked([cells[index][name] for index in kept]) for name in names}), kept, counts


def _has_all(row: Row, wanted: Sequence[str]) -> bool:
    return row.columns is not None and row.columns.keys() >= {*wanted}


def _cells(row: Row) -> Mapping[str, Any]:
    """The cells in the shape and type in which they were sent."""
    columns = row.columns or {}
    if row.tensor is not None and len(columns) == 1:
        return dict.fromkeys(columns, row.tensor)
    return {name: _listed(value) for name, value in columns.items()} if row.listed else columns


def _listed(value: Any) -> Any:
    if value is None:
        return None
    return np.array([value], dtype=None if _kind(value) in ("number", "truth") else object)


_MISSING = "missing"


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
    is_floating = any(np.asarray(value).dtype.kind == "f" for value in values) if "number" in kinds else False
    if kinds in ({"number"}, {"truth"}) or (is_floating and kinds == {"number", _MISSING}):
        return np.stack([np.full(shape, np.nan) if value is None else np.asarray(value) for value in values])
    objects = np.empty((len(values), *shape), dtype=object)
    for position, value in enumerate(values):
        objects[position] = value
    return objects
