"""The Open Inference Protocol V2 over HTTP: metadata, requests and answers, as JSON and with the binary extension.

Binary is exact and compact, and the only form in which half precision travels. It is used where the server says that
it can, or where a tensor needs it.
"""

from __future__ import annotations

import math
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import ModelLoadError, ModelNotFoundError, PredictionError, VersionChangedError
from robmon.models.remote.client import Answer, Client, StatusError, parse_json
from robmon.models.remote.json_bodies import Inputs, as_json, as_lists
from robmon.models.uri import Endpoint
from robmon.vocabulary import PROBE_ID_PREFIX

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
UNNAMED: Final = "input-0"
"""Name of the only tensor, where neither the server nor its clients named one."""
MAX_VERSION_CHARACTERS: Final = 64
MAX_LENGTH_DIGITS: Final = 15
MAX_DIMENSIONS: Final = 64
"""NumPy's own."""

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"INT{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    "BYTES": np.dtype(object),
}
_DATATYPES: Final = {dtype: datatype for datatype, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Metadata:
    """What a server tells of a model.

    Attributes:
        versions: that it can serve, highest last.
        inputs: dtype and shape (with the axis of the rows) of each input, by name; empty where it tells none.
    """

    versions: Sequence[str]
    inputs: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]


def read_metadata(client: Client, endpoint: Endpoint) -> Metadata:
    """Ask the server about the model.

    Raises:
        ModelNotFoundError: it knows no such model, or no such version.
        ModelLoadError: the metadata is none, or an input has a type that robmon does not know.
        PredictionError: it did not answer.
    """
    try:
        content = client.get(endpoint.model_url).json()
    except StatusError as error:
        if error.status == 404:
            version = "" if endpoint.version is None else f"version {endpoint.version} of "
            raise ModelNotFoundError(f"{endpoint.place} serves no {version}model {endpoint.name}") from None
        raise
    try:
        versions = [str(version) for version in content.get("versions") or []]
        tensors = content.get("inputs") or []
        inputs = {str(each["name"]): (str(each["datatype"]), tuple(map(int, each["shape"]))) for each in tensors}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ModelLoadError(f"what {endpoint.place} says of the model is not V2 metadata") from None
    if unknown := sorted({datatype for datatype, _ in inputs.values() if datatype not in DTYPES}):
        raise ModelLoadError(f"inputs of type {unknown[0]} are not supported")
    return Metadata(
        versions=sorted(map(_shown_version, versions), key=_order),
        inputs={name: (DTYPES[datatype], shape) for name, (datatype, shape) in inputs.items()},
    )


def takes_binary(client: Client, endpoint: Endpoint) -> bool:
    """Whether the server lists the binary extension; one that tells nothing of itself does not."""
    try:
        content = client.get(f"{endpoint.base}/v2").json()
    except PredictionError:
        return False
    return isinstance(content, dict) and "binary_tensor_data" in (content.get("extensions") or [])


