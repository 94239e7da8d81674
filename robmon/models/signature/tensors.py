"""Models that take tensors: one without a name, or several by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robmon.models.signature.collected import (
    Collected,
    RejectedRowError,
    Row,
    as_dtype,
    cells_of,
    each,
    finish,
    is_checked,
    is_raw,
    missing_columns,
    named,
    refuse_text,
    shape_words,
    unnamed,
)
from robmon.models.signature.forms import Cut, Forms

ONLY: Final = ""
"""Name of a tensor that has none."""
USUAL_SHARE: Final = 0.9
"""Of the rows of one shape, from which on the others are odd ones, and sizes do not vary."""
MAX_PADDED_CELLS: Final = 2**22
MAX_PADDED_RATIO: Final = 8
"""Most cells of rows that are all as large as the largest, and how many times those that they hold."""


@dataclass(frozen=True)
class TensorSpec:
    """Type and shape of a tensor, whose first axis are the rows; -1 stands for any size."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def convert(self, value: Any, *, reshape: bool, is_checked: bool = False) -> NDArray[Any]:
        """One row's tensor.

        Args:
            value: what the row holds.
            reshape: whether a flat list of the right length will do, as in the cell of a table.
            is_checked: see `as_dtype`.
        """
        wanted = self.shape[1:]
        array = self._of_bytes(value) if is_raw(value) else as_dtype(value, self.dtype, is_checked=is_checked)
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
    """One unnamed tensor; every call may have a fixed number of rows."""

    spec: TensorSpec
    fixed_rows: int | None = None

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return self.spec.dtype.kind == "f"

    @property
    def takes(self) -> str:
        """The shape of a row."""
        return f"rows of shape {shape_words(self.spec.shape[1:])}"

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; named cells are taken in their order."""

        def convert(row: Row) -> NDArray[Any]:
            refuse_text(row)
            return self.spec.convert(unnamed(row), reshape=row.columns is not None, is_checked=is_checked(row))

        arrays, kept, rejected = each(rows, convert)
        return _gathered([{ONLY: array} for array in arrays], kept, rejected, {ONLY: self.spec})


@dataclass(frozen=True)
class NamedTensors:
    """Several tensors, or one, by name; every call may have a fixed number of rows."""

    specs: dict[str, TensorSpec]
    fixed_rows: int | None = None

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return any(spec.dtype.kind == "f" for spec in self.specs.values())

    @property
    def takes(self) -> str:
        """The tensors of a row."""
        return ", ".join(f"{name} of shape {shape_words(spec.shape[1:])}" for name, spec in self.specs.items())

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; names come in any order, an unnamed row in the signature's."""

        def convert(row: Row) -> dict[str, NDArray[Any]]:
            refuse_text(row)
            by_name = named(row, self.specs.keys())
            cells = by_name if by_name is not None else self._by_order(row.tensor)
            if missing := [name for name in self.specs if name not in cells]:
                raise missing_columns(missing)
            reshape = row.columns is not None
            checked = is_checked(row)
            return {
                name: spec.convert(cells[name], reshape=reshape, is_checked=checked)
                for name, spec in self.specs.items()
            }

        tensors, kept, rejected = each(rows, convert)
        return _gathered(tensors, kept, rejected, self.specs)

    def _by_order(self, value: Any) -> Mapping[str, Any]:
        if len(self.specs) == 1:
            return dict.fromkeys(self.specs, value)
        return dict(zip(self.specs, cells_of(value, len(self.specs)), strict=True))


Shapes: TypeAlias = tuple[tuple[int, ...], ...]
"""Of the tensors of one row, in the order of their names."""


