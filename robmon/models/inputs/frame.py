"""Inputs that are a DataFrame: which of its columns are perturbed, and how it is made again."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.models.inputs.layout import AnyArray, FloatArray
from robmon.models.inputs.left_alone import LeftAlone, nothing_perturbed
from robmon.models.inputs.measurements import as_numbers, check_names
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.robustness.arrays import default_batch_rows
from robmon.robustness.features.whole_numbers import Whole
from robmon.vocabulary import ALL_INTEGERS

if TYPE_CHECKING:
    import pandas as pd

FRAME_ROWS: Final = 16384
"""Most rows of a batch of DataFrames: what a call of a model that takes them costs whatever its size, some
milliseconds, is most of it before."""

CELLS_READ: Final = 200
"""Of a column of text, by which it is told whether it is text."""
AMONG_TEXT: Final = "numbers {} text: as floats, NaN where there is none, they are perturbed"


@dataclass(frozen=True)
class WholeColumns:
    """A DataFrame of which some columns hold whole numbers, whatever their dtype, as those with a missing cell do.

    Others hold text, though all of it may look like numbers.
    """

    frame: Any
    names: frozenset[Any]
    texts: frozenset[Any] = frozenset()


@dataclass(frozen=True)
class Columns:
    """A DataFrame: some columns are perturbed and get their own dtype back, the others pass through.

    Attributes:
        perturbed: names of the perturbed columns.
        dtypes: their dtypes (of Python objects `Decimal`, `int` or `float`), each with the positions of the perturbed
            columns that have it.
        others: the columns that pass through, with a RangeIndex.
        order: positions in (perturbed by dtype, others) that give the columns in their first order; None where they do.
    """

    perturbed: pd.Index[Any]
    dtypes: tuple[tuple[Any, NDArray[np.intp]], ...]
    others: pd.DataFrame
    order: NDArray[np.intp] | None

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(map(str, self.perturbed.tolist()))

    def batch_rows(self, array: FloatArray) -> int | None:
        return default_batch_rows((len(array), array.shape[1] + self.others.shape[1]), FRAME_ROWS)

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        is_half = np.zeros(array.shape[1], dtype=np.bool_)
        for dtype, positions in self.dtypes:
            is_half[positions] = dtype == np.float16
        return is_half

    def passed(self) -> dict[str, Any]:
        others = self.others
        return {str(title): others.iloc[:, position] for position, title in enumerate(others.columns)}

    @cached_property
    def _names(self) -> list[pd.Index[Any]]:
        """Names of the perturbed columns of each dtype."""
        return [self.perturbed] if len(self.dtypes) == 1 else [self.perturbed[at] for _, at in self.dtypes]

    def assemble(self, array: Any, rows: slice) -> pd.DataFrame:
        """A frame of its own at every call, over values that nobody else has: the model may keep it, or write into it.

        What passes through is shared, or copied where pandas does not copy on write.
        """
        import pandas as pd

        values, index = np.asarray(array), pd.RangeIndex(len(array))
        others = self.others if len(self.others) == len(values) else self.others.iloc[rows].set_axis(index)
        parts = []
        for names, (dtype, positions) in zip(self._names, self.dtypes, strict=True):
            of_dtype = values if len(self.dtypes) == 1 else values[:, positions]
            part = pd.DataFrame(of_dtype, columns=names.view(), index=index, copy=False)
            parts.append(part if dtype == values.dtype else _as_dtype(part, dtype))
        if others.shape[1] == 0 and len(parts) == 1:
            return parts[0]
        frame = pd.concat([*parts, others], axis=1)
        return frame if self.order is None else frame.iloc[:, self.order]

    def take(self, indices: AnyArray) -> Columns:
        return Columns(self.perturbed, self.dtypes, self.others.iloc[indices].reset_index(drop=True), self.order)

    def resident(self, put: Callable[[AnyArray], Any]) -> Columns:
        return self

    def drawn(self, rows: int, cells: Mapping[str, Sequence[Any]]) -> Columns:
        import pandas as pd

        columns = {
            position: _drawn_column(self.others.iloc[:, position], rows, cells.get(str(name)))
            for position, name in enumerate(self.others.columns.tolist())
        }
        others = pd.DataFrame(columns, index=pd.RangeIndex(rows)).set_axis(self.others.columns, axis=1)
        return Columns(self.perturbed, self.dtypes, others, self.order)


def _drawn_column(column: pd.Series[Any], rows: int, cells: Sequence[Any] | None) -> pd.Series[Any]:
    """Cells of a column's dtype: those given, or as many neutral ones."""
    import pandas as pd

    types, dtype = pd.api.types, column.dtype
    if cells is not None:
        is_whole = types.is_integer_dtype(dtype) or types.is_bool_dtype(dtype)
        return pd.Series([round(cell) if is_whole else cell for cell in cells]).astype(dtype)
    is_text = types.is_string_dtype(dtype) and all(isinstance(cell, str) for cell in column[column.notna()].tolist())
    for is_of, neutral in ((types.is_bool_dtype(dtype), False), (types.is_numeric_dtype(dtype), 0), (is_text, "")):
        if is_of:
            return pd.Series([neutral] * rows, dtype=dtype)
    if types.is_datetime64_any_dtype(dtype):
        return pd.Series([pd.Timestamp(0, tz=getattr(dtype, "tz", None))] * rows, dtype=dtype)
    raise InvalidInputError(f"nothing neutral is known for column {column.name}, which holds {dtype}")


