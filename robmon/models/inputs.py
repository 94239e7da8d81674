"""Model inputs taken apart: what is perturbed, as one array, and how to put a whole input together again.

`split` runs once an assessment, `ModelInputs.assemble` once a batch of every trial and level, so whatever does not
change with the noise is worked out by the former.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

FloatArray: TypeAlias = NDArray[np.floating[Any]]
AnyArray: TypeAlias = NDArray[Any]


class Rebuild(Protocol):
    """Makes of rows that were put together again what the model takes: it knows what is not the same in every row."""

    def __call__(self, batch: Any, rows: slice) -> Any:
        """Those rows as the model takes them."""

    def take(self, indices: NDArray[np.intp]) -> Rebuild:
        """That of the rows with these indices, in this order."""


@dataclass(frozen=True)
class ModelInputs:
    """Rows of model inputs. Build it with `split`.

    Attributes:
        array: what is perturbed, shape (rows, *input_shape). An array is taken as it is; a DataFrame's floating columns
            are a float64 matrix; the floating ones of several named tensors are flattened and stand side by side.
    """

    array: FloatArray
    _layout: _Whole | _Columns | _Tensors
    _rebuild: Rebuild | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.array)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the perturbed features: columns, `input[i]`, `name[i]`; of arrays of rank 3 and more `channel_i`."""
        return tuple(self._layout.feature_names(self.array))

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the perturbed columns, where the inputs have named columns or tensors."""
        return None if isinstance(self._layout, _Whole) else self.feature_names

    @cached_property
    def largest(self) -> NDArray[np.float64] | None:
        """The largest number that the model gets of each feature, 65504 of float16; None where it gets any."""
        is_half = self._layout.is_half(self.array)
        return np.where(is_half, float(np.finfo(np.float16).max), np.inf) if is_half.any() else None

    @property
    def not_floating(self) -> int:
        """How many columns, or named tensors, pass through because they hold no floating-point numbers."""
        return self._layout.not_floating

    def assemble(self, array: Any, rows: slice) -> Any:
        """What the model takes: `array` in the place of the perturbed values, all others those of `rows`.

        Args:
            array: perturbed values of those rows, shape (len(rows), *input_shape), NumPy or torch.
            rows: a slice of step 1 of the rows.

        Returns:
            An array (the same object), a DataFrame, or a dict of named tensors, like the inputs given to `split`; or
            what they were `rebuilt` to.
        """
        batch = self._layout.assemble(array, rows)
        return batch if self._rebuild is None else self._rebuild(batch, rows)

    def take(self, indices: Sequence[int] | AnyArray) -> ModelInputs:
        """The rows with these indices, in this order."""
        index = np.asarray(indices, dtype=np.intp)
        rebuild = None if self._rebuild is None else self._rebuild.take(index)
        return ModelInputs(self.array[index], self._layout.take(index), rebuild)

    def rebuilt(self, rebuild: Rebuild) -> ModelInputs:
        """The same rows, of which the model takes what `rebuild` makes of them."""
        return replace(self, _rebuild=rebuild)


def split(inputs: Any) -> ModelInputs:
    """Take model inputs apart.

    >>> split({"a": np.array([[1.0, 2.0]]), "kind": np.array([[3]])}).feature_names
    ('a[0]', 'a[1]')

    Args:
        inputs: array (n, *input_shape), DataFrame, or dict of named tensors, each (n, ...).

    Raises:
        InvalidInputError: they are none of these, have no rows, or nothing in them is a floating-point number.
    """
    pandas, torch = sys.modules.get("pandas"), sys.modules.get("torch")
    if torch is not None and isinstance(inputs, torch.Tensor):
        inputs = inputs.detach().cpu().numpy()
    if isinstance(inputs, np.ndarray):
        result = _split_array(inputs)
    elif pandas is not None and isinstance(inputs, pandas.DataFrame):
        result = _split_frame(inputs)
    elif isinstance(inputs, Mapping) and inputs:
        result = _split_tensors({str(name): np.asarray(tensor) for name, tensor in inputs.items()})
    else:
        raise InvalidInputError(
            f"inputs are an array, a DataFrame or a dict of named arrays, not {type(inputs).__name__}"
        )
    if result.rows == 0:
        raise InvalidInputError("the inputs have no rows")
    return result


@dataclass(frozen=True)
class _Whole:
    """One array: all of it is perturbed."""

    not_floating = 0

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        return np.zeros(1, dtype=np.bool_)  # the array has the type that the model gets

    def feature_names(self, array: FloatArray) -> Iterable[str]:
        if array.ndim >= 3:
            return (f"channel_{index}" for index in range(array.shape[1]))
        if array.ndim == 2:
            return (f"input[{index}]" for index in range(array.shape[1]))
        return ("input",)

    def assemble(self, array: Any, rows: slice) -> Any:
        return array

    def take(self, indices: AnyArray) -> _Whole:
        return self


def _split_array(array: AnyArray) -> ModelInputs:
    if array.ndim == 0:
        raise InvalidInputError("the inputs have no rows")
    if array.dtype.kind != "f":
        raise InvalidInputError(f"nothing can be perturbed: the inputs are {array.dtype}, not floating-point numbers")
    return ModelInputs(array, _Whole())


@dataclass(frozen=True)
class _Columns:
    """A DataFrame: floating columns are perturbed and get their own dtype back, the others pass through.

    Attributes:
        floating: names of the perturbed columns.
        dtypes: their dtypes, each with the positions of the perturbed columns that have it.
        others: the columns that pass through, with a RangeIndex.
        order: positions in (perturbed by dtype, others) that give the columns in their first order; None where they do.
    """

    floating: pd.Index[Any]
    dtypes: tuple[tuple[Any, NDArray[np.intp]], ...]
    others: pd.DataFrame
    order: NDArray[np.intp] | None

    @property
    def not_floating(self) -> int:
        return self.others.shape[1]

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        is_half = np.zeros(array.shape[1], dtype=np.bool_)
        for dtype, positions in self.dtypes:
            is_half[positions] = dtype == np.float16
        return is_half

    def feature_names(self, array: FloatArray) -> Iterable[str]:
        return map(str, self.floating)

    def assemble(self, array: Any, rows: slice) -> pd.DataFrame:
        import pandas as pd

        values = np.asarray(array)
        others = self.others.iloc[rows]
        others.index = pd.RangeIndex(len(others))  # a request's rows count from 0, and a model may join by them
        if len(self.dtypes) == 1:
            parts = [pd.DataFrame(values, columns=self.floating, index=others.index, copy=False)]
        else:
            parts = [
                pd.DataFrame(values[:, positions], columns=self.floating[positions], index=others.index)
                for _, positions in self.dtypes
            ]
        parts = [
            part if dtype == values.dtype else part.astype(dtype)
            for part, (dtype, _) in zip(parts, self.dtypes, strict=True)
        ]
        if others.shape[1] == 0 and len(parts) == 1:
            return parts[0]
        frame = pd.concat([*parts, others], axis=1)
        return frame if self.order is None else frame.iloc[:, self.order]

    def take(self, indices: AnyArray) -> _Columns:
        return _Columns(self.floating, self.dtypes, self.others.iloc[indices].reset_index(drop=True), self.order)


def _split_frame(frame: pd.DataFrame) -> ModelInputs:
    import pandas as pd

    is_floating = np.array([pd.api.types.is_float_dtype(dtype) for dtype in frame.dtypes], dtype=bool)
    if not is_floating.any():
        raise InvalidInputError(
            "nothing can be perturbed: no column has floating-point numbers "
            f"({_short(f'{name}: {dtype}' for name, dtype in frame.dtypes.items())})"
        )
    perturbed, passed = np.flatnonzero(is_floating), np.flatnonzero(~is_floating)
    dtypes: dict[Any, list[int]] = {}
    for position, dtype in enumerate(frame.dtypes.iloc[perturbed]):
        dtypes.setdefault(dtype, []).append(position)
    groups = tuple((dtype, np.array(positions, dtype=np.intp)) for dtype, positions in dtypes.items())
    assembled = np.concatenate([*(perturbed[positions] for _, positions in groups), passed])
    order = np.argsort(assembled)
    layout = _Columns(
        floating=frame.columns[perturbed],
        dtypes=groups,
        others=frame.iloc[:, passed].reset_index(drop=True),
        order=None if np.array_equal(order, np.arange(len(order))) else order,
    )
    return ModelInputs(frame.iloc[:, perturbed].to_numpy(dtype=np.float64, na_value=np.nan), layout)


@dataclass(frozen=True)
class _Tensor:
    """A perturbed named tensor: its place among the flattened columns, its own shape (without rows) and dtype."""

    columns: slice
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Tensors:
    """Named tensors, in the order in which they were given: perturbed ones, and those that pass through."""

    tensors: dict[str, _Tensor | AnyArray]

    @property
    def not_floating(self) -> int:
        return sum(not isinstance(tensor, _Tensor) for tensor in self.tensors.values())

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        is_half = np.zeros(array.shape[1], dtype=np.bool_)
        for tensor in self.tensors.values():
            if isinstance(tensor, _Tensor):
                is_half[tensor.columns] = tensor.dtype == np.float16
        return is_half

    def feature_names(self, array: FloatArray) -> Iterable[str]:
        for name, tensor in self.tensors.items():
            if isinstance(tensor, _Tensor):
                width = tensor.columns.stop - tensor.columns.start
                yield from (f"{name}[{index}]" for index in range(width)) if tensor.shape else (name,)

    def assemble(self, array: Any, rows: slice) -> dict[str, Any]:
        return {
            name: _cast(array[:, tensor.columns].reshape(len(array), *tensor.shape), tensor.dtype)
            if isinstance(tensor, _Tensor)
            else tensor[rows].copy()
            for name, tensor in self.tensors.items()
        }

    def take(self, indices: AnyArray) -> _Tensors:
        return _Tensors(
            {name: tensor if isinstance(tensor, _Tensor) else tensor[indices] for name, tensor in self.tensors.items()}
        )


def _split_tensors(tensors: dict[str, AnyArray]) -> ModelInputs:
    if any(tensor.ndim == 0 for tensor in tensors.values()):
        raise InvalidInputError("every named tensor needs a first axis of rows")
    if len({len(tensor) for tensor in tensors.values()}) > 1:
        raise InvalidInputError(
            "the named tensors differ in rows: "
            + _short(f"{name} has {len(tensor)}" for name, tensor in tensors.items())
        )
    layout: dict[str, _Tensor | AnyArray] = {}
    perturbed: list[AnyArray] = []
    width = 0
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            layout[name] = tensor
            continue
        size = prod(tensor.shape[1:])
        layout[name] = _Tensor(slice(width, width + size), tensor.shape[1:], tensor.dtype)
        perturbed.append(tensor.reshape(len(tensor), size))
        width += size
    if not perturbed:
        raise InvalidInputError(
            "nothing can be perturbed: no tensor has floating-point numbers "
            f"({_short(f'{name}: {tensor.dtype}' for name, tensor in tensors.items())})"
        )
    return ModelInputs(np.concatenate(perturbed, axis=1), _Tensors(layout))


def _cast(array: Any, dtype: np.dtype[Any]) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return array.to(getattr(torch, dtype.name))
    return array.astype(dtype, copy=False)


def _short(words: Iterable[str], limit: int = 10) -> str:
    listed = [word if len(word) <= 100 else f"{word[:100]}..." for word in words]
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")
