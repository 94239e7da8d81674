"""The Open Inference Protocol, V2: named tensors in JSON, as binary behind it, or both.

Binary tensors follow one another in the order of `inputs`: little endian, row-major, unpadded. Shapes and sizes are
checked against each other and against the body before anything is allocated.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import CodecError
from robmon.inputs.codecs.rows import MAX_DIMENSIONS, LazyRows, Row, flatten, ragged

Array = NDArray[Any]

_TYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_NUMBERS: dict[str, set[type]] = {  # what JSON may hold for a kind of type
    "b": {bool, int},
    "u": {bool, int, float},
    "i": {bool, int, float},
    "f": {bool, int, float, type(None)},
}
_LENGTH = struct.Struct("<I")


def is_v2(content: Any) -> bool:
    """Whether a JSON value is a request of this protocol: its inputs say what type and shape they have."""
    inputs = content.get("inputs") if isinstance(content, dict) else None
    return (
        isinstance(inputs, list)
        and len(inputs) > 0
        and all(isinstance(tensor, dict) and {"datatype", "shape"} <= tensor.keys() for tensor in inputs)
    )


def decode(content: dict[str, Any], tensors: bytes) -> Sequence[Row]:
    """The rows of a request, which are the first axis of every tensor.

    A request of several tensors has rows of named cells. With a single one it is open whether the model's columns are
    its columns or the model's tensor is called otherwise, so that a row has both forms.

    Args:
        content: the JSON.
        tensors: the binary tensors behind it.

    Raises:
        CodecError: bad_tensor, bad_size, shared_memory, unsupported_datatype, unsupported_value, empty, ragged,
            too_deep.
    """
    unread = memoryview(tensors)
    arrays: dict[str, Array] = {}
    for description in content["inputs"]:
        tensor = _Tensor.of(description)
        if tensor.name in arrays:
            raise CodecError("bad_tensor", "two tensors have the same name")
        size = tensor.binary_size(len(unread))
        flat = tensor.from_json(description.get("data")) if size is None else tensor.from_bytes(unread[:size])
        unread = unread[size or 0 :]
        arrays[tensor.name] = flat.reshape(tensor.shape)
    if bytes(unread).strip() or (len(unread) > 0 and len(unread) < len(tensors)):
        raise CodecError("bad_size", "the sizes of the tensors do not add up to the body")
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise ragged()
    return LazyRows(lengths.pop(), lambda index: _row(arrays, index))


def decode_raw(body: bytes) -> Sequence[Row]:
    """The one row of a request without JSON: the bytes of a single tensor, whose type the model's signature knows.

    Its tensor has a void type of the body's size.

    Raises:
        CodecError: empty.
    """
    if not body:
        raise CodecError("empty", "the body is empty")
    return [Row(tensor=np.frombuffer(body, dtype=np.dtype((np.void, len(body)))).reshape(()))]


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, Any]

    @classmethod
    def of(cls, description: dict[str, Any]) -> _Tensor:
        name, datatype, shape = description.get("name"), description["datatype"], description["shape"]
        parameters = description.get("parameters") or {}
        if not (isinstance(name, str) and isinstance(datatype, str) and isinstance(parameters, dict)):
            raise CodecError("bad_tensor", "an input needs a name, a datatype, a shape and data")
        if "shared_memory_region" in parameters:
            raise CodecError("shared_memory", "the inputs are in shared memory, which the request does not carry")
        if datatype not in _TYPES and datatype not in ("BYTES", "BF16"):
            raise CodecError("unsupported_datatype", "the datatype of an input is unknown")
        if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
            raise CodecError("bad_tensor", "the shape of an input must be a list of sizes")
        if not 1 <= len(shape) <= MAX_DIMENSIONS:
            raise CodecError("bad_tensor", f"an input needs an axis of rows, and at most {MAX_DIMENSIONS} axes")
        if 0 in shape:
            raise CodecError("empty", "an input has no value")
        if max(shape) > sys.maxsize:  # to multiply numbers of thousands of digits takes long
            raise CodecError("bad_size", "the data of an input do not fit its shape")
        return cls(name, datatype, tuple(shape), parameters)

    @property
    def count(self) -> int:
        return prod(self.shape)

    def binary_size(self, unread: int) -> int | None:
        """Bytes of the tensor behind the JSON, known to be there and to fit its shape; None if it is in the JSON."""
        size = self.parameters.get("binary_data_size")
        if size is None:
            return None
        if type(size) is not int or not 0 <= size <= unread:
            raise CodecError("bad_size", "the size of a tensor is invalid, or exceeds the body")
        if self.datatype == "BYTES":
            fits = size >= _LENGTH.size * self.count
        else:
            fits = size == self.count * (2 if self.datatype == "BF16" else np.dtype(_TYPES[self.datatype]).itemsize)
        if not fits:
            raise CodecError("bad_size", "the size of a tensor does not fit its shape")
        return size

    def from_bytes(self, data: memoryview) -> Array:
        """The flat values; BF16 is the upper half of FP32."""
        if self.datatype == "BYTES":
            return _texts(data, self.count)
        if self.datatype == "BF16":
            return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
        return np.frombuffer(data, _TYPES[self.datatype])

    def from_json(self, data: Any) -> Array:
        """The flat values, which may be nested in the JSON."""
        if self.datatype == "BF16":
            raise CodecError("unsupported_datatype", "BF16 is sent as binary only")
        if not isinstance(data, list):
            raise CodecError("bad_tensor", "an input has no list of data")
        cells, _ = flatten(data)
        if len(cells) != self.count:
            raise CodecError("bad_size", "the data of an input do not fit its shape")
        if self.datatype == "BYTES":
            return _objects(cells, {str})
        dtype = np.dtype(_TYPES[self.datatype])
        if set(map(type, cells)) - _NUMBERS[dtype.kind]:
            raise CodecError("unsupported_value", "a value is not of the datatype of its input")
        try:
            with np.errstate(all="ignore"):
                return np.array(cells, dtype)
        except (ValueError, OverflowError):
            raise CodecError("unsupported_value", "a value is not of the datatype of its input") from None


def _texts(data: memoryview, count: int) -> Array:
    """`count` elements, each behind its length: text, or bytes where they are no UTF-8."""
    elements: list[str | bytes] = []
    at = 0
    for _ in range(count):
        if at + _LENGTH.size > len(data):
            raise CodecError("bad_size", "the elements of a tensor go beyond its size")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        element = bytes(data[at - length : at])
        try:
            elements.append(element.decode())
        except UnicodeDecodeError:
            elements.append(element)
    if at != len(data):
        raise CodecError("bad_size", "the elements of a tensor do not add up to its size")
    return _objects(elements, {str, bytes})


def _objects(cells: Sequence[Any], allowed: set[type]) -> Array:
    if set(map(type, cells)) - allowed:
        raise CodecError("unsupported_value", "a value is not of the datatype of its input")
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


def _row(arrays: dict[str, Array], index: int) -> Row:
    values = {name: _copy(array[index]) for name, array in arrays.items()}
    only = next(iter(values.values())) if len(values) == 1 else None
    listed = all(value.shape == (1,) for value in values.values())
    return Row(columns={name: _cell(value) for name, value in values.items()}, tensor=only, listed=listed)


def _copy(value: Any) -> Array:
    """One row of a tensor, on its own: a view would keep the whole body."""
    if isinstance(value, (str, bytes)):
        return _objects([value], {str, bytes}).reshape(())
    return np.array(value, dtype=value.dtype.newbyteorder("="))


def _cell(value: Array) -> Any:
    """A row of one value is a cell: columns are sent with shape (rows,) or (rows, 1)."""
    return value.item() if value.size == 1 and value.ndim <= 1 else value