@dataclass
class Dialogue:
    """How one model is asked.

    Attributes:
        binary: whether tensors travel as bytes.
        version: that answers must name, if they name one; None: that of the first of them.
        as_columns: whether several inputs are columns of one table, which KServe and MLServer want to be told.
    """

    binary: bool
    version: str | None
    as_columns: bool

    def request(self, inputs: Inputs) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a request."""
        named = inputs if isinstance(inputs, dict) else {UNNAMED: inputs}
        binary = self.binary or any(array.dtype == np.float16 for array in named.values())
        blobs: list[bytes] = []
        tensors = []
        for name, array in named.items():
            tensor: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": _datatype(array)}
            if binary:
                blobs.append(_to_bytes(array))
                tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                tensor["data"] = as_lists(_text(array).reshape(-1))
            tensors.append(tensor)
        content: dict[str, Any] = {"id": PROBE_ID_PREFIX + uuid.uuid4().hex, "inputs": tensors}
        parameters: dict[str, Any] = {"binary_data_output": True} if binary else {}
        if self.as_columns and len(named) > 1:
            parameters["content_type"] = "pd"
        if parameters:
            content["parameters"] = parameters
        head = as_json(content)
        if not binary:
            return head, {"Content-Type": "application/json"}
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
        return b"".join([head, *blobs]), headers

    def outputs(self, answer: Answer) -> dict[str, Any]:
        """The output arrays of an answer, by name.

        Raises:
            PredictionError: it is no V2 answer (`invalid_output`), or of another version (`version_changed`).
        """
        head, tail = _parted(answer)
        content = parse_json(head)
        try:
            self._check_version(content.get("model_version"))
            outputs = {}
            for tensor in content["outputs"]:
                size = (tensor.get("parameters") or {}).get("binary_data_size")
                blob, tail = (None, tail) if size is None else (bytes(tail[:size]), tail[size:])
                outputs[str(tensor["name"])] = _tensor(tensor, blob)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, struct.error):
            raise PredictionError("the endpoint's answer does not follow the V2 protocol", "invalid_output") from None
        return outputs

    def _check_version(self, answered: Any) -> None:
        if not answered:
            return
        version = _shown_version(str(answered))
        self.version = self.version or version
        if version != self.version:
            raise VersionChangedError(version, self.version)


def _parted(answer: Answer) -> tuple[bytes, memoryview]:
    """The JSON of an answer, and the bytes of its tensors: a view, of which parts are no copies."""
    length = answer.headers.get(HEADER_LENGTH.lower())
    if length is None:
        return answer.body, memoryview(b"")
    if not (length.isdecimal() and len(length) <= MAX_LENGTH_DIGITS):
        raise PredictionError(f"the endpoint's header {HEADER_LENGTH} is no number of bytes", "invalid_output")
    return answer.body[: int(length)], memoryview(answer.body)[int(length) :]


def _shape(lengths: Sequence[Any]) -> tuple[int, ...]:
    """Raises ValueError or OverflowError where NumPy has no such array: to multiply long numbers takes long."""
    if len(lengths) > MAX_DIMENSIONS:
        raise ValueError("too many axes")
    return tuple(np.array([int(length) for length in lengths], dtype=np.int64).tolist())


def _tensor(tensor: Mapping[str, Any], blob: bytes | None) -> NDArray[Any]:
    dtype, shape = DTYPES[tensor["datatype"]], _shape(tensor["shape"])
    if blob is not None:
        array = _strings(blob, math.prod(shape)) if dtype.kind == "O" else np.frombuffer(blob, dtype)
    else:
        array = np.array(tensor["data"], dtype=dtype)
    return array.reshape(shape)


def _datatype(array: NDArray[Any]) -> str:
    return _DATATYPES.get(array.dtype.newbyteorder("<"), "BYTES")


def _text(array: NDArray[Any]) -> NDArray[Any]:
    """What travels as BYTES as text; numbers as they are."""
    if _datatype(array) != "BYTES":
        return array
    text = [value.decode() if isinstance(value, bytes) else str(value) for value in array.reshape(-1)]
    return np.array(text, dtype=object).reshape(array.shape)


def _to_bytes(array: NDArray[Any]) -> bytes:
    """Little endian, row by row; text behind its length."""
    if _datatype(array) != "BYTES":
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    encoded = [text.encode() for text in _text(array).reshape(-1)]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def _strings(blob: bytes, count: int) -> NDArray[Any]:
    if not 0 <= 4 * count <= len(blob):  # each stands behind its length
        raise ValueError("more texts than bytes")
    strings = np.empty(count, dtype=object)
    at = 0
    for index in range(count):
        (length,) = struct.unpack_from("<I", blob, at)
        strings[index] = blob[at + 4 : at + 4 + length].decode()
        at += 4 + length
    return strings


def _shown_version(version: str) -> str:
    """A server's word as a label and in a message: short, printable."""
    return version[:MAX_VERSION_CHARACTERS] if version.isprintable() else repr(version)[:MAX_VERSION_CHARACTERS]


def _order(version: str) -> tuple[bool, int, str]:
    return version.isdecimal(), int(version) if version.isdecimal() else 0, version
