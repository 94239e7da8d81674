"""Inputs that are named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.models.inputs.array import cast
from robmon.models.inputs.layout import AnyArray, FloatArray
from robmon.models.inputs.left_alone import LeftAlone, nothing_perturbed
from robmon.models.inputs.measurements import as_numbers, check_names, shortened
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.outputs.cells import to_numpy
from robmon.robustness.features.channels import NamedTensor
from robmon.robustness.features.whole_numbers import Whole
from robmon.vocabulary import ALL_INTEGERS


@dataclass(frozen=True)
class _Tensor:
    """A perturbed named tensor: its place among the flattened columns, its own shape (without rows) and dtype."""

    columns: slice
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Tensors:
    """Named tensors, in the order in which they were given: perturbed ones, and those that pass through.

    The only perturbed one is the array; several are flattened, side by side.
    """

    tensors: dict[str, _Tensor | Any]
    column_names: ClassVar[None] = None

    @cached_property
    def _is_one(self) -> bool:
        return sum(isinstance(tensor, _Tensor) for tensor in self.tensors.values()) == 1

    def batch_rows(self, array: FloatArray) -> int | None:
        return None

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        if self._is_one:
            return np.zeros(1, dtype=np.bool_)  # the array has the type that the model gets
        is_half = np.zeros(array.shape[1], dtype=np.bool_)
        for tensor in self.tensors.values():
            if isinstance(tensor, _Tensor):
                is_half[tensor.columns] = tensor.dtype == np.float16
        return is_half

    def passed(self) -> dict[str, Any]:
        return {name: to_numpy(each) for name, each in self.tensors.items() if not isinstance(each, _Tensor)}

    def assemble(self, array: Any, rows: slice) -> dict[str, Any]:
        return {
            name: cast(self._own(array, tensor), tensor.dtype) if isinstance(tensor, _Tensor) else _copy(tensor[rows])
            for name, tensor in self.tensors.items()
        }

    def _own(self, array: Any, tensor: _Tensor) -> Any:
        return array if self._is_one else array[:, tensor.columns].reshape(len(array), *tensor.shape)

    def resident(self, put: Callable[[AnyArray], Any]) -> Tensors:
        return Tensors(
            {
                name: tensor if isinstance(tensor, _Tensor) else _put(tensor, put)
                for name, tensor in self.tensors.items()
            }
        )

    def drawn(self, rows: int, cells: Mapping[str, Sequence[Any]]) -> Tensors:
        return Tensors(
            {
                name: tensor if isinstance(tensor, _Tensor) else _drawn_tensor(name, tensor, rows, cells.get(name))
                for name, tensor in self.tensors.items()
            }
        )

    def take(self, indices: AnyArray) -> Tensors:
        return Tensors(
            {name: tensor if isinstance(tensor, _Tensor) else tensor[indices] for name, tensor in self.tensors.items()}
        )


def _drawn_tensor(name: str, tensor: AnyArray, rows: int, cells: Sequence[Any] | None) -> AnyArray:
    """A tensor of that type: the cells given, or neutral ones."""
    if cells is not None:
        return np.asarray([round(cell) if tensor.dtype.kind in "biu" else cell for cell in cells]).astype(tensor.dtype)
    if tensor.dtype.kind == "O" and all(isinstance(cell, str) for cell in tensor.ravel().tolist()):
        return np.full((rows, *tensor.shape[1:]), "", dtype=object)
    if tensor.dtype.kind not in "biuUST":
        raise InvalidInputError(f"nothing neutral is known for tensor {name}, which holds {tensor.dtype}")
    return np.zeros((rows, *tensor.shape[1:]), dtype=tensor.dtype)


def _copy(tensor: Any) -> Any:
    """The model may write into what it is given."""
    return tensor.copy() if isinstance(tensor, np.ndarray) else tensor.clone()


def _put(tensor: AnyArray, put: Callable[[AnyArray], Any]) -> Any:
    try:
        return put(tensor)
    except (TypeError, ValueError):  # of text, or of another byte order: the model is left to say what it makes of it
        return tensor


def split_tensors(tensors: dict[str, AnyArray], integers: Sequence[str]) -> ModelInputs:
    """Named tensors taken apart, see `split`."""
    if any(tensor.ndim == 0 for tensor in tensors.values()):
        raise InvalidInputError("every named tensor needs a first axis of rows")
    if len({len(tensor) for tensor in tensors.values()}) > 1:
        raise InvalidInputError(
            "the named tensors differ in rows: "
            + shortened(f"{name} has {len(tensor)}" for name, tensor in tensors.items())
        )
    check_names(integers, {name: tensor.dtype.kind in "fiu" for name, tensor in tensors.items()})
    layout: dict[str, _Tensor | AnyArray] = {}
    perturbed: dict[str, AnyArray] = {}
    left: list[LeftAlone] = []
    dtypes: list[Any] = []
    width = 0
    for name, tensor in tensors.items():
        is_whole = tensor.dtype.kind in "iu"
        if tensor.dtype.kind != "f" and not (is_whole and (ALL_INTEGERS in integers or name in integers)):
            layout[name] = tensor
            left.append(LeftAlone(name, _tensor_kind(tensor), is_whole))
            continue
        size = prod(tensor.shape[1:])
        layout[name] = _Tensor(slice(width, width + size), tensor.shape[1:], tensor.dtype)
        perturbed[name] = as_numbers(tensor, f"tensor {name}") if is_whole else tensor
        dtypes += [tensor.dtype if is_whole else None] * size
        width += size
    if not perturbed:
        raise nothing_perturbed("tensor", left, len(next(iter(tensors.values()))))
    told = tuple(
        NamedTensor(name, each.columns, each.shape) for name, each in layout.items() if isinstance(each, _Tensor)
    )
    if len(perturbed) == 1:
        array = next(iter(perturbed.values()))
        whole = None if dtypes[:1] in ([], [None]) else Whole.of(dtypes[0])
    else:
        array = np.concatenate([tensor.reshape(len(tensor), -1) for tensor in perturbed.values()], axis=1)
        whole = Whole.of_columns(dtypes)
    return ModelInputs(array, Tensors(layout), tuple(left), whole, told)


def _tensor_kind(tensor: AnyArray) -> str:
    return "text" if tensor.dtype.kind in "UST" else str(tensor.dtype)
