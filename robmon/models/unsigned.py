"""A model without a signature: the rows themselves show what it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.models import casting
from robmon.models.collected import (
    Collected,
    RejectedRowError,
    Row,
    as_dtype,
    cells_of,
    each,
    finish,
    is_table,
    unnamed,
)
from robmon.models.tensors import of_one_shape


@dataclass(frozen=True)
class Unsigned:
    """A model without a signature: the first row that can be read shows the shape, or the columns.

    Attributes:
        dtype: type of the inputs.
        shape: of one row, if the settings give it.
        as_matrix: named cells are taken as one array, in their order, and not as a DataFrame.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    as_matrix: bool

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows."""
        if not self.as_matrix and rows and rows[0].columns is not None and is_table(rows[0]):
            return self._collect_columns(rows, rows[0].columns)

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

    def _collect_columns(self, rows: Sequence[Row], first: Mapping[Any, Any]) -> Collected:
        """A DataFrame of the first row's columns: numbers become floating, truth values and text pass through."""
        import pandas as pd

        numbers = {name for name, value in first.items() if _is_number(value)}

        def convert(row: Row) -> dict[Any, Any]:
            cells = row.columns
            if cells is None:
                cells = dict(zip(first, cells_of(row.tensor, len(first)), strict=True))
            if not first.keys() <= cells.keys():
                raise RejectedRowError("missing_column")
            if any(_is_number(cells[name]) != (name in numbers) for name in first if cells[name] is not None):
                raise RejectedRowError("wrong_type")
            return {name: casting.plain(cells[name]) for name in first}

        cells, kept, rejected = each(rows, convert)
        if not cells:
            return finish(None, [], rejected)
        frame = pd.DataFrame(cells, columns=list(first))
        return finish(frame.astype(dict.fromkeys(numbers, self.dtype)), kept, rejected)


def _is_number(value: Any) -> bool:
    """A number, or a missing one; no truth value."""
    return value is None or (isinstance(value, (int, float, np.number)) and not isinstance(value, bool))
