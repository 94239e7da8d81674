"""A model without a signature: the rows themselves show what it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.models.inputs.frame import WholeColumns
from robmon.models.signature import casting
from robmon.models.signature.collected import (
    Collected,
    RejectedRowError,
    Row,
    as_dtype,
    cells_of,
    each,
    finish,
    is_missing,
    is_table,
    shape_words,
    unnamed,
)
from robmon.models.signature.tensors import of_one_shape


@dataclass(frozen=True)
class Unsigned:
    """A model without a signature: the first row that can be read shows the shape, most of them the columns.

    Attributes:
        dtype: type of the inputs.
        shape: of one row, if the settings give it.
        as_matrix: named cells are taken as one array, in their order, and not as a DataFrame.
        fixed_rows: nothing fixes it.
        fractional: names of the columns in which a number has ever been written with a fraction: what is perturbed does
            not change with the sample, which may hold whole numbers only where fractions are rare.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    as_matrix: bool
    fixed_rows: int | None = None
    fractional: set[Any] = field(default_factory=set, compare=False)

    @property
    def takes(self) -> str:
        """The shape of a row, where the settings give it."""
        return "" if self.shape is None else f"rows of shape {shape_words(self.shape)}"

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows."""
        if not self.as_matrix and rows and rows[0].columns is not None and is_table(rows[0]):
            return self._collect_columns(rows)

        def convert(row: Row) -> NDArray[Any]:
            array = as_dtype(unnamed(row), self.dtype)
            if self.shape is not None and array.size == prod(self.shape):
                array = array.reshape(self.shape)
            if self.shape is not None and array.shape != self.shape:
                raise RejectedRowError("wrong_shape")
            return array

        arrays, kept, rejected = each(rows, convert)
        same = of_one_shape(arrays, kept, rejected)
        return finish(np.stack([arrays[i] for i in same]) if same else None, [kept[i] for i in same], rejected)

    def _collect_columns(self, rows: Sequence[Row]) -> Collected:
        """A DataFrame of the columns that most rows have: floating where any number of a column is written so.

        What a column holds is what most of its cells that are not missing hold.
        """
        import pandas as pd

        names = Counter(tuple(row.columns) for row in rows if row.columns is not None and is_table(row)).most_common(1)
        usual = names[0][0]
        tables = [row.columns for row in rows if row.columns is not None and row.columns.keys() >= {*usual}]
        numbers = {name for name in usual if _are_numbers([cells[name] for cells in tables])}

        def convert(row: Row) -> dict[Any, Any]:
            cells = row.columns
            if cells is None:
                cells = dict(zip(usual, cells_of(row.tensor, len(usual)), strict=True))
            if not {*usual} <= cells.keys():
                raise RejectedRowError("missing_column")
            given = {name: None if is_missing(cells[name]) else casting.plain(cells[name]) for name in usual}
            if any(_is_number(cell) != (name in numbers) for name, cell in given.items() if cell is not None):
                raise RejectedRowError("wrong_type")
            return given

        cells, kept, rejected = each(rows, convert)
        if not cells:
            return finish(None, [], rejected)
        if _are_arrays(rows[kept[0]], cells[0]):
            return self._collect_arrays(cells, kept, rejected)
        frame = pd.DataFrame(cells, columns=list(usual))
        present = {name: [row[name] for row in cells if not is_missing(row[name])] for name in numbers}
        self.fractional.update(
            name for name, found in present.items() if any(isinstance(cell, float) for cell in found)
        )
        floating = {name for name, found in present.items() if not found or name in self.fractional}
        # Whole numbers beside a missing one are floating in pandas, and so when the model is served.
        gaps = {name for name in numbers - floating if any(is_missing(row[name]) for row in cells)}
        frame = frame.astype(dict.fromkeys(floating, self.dtype) | dict.fromkeys(gaps, np.dtype(np.float64)))
        return finish(WholeColumns(frame, frozenset(gaps)), kept, rejected)

    def _collect_arrays(
        self, cells: Sequence[Mapping[Any, Any]], kept: Sequence[int], rejected: dict[int, str]
    ) -> Collected:
        """Named arrays, as the server hands `instances` and `inputs` to the model; floating ones are perturbed."""
        arrays = [{str(name): np.asarray(cell) for name, cell in row.items()} for row in cells]
        shapes = [tuple(array.shape for array in row.values()) for row in arrays]
        usual = Counter(shapes).most_common(1)[0][0]
        same = [at for at, shape in enumerate(shapes) if shape == usual]
        rejected |= {kept[at]: "other_shape" for at in set(range(len(shapes))) - set(same)}
        stacked = {name: np.stack([arrays[at][name] for at in same]) for name in arrays[0]}
        tensors = {name: array.astype(self.dtype) if array.dtype.kind == "f" else array
                   for name, array in stacked.items()}  # fmt: skip
        return finish(tensors, [kept[at] for at in same], rejected)


def _are_arrays(row: Row, cells: Mapping[Any, Any]) -> bool:
    """Whether named cells are arrays by name, and no table: of a body of tensors lists are, of a caller arrays."""
    kind = list if row.reading == "tensor" else np.ndarray
    given = cells if row.reading == "tensor" or row.columns is None else row.columns
    return any(isinstance(cell, kind) for cell in given.values())


def _are_numbers(cells: Sequence[Any]) -> bool:
    """Whether most of the cells that are not missing are numbers; also where all are missing."""
    present = [_is_number(cell) for cell in cells if not is_missing(cell)]
    return 2 * sum(present) >= len(present)


def _is_number(value: Any) -> bool:
    """A number, no truth value."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
