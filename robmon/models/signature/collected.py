"""Rows of requests on their way to what a model takes, and what signatures of all kinds share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.inputs.split import split_as_found
from robmon.robustness.sentences import some_of

Value = TypeVar("Value")

MISSING_TOLD: Final = 40


class Row(Protocol):
    """One decoded row: named cells, or one unnamed row (a scalar, a nested list or an array without the row axis).

    A row with both may be taken either way. An unnamed row of void type are the bytes of a tensor.
    """

    @property
    def columns(self) -> Mapping[Any, Any] | None:
        """Cells by name, which is an integer where a table's columns are numbered."""

    @property
    def tensor(self) -> Any | None:
        """The unnamed row."""

    @property
    def reading(self) -> str:
        """How the server makes the signature's types of the cells: a key of `casting.CASTS`."""

    @property
    def texts(self) -> Mapping[str, str] | None:
        """The cells as written, of CSV."""

    @property
    def listed(self) -> bool:
        """Whether each cell stood in a list of its own."""


class Misfits(dict[str, int]):
    """The number of rejected rows by reason.

    Attributes:
        by_row: the reason of each of them, by its index.
    """

    def __init__(self, by_row: Mapping[int, str]) -> None:
        self.by_row = dict(sorted(by_row.items()))
        super().__init__(Counter(self.by_row.values()))


Collected = tuple[ModelInputs | None, list[int], Misfits]
"""Model inputs (None where no row fits), the indices of the rows in them, and why the others are not."""


class RejectedRowError(Exception):
    """One row does not fit."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def missing_columns(names: Collection[Any]) -> RejectedRowError:
    """A row lacks these columns, of which the first forty are named.

    >>> print(missing_columns(["age", "income"]))
    missing_column age, income
    """
    return RejectedRowError(f"missing_column {some_of(names, MISSING_TOLD)}")


def shape_words(shape: Sequence[int]) -> str:
    """A shape as people write it, -1 as any size.

    >>> shape_words((3, -1)), shape_words((8,)), shape_words(())
    ('(3, any)', '(8)', '()')
    """
    return f"({', '.join('any' if size == -1 else str(size) for size in shape)})"


def each(rows: Sequence[Row], convert: Callable[[Row], Value]) -> tuple[list[Value], list[int], dict[int, str]]:
    """Convert every row: what came of those that fit, their indices, and the reasons of the others by index."""
    values: list[Value] = []
    kept: list[int] = []
    rejected: dict[int, str] = {}
    for index, row in enumerate(rows):
        try:
            values.append(convert(row))
        except RejectedRowError as error:
            rejected[index] = error.reason
        else:
            kept.append(index)
    return values, kept, rejected


def finish(inputs: Any, kept: list[int], rejected: Mapping[int, str]) -> Collected:
    """What is collected: inputs as `split` takes them (there may be nothing to perturb), or None where no row fits."""
    return (None, [], Misfits(rejected)) if inputs is None else (split_as_found(inputs), kept, Misfits(rejected))


def is_table(row: Row) -> bool:
    """Whether the server hands a row to the model as a table's, whatever other form it has."""
    return row.tensor is None or (row.columns is not None and row.reading in ("frame", "table"))


def is_missing(cell: Any) -> bool:
    """Whether a cell holds no value: null, or NaN."""
    return cell is None or (isinstance(cell, (float, np.floating)) and bool(np.isnan(cell)))


def refuse_text(row: Row) -> None:
    """The server reads CSV for models of columns only."""
    if row.reading == "text":
        raise RejectedRowError("wrong_type")


def named(row: Row, names: Collection[Any]) -> dict[str, Any] | None:
    """The cells of a row that is to be taken by name: one that has no other form, or whose names are the model's.

    A number that is a name is one like its digits.
    """
    if row.columns is None:
        return None
    columns = {str(name): cell for name, cell in row.columns.items()}
    return columns if row.tensor is None or columns.keys() >= set(map(str, names)) else None


def unnamed(row: Row) -> Any:
    """A row without its names: of named cells the only one as it is, several side by side."""
    if row.tensor is not None or row.columns is None:
        return row.tensor
    values = list(row.columns.values())
    return values[0] if len(values) == 1 else values


def is_raw(value: Any) -> bool:
    """Whether this are the bytes of a tensor whose type only the model knows."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "V"


@np.errstate(over="ignore", invalid="ignore")
def as_dtype(value: Any, dtype: np.dtype[Any], *, is_checked: bool = False) -> NDArray[Any]:
    """A row as an array; NaN, infinities, and None among numbers are taken as the server's NumPy takes them.

    Args:
        value: the row.
        dtype: of the array.
        is_checked: whether a number that a type of whole numbers does not hold, such as a fraction, is refused, as
            MLflow's check of the signature does; its server cuts those that come as JSON.
    """
    if is_raw(value):
        raise RejectedRowError("wrong_type")
    try:
        with np.errstate(invalid="ignore"):
            array = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise RejectedRowError("wrong_type") from None
    if is_checked and dtype.kind in "iu" and not np.array_equal(array, np.asarray(value)):
        raise RejectedRowError("wrong_type")
    return array


def is_checked(row: Row) -> bool:
    """Whether nothing casts the row before the signature is checked, as a server does with JSON."""
    return row.reading in ("table", "typed")


def cells_of(value: Any, count: int) -> list[Any]:
    """An unnamed row as `count` cells."""
    if is_raw(value):
        raise RejectedRowError("wrong_type")
    cells = value.tolist() if isinstance(value, np.ndarray) else value
    cells = list(cells) if isinstance(cells, (list, tuple)) else [cells]
    if len(cells) != count:
        raise RejectedRowError("wrong_shape")
    return cells
