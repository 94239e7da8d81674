"""One column of inputs or outputs as drift reads it: numbers, names, or something that is not measured."""

from __future__ import annotations

import datetime
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["number", "name", "datetime", "object", "wide integers", "empty"]
UNMEASURED: Final = frozenset({"datetime", "object", "wide integers"})
"""Kinds of columns of which nothing is measured, which are the reasons why."""
EXACT: Final = 2**53
"""Beyond it floats tell not all whole numbers apart."""
FEW_TO_TELL = 30
"""Rows below which nothing is called an identifier or text."""
_ID = re.compile(r"(^|[_\W])(id|uuid|guid)$|[a-z](Id|ID|UUID)$", re.ASCII)


@dataclass(frozen=True, eq=False)
class Column:
    """Cells of one column.

    Attributes:
        kind: what most of its cells are.
        numbers: shape `(n,)`, NaN where a cell is missing or no number.
        names: shape `(n,)` of objects, None where a cell is missing or no name; None: there are none at all.
        missing: how many cells are.
        declared: whether its owner says that it holds categories, so that however many are names.
    """

    kind: Kind
    numbers: NDArray[np.float64]
    names: NDArray[Any] | None = None
    missing: int = 0
    declared: bool = False

    @property
    def rows(self) -> int:
        """How many cells there are."""
        return len(self.numbers)

    def hashed(self, salt: str) -> Column:
        """The same with hashes in the place of names, of which it can be told only whether they are of several words.

        >>> column_of(np.array(["red", None], dtype=object)).hashed("a1").present_names
        ['#5f5c15db2c4bffd3']
        """
        if self.names is None:
            return self
        told = {name: _hash(name, salt) for name in set(self.present_names)}
        names = np.array([told.get(name) for name in self.names.tolist()], dtype=object)
        return replace(self, names=names)

    @property
    def present_names(self) -> list[str]:
        """The cells that are names."""
        return [] if self.names is None else [name for name in self.names.tolist() if name is not None]


def column_of(values: Any, declared: bool = False) -> Column:
    """A column of an array, or of a DataFrame.

    Truth values and decimals are numbers, 0 and 1 the former. Numbers among Python objects are numbers too: JSON with
    one null gives such columns. Categories are names, whatever they are.

    Args:
        values: shape `(n,)`: a NumPy array or a pandas Series.
        declared: whether its cells are categories whatever they are, as classes are.

    >>> column_of(np.array([None, 1, 2.5], dtype=object)).kind, column_of(np.array(["a", None], dtype=object)).kind
    ('number', 'name')
    """
    dtype = values.dtype
    declared = declared or getattr(dtype, "name", "") == "category"
    kind = getattr(dtype, "kind", "O")
    if kind == "M" or getattr(dtype, "tz", None) is not None:
        return _nothing("datetime", values)
    if kind in "mc":
        return _nothing("object", values)
    if kind in "fiub" and not declared:
        cells = _as_float64(values)
        if kind in "iu" and _are_merged(values, cells):
            return _nothing("wide integers", values)
        return Column("number", cells, missing=int(np.isnan(cells).sum()))
    return _of_objects(values.tolist(), declared)


def _hash(name: str, salt: str) -> str:
    key, text = salt.encode(), name.encode(errors="surrogatepass")
    spaced = " " if any(c.isspace() for c in name.strip()) else ""
    return f"#{spaced}{blake2b(text, digest_size=8, key=key, person=b'robmon').hexdigest()}"


def is_identifier(name: str, column: Column) -> bool | None:
    """Whether a column of numbers counts rows, or names them: no two alike, and in order, dense, or called an id.

    None where it has too few cells to tell.
    """
    values = column.numbers[np.isfinite(column.numbers)]
    if len(values) < 2:
        return None
    if np.any(values != np.floor(values)) or len(np.unique(values)) < len(values):
        return False
    if len(values) < FEW_TO_TELL:
        return None
    steps = np.diff(values)
    is_dense = float(values.max() - values.min()) < 2 * len(values)
    return bool(np.all(steps > 0) or np.all(steps < 0) or is_dense or _ID.search(name))


def _of_objects(cells: Sequence[Any], declared: bool) -> Column:
    values, names = np.full(len(cells), np.nan), np.full(len(cells), None, dtype=object)
    counts = dict.fromkeys(("number", "name", "datetime", "object"), 0)
    missing = 0
    for index, cell in enumerate(cells):
        if _is_missing(cell):
            missing += 1
            continue
        kind = "name" if declared else _kind_of(cell)
        counts[kind] += 1
        if kind == "number":
            values[index] = _number(cell)
        elif kind == "name":
            names[index] = cell if isinstance(cell, str) else name_of(cell)
    kind = max(counts, key=lambda each: counts[each]) if missing < len(cells) else "empty"
    return Column(kind, values, names if counts["name"] else None, missing, declared)  # type: ignore[arg-type]


def name_of(cell: Any) -> str:
    """A category as text: 3 and 3.0 are one.

    >>> name_of(3.0), name_of(True), name_of(b"a")
    ('3', 'True', 'a')
    """
    if isinstance(cell, bytes):
        return cell.decode(errors="replace")
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _kind_of(cell: Any) -> str:
    if isinstance(cell, (str, bytes)):
        return "name"
    if isinstance(cell, (numbers.Real, Decimal, np.bool_)):
        return "number"
    return "datetime" if isinstance(cell, (datetime.date, datetime.datetime, np.datetime64)) else "object"


def _is_missing(cell: Any) -> bool:
    """None, NaN, pandas' NA and NaT: none of them is equal to itself, or says whether it is."""
    if cell is None:
        return True
    try:
        return bool(cell != cell)
    except (TypeError, ValueError, ArithmeticError):  # pandas' NA, an array, a signalling NaN
        return type(cell).__name__ in ("NAType", "Decimal")


def _number(cell: Any) -> float:
    """A number, infinite where a float cannot hold it."""
    try:
        return float(cell)
    except OverflowError:
        return np.inf if cell > 0 else -np.inf


def _as_float64(values: Any) -> NDArray[np.float64]:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))


def _are_merged(values: Any, cells: NDArray[np.float64]) -> bool:
    """Whether whole numbers that differ are one as floats, such as keys of 64 bits that were counted up."""
    known = cells[~np.isnan(cells)]
    if not len(known) or np.abs(known).max() <= EXACT:
        return False
    distinct = values.unique() if hasattr(values, "unique") else np.unique(values)
    return len(np.unique(known)) + int(len(known) < len(cells)) < len(distinct)


def _nothing(kind: Kind, values: Any) -> Column:
    return Column(kind, np.full(len(values), np.nan))
