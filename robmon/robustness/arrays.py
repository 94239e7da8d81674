"""What NumPy arrays and torch tensors are asked alike, through array-api-compat."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError, PredictionError

Array = Any
"""A NumPy array or a torch tensor on any device; shapes are told in the docstrings."""
Float64 = NDArray[np.float64]
BATCH_NUMBERS = 2**20
"""Numbers in one batch of inputs where no batch size is given: 8 MiB in float64."""
CUDA_NUMBERS = 2**24
"""Numbers that are looked at at a time on a CUDA device: 128 MiB in float64."""

_namespaces: dict[type, Any] = {}
"""By the kind of array: to find one out takes as long as to add up small arrays."""


def namespace(array: Array) -> Any:
    """The array-API namespace of an array."""
    known = _namespaces.get(type(array))
    if known is None:
        known = _namespaces[type(array)] = array_api_compat.array_namespace(array)
    return known


def as_float64(array: Array) -> Array:
    """The same numbers in float64, where they are."""
    xp = namespace(array)
    return xp.astype(array, xp.float64, copy=False)


def is_floating(array: Array) -> bool:
    """Whether the array holds real floating-point numbers."""
    return bool(namespace(array).isdtype(array.dtype, "real floating"))


def is_single_or_double(array: Array) -> bool:
    """Whether the array holds float32 or float64."""
    return array.dtype in (namespace(array).float32, namespace(array).float64)


def repeated(array: Array, times: int) -> Array:
    """The rows of an array again and again: in memory of their own."""
    xp = namespace(array)
    every = xp.broadcast_to(array[None], (times, *array.shape))
    return xp.reshape(copied(every), (times * array.shape[0], *array.shape[1:]))


def moved(array: Array, moves: Array, times: float) -> Array:
    """`array + times * moves`, in memory of its own, of arrays of one kind and dtype."""
    if isinstance(array, np.ndarray):
        result = np.asarray(times * moves)
        result += array
        return result
    return namespace(array).add(array, moves, alpha=times)


def moved_into(result: Array, array: Array, moves: Array, times: Array) -> None:
    """Make `result` `array + times * moves`, of arrays of one kind and dtype; a time each of its first axis."""
    if isinstance(array, np.ndarray):
        np.multiply(times, moves, out=result)
        result += array
    else:
        namespace(array).addcmul(array, times, moves, out=result)


def by_copy(values: Array, reference: Array) -> Array:
    """Values of copies of rows, one copy after the other, with an axis for the copies: it broadcasts to `reference`."""
    return namespace(values).reshape(values, (-1, *reference.shape))


def to_numpy(array: Array) -> NDArray[Any]:
    """The array in main memory, as NumPy's."""
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_torch_array(array):
        return np.asarray(detached(array).cpu())
    return np.asarray(array)


def on_host(array: Array) -> Array:
    """A tensor in main memory as NumPy's array of the same memory, if NumPy has its type; others without their graph.

    Small arrays are reduced in less time by NumPy, whose functions begin sooner. What is no tensor stays as it is.
    """
    if isinstance(array, np.ndarray) or not array_api_compat.is_torch_array(array):
        return array
    if array.device.type != "cpu":
        return array.detach()
    try:
        return array.numpy(force=True)
    except TypeError:  # bfloat16
        return array.detach()


def in_main_memory(array: Array) -> Array:
    """A tensor on another device as an array in main memory, as `on_host` gives it; anything else as it is."""
    if not array_api_compat.is_torch_array(array) or array.device.type == "cpu":
        return array
    return on_host(detached(array).cpu())