def _as_dtype(part: pd.DataFrame, dtype: Any) -> pd.DataFrame:
    """The columns in a dtype of pandas, or as Python objects of a type."""
    if not isinstance(dtype, type):
        return part.astype(dtype)
    make = (lambda cell: Decimal(repr(cell))) if dtype is Decimal else dtype
    objects = {
        position: [None if cell != cell else make(cell) for cell in part.iloc[:, position].tolist()]
        for position in range(part.shape[1])
    }
    return type(part)(objects, index=part.index, dtype=object).set_axis(part.columns, axis=1)


@dataclass(frozen=True)
class _Kind:
    """What a column of a DataFrame holds."""

    kind: str
    dtype: Any
    is_number: bool = False
    is_whole: bool = False


def _kind_of(frame: pd.DataFrame, position: int, dtype: Any, is_known_whole: bool) -> _Kind:
    import pandas as pd

    if pd.api.types.is_float_dtype(dtype):
        return _Kind("whole numbers" if is_known_whole else str(dtype), dtype, True, is_known_whole)
    if pd.api.types.is_integer_dtype(dtype):
        return _Kind(str(dtype), dtype, True, True)
    if pd.api.types.is_object_dtype(dtype):
        return _kind_of_objects(frame.iloc[:, position])
    return _Kind(_text(frame.iloc[:, position]) if pd.api.types.is_string_dtype(dtype) else str(dtype), dtype)


def _text(column: Any) -> str:
    """A column of texts, or of texts and numbers, in words: fractions written as text, or beside it, are no text."""
    cells = column.head(CELLS_READ)
    cells = cells[cells.notna()].tolist()
    is_mixed = any(isinstance(cell, float) for cell in cells)
    if 2 * sum(map(_is_fraction, cells)) > len(cells):
        return AMONG_TEXT.format("among" if is_mixed else "written as")
    return "object" if is_mixed else "text"


def _is_fraction(cell: Any) -> bool:
    if isinstance(cell, float):
        return True
    try:
        return isinstance(cell, str) and "." in cell and math.isfinite(float(cell))
    except ValueError:
        return False


def _kind_of_objects(column: Any) -> _Kind:
    cells = column[column.notna()].tolist()
    if cells and all(isinstance(cell, Decimal) for cell in cells):
        is_whole = all(cell == cell.to_integral_value() for cell in cells if cell.is_finite())
        return _Kind("decimal", Decimal, True, is_whole)
    if cells and all(isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool) for cell in cells):
        is_whole = not any(isinstance(cell, (float, np.floating)) for cell in cells)
        return _Kind("object", int if is_whole else float, True, is_whole)
    is_text = all(isinstance(cell, (str, float)) for cell in cells) and any(isinstance(cell, str) for cell in cells)
    return _Kind(_text(column) if is_text or not cells else "object", column.dtype)


def split_frame(
    frame: pd.DataFrame,
    integers: Sequence[str],
    known_whole: Collection[Any] = frozenset(),
    texts: Collection[Any] = frozenset(),
) -> ModelInputs:
    """A DataFrame taken apart, see `split`.

    Args:
        frame: it.
        integers: names of columns of whole numbers that are measurements.
        known_whole: columns of floats that hold whole numbers.
        texts: columns that hold text, though all of it may look like numbers.
    """
    titles = frame.columns.tolist()
    kinds = [
        _Kind("text", None, False, False) if title in texts else _kind_of(frame, position, dtype, title in known_whole)
        for position, (title, dtype) in enumerate(zip(titles, frame.dtypes.tolist(), strict=True))
    ]
    names = [str(title) for title in titles]
    check_names(integers, {name: kind.is_number for name, kind in zip(names, kinds, strict=True)})
    wanted = [
        kind.is_number and (not kind.is_whole or ALL_INTEGERS in integers or name in integers)
        for name, kind in zip(names, kinds, strict=True)
    ]
    left = tuple(
        LeftAlone(name, kind.kind, kind.is_whole)
        for name, kind, is_wanted in zip(names, kinds, wanted, strict=True)
        if not is_wanted
    )
    if not any(wanted):
        raise nothing_perturbed("column", left, len(frame))
    perturbed, passed = np.flatnonzero(wanted), np.flatnonzero(~np.array(wanted))
    dtypes: dict[Any, list[int]] = {}
    for position, index in enumerate(perturbed):
        dtypes.setdefault(kinds[index].dtype, []).append(position)
    groups = tuple((dtype, np.array(positions, dtype=np.intp)) for dtype, positions in dtypes.items())
    assembled = np.concatenate([*(perturbed[positions] for _, positions in groups), passed])
    order = np.argsort(assembled)
    layout = Columns(
        perturbed=frame.columns[perturbed],
        dtypes=groups,
        others=frame.iloc[:, passed].reset_index(drop=True),
        order=None if np.array_equal(order, np.arange(len(order))) else order,
    )
    for index in perturbed:
        if kinds[index].is_whole:
            as_numbers(_present(frame.iloc[:, int(index)]), f"column {names[index]}")
    array = _numbers(frame.iloc[:, perturbed])
    whole = Whole.of_columns([kinds[index].dtype if kinds[index].is_whole else None for index in perturbed])
    return ModelInputs(array, layout, left, whole)


def _numbers(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Columns of numbers, of whichever dtypes, in memory of their own."""
    if all(isinstance(dtype, np.dtype) and dtype.kind == "f" for dtype in frame.dtypes):
        return np.array(frame.to_numpy(dtype=np.float64), order="C")
    columns = (frame.iloc[:, position] for position in range(frame.shape[1]))
    return np.column_stack([column.to_numpy(dtype=np.float64, na_value=np.nan) for column in columns])


def _present(column: Any) -> AnyArray:
    return np.array([int(cell) for cell in column[column.notna()].tolist()], dtype=object)
