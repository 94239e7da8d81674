"""MLflow's `/invocations`: which codec a content type asks for, as its scoring server decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from robmon.errors import CodecError
from robmon.inputs.codecs import mlflow_csv, mlflow_json
from robmon.inputs.codecs.rows import Row

_DECODERS: dict[str, Callable[[bytes], Sequence[Row]]] = {
    "application/json": mlflow_json.decode,
    "text/csv": mlflow_csv.decode,
}


def decode(headers: Mapping[str, str], body: bytes) -> Sequence[Row]:
    """The rows of a request to `/invocations`. A request without a content type is taken for JSON.

    Raises:
        CodecError: `unsupported_content`, where MLflow's server answers 415 too; else as the format's codec says.
    """
    media_type, *parameters = [part.strip().lower() for part in headers.get("content-type", "").split(";")]
    decoder = _DECODERS.get(media_type or "application/json")
    if decoder is None or any(parameter.replace(" ", "") != "charset=utf-8" for parameter in parameters if parameter):
        raise CodecError("unsupported_content", "the content type is none that is decoded")
    return decoder(body)
