"""The answers that model servers gave: `predictions` (MLflow, KServe V1), `outputs` (V2), or a bare list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs import cloudevents, json_body, mlflow_json, v2
from robmon.inputs.codecs.compression import decompress
from robmon.inputs.codecs.rows import Row


def decode(body: bytes) -> Sequence[Row]:
    """The rows of an answer, told by its body alone: loggers copy the headers of the request, or lose them.

    The body may be a whole event in structured mode, which holds the answer.

    Raises:
        CodecError: the body is none of these; bad_event.

    >>> [row.tensor.item() for row in decode(b'{"predictions": [1.5, 2.5]}')]
    [1.5, 2.5]
    >>> decode(b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}')[1].columns
    {'y': 2.0}
    """
    content, tensors = json_body.parse_beginning(decompress({}, body))
    if cloudevents.is_event(content) and not tensors.strip():
        content, tensors = _data_of(content)
    if isinstance(content, dict) and v2.is_v2(as_request := {"inputs": content.get("outputs")}):
        return v2.decode(as_request, tensors)
    if tensors.strip():
        raise CodecError("not_json", "something follows the JSON")
    if isinstance(content, list):
        return mlflow_json.tensor_rows(content)
    if isinstance(content, dict) and "predictions" in content:
        return mlflow_json.tensor_rows(content["predictions"])
    raise CodecError("unsupported_format", "the answer has no key of a format that is known")


def _data_of(event: dict[str, Any]) -> tuple[Any, bytes]:
    _, data = cloudevents.decode_any(event)
    return json_body.parse_beginning(decompress({}, data)) if isinstance(data, bytes) else (data, b"")
