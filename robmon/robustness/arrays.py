"""What NumPy arrays and torch tensors are asked alike, through array-api-compat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError

Array = Any
"""A NumPy array or a torch tensor on any device; shapes are told in the docstrings."""
Float64 = NDArray[np.float64]
Predict = Callable[[Array, slice], Array]
"""`predict(x, rows)`: the outputs, row by row, for `x`, a perturbed copy of rows `rows` of the inputs."""
BATCH_NUMBERS = 2**20
"""Numbers in one batch of inputs where no batch size is given: 8 MiB in float64."""


def namespace(array: Array) -> Any:
    """The array-API namespace of an array."""
    return array_api_compat.array_namespace(array)


def as_float64(array: Array) -> Array:
    """The same numbers in float64, where they are."""
    xp = namespace(array)
    return xp.astype(array, xp.float64, copy=False)


def is_floating(array: Array) -> bool:
    """Whether the array holds real floating-point numbers."""
    return bool(namespace(array).isdtype(array.dtype, "real floating"))


def to_numpy(array: Array) -> NDArray[Any]:
    """The array in main memory, as NumPy's."""
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_torch_array(array):
        return np.asarray(detached(array).cpu())
    return np.asarray(array)


def numbers(values: Any, what: str) -> Float64:
    """Numbers of a caller, in float64 and main memory.

    Raises:
        InvalidInputError: they are none.
    """
    try:
        return np.asarray(to_numpy(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(f"{what} must be numbers") from None


def detached(array: Array) -> Array:
    """A torch tensor without its graph; anything else as it is."""
    return array.detach() if array_api_compat.is_torch_array(array) else array


def copied(array: Array) -> Array:
    """The same numbers in memory of their own."""
    return array.copy() if isinstance(array, np.ndarray) else namespace(array).asarray(array, copy=True)


def like(values: NDArray[Any], array: Array) -> Array:
    """NumPy values as an array of the same kind and on the same device as `array`."""
    if isinstance(array, np.ndarray):
        return values
    return namespace(array).asarray(values, device=array_api_compat.device(array))


def default_batch_rows(shape: tuple[int, ...]) -> int:
    """Rows of one batch for inputs of `shape`, by memory: at most 1024, at least 1.

    >>> default_batch_rows((50_000, 3, 224, 224)), default_batch_rows((50_000, 10))
    (6, 1024)
    """
    return max(1, min(1024, BATCH_NUMBERS // max(1, int(np.prod(shape[1:])))))


def batches(rows: int, batch_rows: int) -> Iterator[slice]:
    """Consecutive slices that cover `rows` rows."""
    for start in range(0, rows, batch_rows):
        yield slice(start, min(start + batch_rows, rows))
