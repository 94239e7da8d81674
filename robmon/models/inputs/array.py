"""Inputs that are one array."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.models.inputs.layout import AnyArray, FloatArray
from robmon.models.inputs.left_alone import NothingPerturbedError
from robmon.models.inputs.measurements import as_numbers, measurements_advice
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.robustness.features.whole_numbers import Whole
from robmon.vocabulary import ALL_INTEGERS


@dataclass(frozen=True)
class OneArray:
    """One array: all of it is perturbed. Its dtype, where that is one of whole numbers."""

    dtype: np.dtype[Any] | None = None
    column_names: ClassVar[None] = None

    def batch_rows(self, array: FloatArray) -> int | None:
        return None

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        return np.zeros(1, dtype=np.bool_)  # the array has the type that the model gets

    def passed(self) -> dict[str, Any]:
        return {}

    def assemble(self, array: Any, rows: slice) -> Any:
        return array if self.dtype is None else cast(array, self.dtype)

    def take(self, indices: AnyArray) -> OneArray:
        return self

    def resident(self, put: Callable[[AnyArray], Any]) -> OneArray:
        return self

    def drawn(self, rows: int, cells: Mapping[str, Sequence[Any]]) -> OneArray:
        return self


def split_array(array: AnyArray, integers: Sequence[str]) -> ModelInputs:
    """One array taken apart, see `split`."""
    if array.ndim == 0:
        raise InvalidInputError("the inputs have no rows")
    if array.dtype.kind == "f":
        return ModelInputs(array, OneArray())
    if array.dtype.kind not in "iu" or ALL_INTEGERS not in integers:
        advice = "" if array.dtype.kind not in "iu" else f"; {measurements_advice([])}"
        raise NothingPerturbedError(
            f"nothing can be perturbed: the inputs are {array.dtype}, not floating-point numbers{advice}", len(array)
        )
    return ModelInputs(as_numbers(array, "the inputs"), OneArray(array.dtype), whole=Whole.of(array.dtype))


def cast(array: Any, dtype: np.dtype[Any]) -> Any:
    """An array, of NumPy or torch, in a dtype of NumPy."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return array.to(getattr(torch, dtype.name))
    return array.astype(dtype, copy=False)
