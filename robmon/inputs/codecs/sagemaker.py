"""Records of SageMaker's data capture: a request and its answer as JSON, bodies as text in one of three encodings."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs import recognise
from robmon.inputs.codecs.json_body import of_base64
from robmon.inputs.codecs.rows import LazyRows, Row, as_tensor

KEY = "captureData"


def decode(record: dict[str, Any]) -> Sequence[Row]:
    """The rows of the request in a record.

    Raises:
        CodecError: no_inputs (the endpoint captures answers only), unsupported_content; bad_csv, ragged, or as the
            body's codec says.
    """
    captured = record[KEY]
    request = captured.get("endpointInput") if isinstance(captured, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("data"), str):
        raise CodecError("no_inputs", "the record holds no request")
    data: str = request["data"]
    content_type = str(request.get("observedContentType", "")).partition(";")[0].strip().lower()
    no_base64 = CodecError("unsupported_content", "the captured request is no base64")
    body = of_base64(data, no_base64) if request.get("encoding") == "BASE64" else data.encode()
    if request.get("encoding") == "CSV" or content_type == "text/csv":
        return _table(body)
    return recognise.decode({"content-type": content_type}, body)


def _table(body: bytes) -> Sequence[Row]:
    """CSV without a header, as SageMaker's own algorithms take it."""
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if line]
    except UnicodeDecodeError:
        raise CodecError("not_utf8", "the body is not UTF-8") from None
    except csv.Error:
        raise CodecError("bad_csv", "the body is not CSV") from None
    return LazyRows(len(lines), lambda index: Row(tensor=as_tensor(list(map(_cell, lines[index])))))


def _cell(text: str) -> float | str | None:
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return text
