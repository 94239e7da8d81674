"""The answers that model servers gave: `predictions` (MLflow, KServe V1), `outputs` (V2), or a bare list."""

from __future__ import annotations

from collections.abc import Sequence

from robmon.errors import CodecError
from robmon.inputs.codecs import json_body, mlflow_json, v2
from robmon.inputs.codecs.compression import decompress
from robmon.inputs.codecs.rows import Row


def decode(body: bytes) -> Sequence[Row]:
    """The rows of an answer, told by its body alone: loggers copy the headers of the request, or lose them.

    Raises:
        CodecError: the body is none of these.

    >>> [row.tensor.item() for row in decode(b'{"predictions": [1.5, 2.5]}')]
    [1.5, 2.5]
    >>> decode(b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}')[1].columns
    {'y': 2.0}
    """
    content, tensors = json_body.parse_beginning(decompress({}, body))
    if isinstance(content, dict) and v2.is_v2(as_request := {"inputs": content.get("outputs")}):
        return v2.decode(as_request, tensors)
    if tensors.strip():
        raise CodecError("not_json", "something follows the JSON")
    if isinstance(content, list):
        return mlflow_json.tensor_rows(content)
    if isinstance(content, dict) and "predictions" in content:
        return mlflow_json.tensor_rows(content["predictions"])
    raise CodecError("unsupported_format", "the answer has no key of a format that is known")
