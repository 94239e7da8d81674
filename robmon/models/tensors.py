"""Models that take tensors: one without a name, or several by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.models.collected import (
    Collected,
    RejectedRowError,
    Row,
    as_dtype,
    cells_of,
    each,
    finish,
    is_raw,
    named,
    refuse_text,
    unnamed,
)


@dataclass(frozen=True)
class TensorSpec:
    """Type and shape of a tensor, whose first axis are the rows; -1 stands for any size."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def convert(self, value: Any, *, reshape: bool) -> NDArray[Any]:
        """One row's tensor; `reshape`: a flat list of the right length will do, as in the cell of a table."""
        wanted = self.shape[1:]
        array = self._of_bytes(value) if is_raw(value) else as_dtype(value, self.dtype)
        if reshape and array.ndim <= 1 and -1 not in wanted and array.size == prod(wanted):
            array = array.reshape(wanted)
        if array.ndim != len(wanted) or any(
            size not in (-1, actual) for size, actual in zip(wanted, array.shape, strict=True)
        ):
            raise RejectedRowError("wrong_shape")
        return array

    def _of_bytes(self, raw: NDArray[Any]) -> NDArray[Any]:
        """A row sent as bytes without any description: this tensor, little endian; at most one size is open."""
        wanted = self.shape[1:]
        try:
            array = np.frombuffer(raw.tobytes(), self.dtype.newbyteorder("<")).reshape(wanted)
        except (ValueError, TypeError):
            raise RejectedRowError("wrong_shape") from None
        return as_dtype(array, self.dtype)


@dataclass(frozen=True)
class Tensor:
    """One unnamed tensor."""

    spec: TensorSpec

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return self.spec.dtype.kind == "f"

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; named cells are taken in their order."""

        def convert(row: Row) -> NDArray[Any]:
            refuse_text(row)
            return self.spec.convert(unnamed(row), reshape=row.columns is not None)

        arrays, kept, rejected = each(rows, convert)
        same = of_one_shape(arrays, kept, rejected)
        return finish(np.stack([arrays[i] for i in same]) if same else None, [kept[i] for i in same], rejected)


@dataclass(frozen=True)
class NamedTensors:
    """Several tensors, or one, by name."""

    specs: dict[str, TensorSpec]

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return any(spec.dtype.kind == "f" for spec in self.specs.values())

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; names come in any order, an unnamed row in the signature's."""

        def convert(row: Row) -> dict[str, NDArray[Any]]:
            refuse_text(row)
            by_name = named(row, self.specs.keys())
            cells = by_name if by_name is not None else self._by_order(row.tensor)
            if missing := self.specs.keys() - cells.keys():
                raise RejectedRowError(f"missing_column {min(missing)}")
            reshape = row.columns is not None
            return {name: spec.convert(cells[name], reshape=reshape) for name, spec in self.specs.items()}

        tensors, kept, rejected = each(rows, convert)
        same = of_one_shape(tensors, kept, rejected)
        inputs = {name: np.stack([tensors[i][name] for i in same]) for name in self.specs} if same else None
        return finish(inputs, [kept[i] for i in same], rejected)

    def _by_order(self, value: Any) -> Mapping[str, Any]:
        if len(self.specs) == 1:
            return dict.fromkeys(self.specs, value)
        return dict(zip(self.specs, cells_of(value, len(self.specs)), strict=True))


def of_one_shape(values: Sequence[Any], kept: Sequence[int], rejected: dict[int, str]) -> list[int]:
    """Positions of the values that have the shape of the first; the others are rejected."""

    def shape(value: Any) -> Any:
        return {name: array.shape for name, array in value.items()} if isinstance(value, dict) else value.shape

    same = [i for i, value in enumerate(values) if shape(value) == shape(values[0])]
    for i in set(range(len(values))) - set(same):
        rejected[kept[i]] = "wrong_shape"
    return same