def numbers(values: Any, what: str) -> Float64:
    """Numbers of a caller, in float64 and main memory.

    Raises:
        InvalidInputError: they are none.
    """
    try:
        # NumPy has no bfloat16.
        real = values.double() if array_api_compat.is_torch_array(values) and not values.is_complex() else values
        if np.iscomplexobj(plain := to_numpy(real)):
            raise TypeError
        return np.asarray(plain, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError(f"{what} must be numbers") from None


def detached(array: Array) -> Array:
    """A torch tensor without its graph; anything else as it is."""
    return array.detach() if array_api_compat.is_torch_array(array) else array


def is_on_cuda(array: Array) -> bool:
    """Whether it is a tensor on a CUDA device."""
    return array_api_compat.is_torch_array(array) and array.device.type == "cuda"


def lone(value: Any) -> Any:
    """What a tuple, list or dict holds, where it holds one thing alone; anything else as it is."""
    while isinstance(value, (tuple, list, dict)) and len(value) == 1:
        (value,) = value.values() if isinstance(value, dict) else value
    return value


def wait_for(array: Array) -> None:
    """Wait until the device that makes the array has made it."""
    if array_api_compat.is_torch_array(array) and array.device.type != "cpu":
        array.reshape(-1)[:1].cpu()


def are_of_one_form(one: Array, other: Array) -> bool:
    """Whether two arrays are of one kind, dtype and shape."""
    return type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape


def zeros_of_rows(array: Array, dtype: Any) -> Array:
    """A zero for each row of an array, where that is; shape `(rows,)`."""
    return namespace(array).zeros_like(array[(..., *[0] * (len(array.shape) - 1))], dtype=dtype)


def concatenation(parts: Sequence[Array], axis: int = 0) -> Array:
    """Arrays of one kind one after the other: the only one itself, of several a copy. NumPy's may hold text."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, axis=axis)
    return namespace(parts[0]).concat(parts, axis=axis)


def copied(array: Array) -> Array:
    """The same numbers in memory of their own."""
    return array.copy() if isinstance(array, np.ndarray) else namespace(array).asarray(array, copy=True)


def like(values: NDArray[Any], array: Array) -> Array:
    """NumPy values as an array of the same kind and on the same device as `array`."""
    if isinstance(array, np.ndarray):
        return values
    return namespace(array).asarray(values, device=array_api_compat.device(array))


def rows_of(array: Array, rows: NDArray[np.bool_]) -> Array:
    """The rows of an array for which `rows`, shape `(n,)`, holds."""
    if rows.all():
        return array
    if isinstance(array, np.ndarray):
        return array[rows]
    return namespace(array).take(array, like(np.flatnonzero(rows), array), axis=0)


def default_batch_rows(shape: tuple[int, ...], most: int = 1024) -> int:
    """Rows of one batch for inputs of `shape`, by memory: at most `most`, at least 3, of which no rest is a single row.

    >>> default_batch_rows((9, 3, 224, 224)), default_batch_rows((9, 10)), default_batch_rows((9, 3, 2048, 2048))
    (6, 1024, 3)
    """
    return max(3, min(most, BATCH_NUMBERS // max(1, math.prod(shape[1:]))))


def batches(rows: int, batch_rows: int) -> Iterator[slice]:
    """Consecutive slices that cover `rows` rows: as few as there can be, and as equal in length.

    So none is a single row as long as there are 2 rows and a batch holds 3.

    >>> [rows.stop - rows.start for rows in batches(1025, 1024)]
    [513, 512]
    """
    count = -(-rows // batch_rows)
    for index in range(count):
        yield slice(-(-index * rows // count), -(-(index + 1) * rows // count))


def parts(inputs: Array) -> Iterator[slice]:
    """Slices of the rows of inputs, which are looked at one after the other: what is computed of one fits into memory.

    They are larger on a CUDA device, where a few numbers take as long as many.
    """
    shape = tuple(int(length) for length in inputs.shape)
    rows = max(3, CUDA_NUMBERS // max(1, math.prod(shape[1:]))) if is_on_cuda(inputs) else default_batch_rows(shape)
    return batches(shape[0], rows)


def largest_sizes(inputs: Array) -> Array:
    """The largest size of each cell over the rows, shape `(1, *input_shape)`; what is not finite counts 0."""
    xp = namespace(inputs)
    largest = xp.zeros_like(inputs[:1])
    for rows in parts(inputs):
        sizes = xp.abs(inputs[rows])
        sizes = xp.where(xp.isfinite(sizes), sizes, xp.zeros_like(sizes))
        largest = xp.maximum(largest, xp.max(sizes, axis=0, keepdims=True))
    return largest


def check_rows(outputs: Array, rows: int) -> Array:
    """The outputs, refused unless there is one a row; an output without an axis is that of the only row.

    Raises:
        PredictionError: the model returned something else.
    """
    shape = tuple(getattr(outputs, "shape", ()))
    if shape == () and rows == 1 and hasattr(outputs, "reshape"):
        return outputs.reshape(1)
    if not shape or shape[0] != rows:
        raise PredictionError(f"the model returned outputs of shape {shape} for {rows} rows", reason="invalid_output")
    return outputs