def _gathered(
    tensors: list[dict[str, NDArray[Any]]],
    kept: Sequence[int],
    rejected: dict[int, str],
    specs: Mapping[str, TensorSpec],
) -> Collected:
    """Rows of tensors together: stacked where they have one shape, else in groups of one shape each."""
    shapes = [tuple(row[name].shape for name in specs) for row in tensors]
    usual, times = Counter(shapes).most_common(1)[0] if shapes else ((), 0)
    if times >= USUAL_SHARE * len(shapes) or not _fits_into_memory(shapes):
        same = [at for at, shape in enumerate(shapes) if shape == usual]
        rejected |= {kept[at]: "other_shape" for at in set(range(len(shapes))) - set(same)}
        stacked = {name: np.stack([tensors[at][name] for at in same]) for name in specs} if same else None
        return finish(_only(stacked), [kept[at] for at in same], rejected)
    lone = [name for name, spec in specs.items() if spec.shape[1:] and set(spec.shape[1:]) == {-1}]
    padded = {name: _padded([row[name] for row in tensors], name in lone) for name in specs}
    inputs, indices, counts = finish(_only(padded), list(kept), rejected)

    def cut_of(shapes: Shapes) -> Cut:
        return lambda batch, at: _cut(batch, at, dict(zip(specs, shapes, strict=True)), lone)

    forms = Forms.of(shapes, cut_of)
    return None if inputs is None else inputs.rebuilt(forms, _fixed_axis(specs, lone)), indices, counts


def _fixed_axis(specs: Mapping[str, TensorSpec], lone: Sequence[str]) -> int | None:
    """The only axis of fixed size of the only tensor that is perturbed, where there is just one of either."""
    perturbed = [(name, spec) for name, spec in specs.items() if spec.dtype.kind == "f"]
    if len(perturbed) != 1:
        return None
    name, spec = perturbed[0]
    fixed = [len(spec.shape)] if name in lone else [at for at, size in enumerate(spec.shape) if at and size != -1]
    return fixed[0] if len(fixed) == 1 else None


def _only(tensors: dict[str, NDArray[Any]] | None) -> Any:
    """The tensor without a name, where it is the only one."""
    return tensors[ONLY] if tensors is not None and ONLY in tensors else tensors


def _fits_into_memory(shapes: Sequence[Shapes]) -> bool:
    """Whether all rows may take the room of the largest."""
    cells = sum(prod(shape) for row in shapes for shape in row)
    widest = sum(prod(map(max, zip(*each, strict=True))) for each in zip(*shapes, strict=True))
    return bool(len(shapes) * widest <= max(MAX_PADDED_CELLS, MAX_PADDED_RATIO * cells))


def _padded(arrays: Sequence[NDArray[Any]], lone: bool) -> NDArray[Any]:
    """Arrays of different shapes as one, with NaN, or zeros that nobody reads, where one is shorter than others.

    A row of which no size is fixed gets an axis of one feature, so that all its places share a scale.
    """
    widest = tuple(map(max, zip(*(array.shape for array in arrays), strict=True)))
    dtype = np.result_type(*(array.dtype for array in arrays))
    result = np.full((len(arrays), *widest), np.nan if dtype.kind == "f" else np.zeros((), dtype)[()], dtype=dtype)
    for row, array in zip(result, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return result[..., None] if lone else result


def _cut(batch: Any, at: NDArray[np.intp], shapes: Mapping[str, tuple[int, ...]], lone: Sequence[str]) -> Any:
    """Rows of a padded batch, NumPy or torch, in a shape of their own."""
    tensors = batch if isinstance(batch, Mapping) else {ONLY: batch}
    result = {}
    for name, tensor in tensors.items():
        part = tensor[at][(slice(None), *map(slice, shapes[name]))]
        part = part[..., 0] if name in lone else part
        result[name] = part.contiguous() if hasattr(part, "contiguous") else np.ascontiguousarray(part)
    return _only(result)


def of_one_shape(arrays: Sequence[NDArray[Any]], kept: Sequence[int], rejected: dict[int, str]) -> list[int]:
    """Positions of the arrays that have the shape of most; the others are rejected."""
    usual = Counter(array.shape for array in arrays).most_common(1)
    same = [at for at, array in enumerate(arrays) if array.shape == usual[0][0]]
    rejected |= {kept[at]: "other_shape" for at in set(range(len(arrays))) - set(same)}
    return same
