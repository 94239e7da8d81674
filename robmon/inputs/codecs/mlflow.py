"""MLflow's `/invocations`: which codec a content type asks for, as its scoring server decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from robmon.errors import CodecError
from robmon.inputs.codecs import (
    cloudevents,
    json_body,
    mlflow_csv,
    mlflow_json,
    mlflow_parquet,
    recognise,
    sagemaker,
    v2,
)
from robmon.inputs.codecs.rows import Row


def decode(headers: Mapping[str, str], body: bytes) -> Sequence[Row]:
    """The rows of a request to `/invocations`. A request without a content type is told by its body.

    Raises:
        CodecError: `unsupported_content`, where MLflow's server answers 415 too; else as the format's codec says.
    """
    media_type, *parameters = [part.strip().lower() for part in headers.get("content-type", "").split(";")]
    decoder = _DECODERS.get(media_type) if media_type else lambda body: recognise.decode(headers, body)
    if decoder is None or any(parameter.replace(" ", "") != "charset=utf-8" for parameter in parameters if parameter):
        raise CodecError("unsupported_content", "the content type is none that is decoded")
    return decoder(body)


def _json(body: bytes) -> Sequence[Row]:
    content = json_body.parse(body)
    is_record = isinstance(content, dict) and sagemaker.KEY in content
    if v2.is_v2(content) or cloudevents.is_event(content) or is_record:  # other servers have this path, too
        return recognise.of_json(content)
    return mlflow_json.decode(content)


_DECODERS: dict[str, Callable[[bytes], Sequence[Row]]] = {
    "application/json": _json,
    "text/csv": mlflow_csv.decode,
    mlflow_parquet.MEDIA_TYPE: mlflow_parquet.decode,
}
