"""Records of SageMaker's data capture: a request and its answer as JSON, bodies as text in one of three encodings.

The body is whatever the endpoint's container takes: a request of a protocol, JSON of SageMaker's own algorithms
(`features`), rows or columns without anything around them, one of these a line, or CSV.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs import json_body, mlflow_json
from robmon.inputs.codecs.rows import LazyRows, Row, as_cell, as_tensor

KEY = "captureData"
_PROTOCOL_KEYS = mlflow_json.DATAFRAME_KEYS | json_body.LLM_KEYS | {"inputs", "specversion", "text_input"}

DecodeBody = Callable[[dict[str, str], bytes], Sequence[Row]]


def decode(record: dict[str, Any], decode_body: DecodeBody) -> Sequence[Row]:
    """The rows of the request in a record.

    Args:
        record: one that holds `captureData`.
        decode_body: from headers and body of a request of any protocol to its rows.

    Raises:
        CodecError: no_inputs (the endpoint captures answers only), unsupported_content; bad_csv, ragged, or as the
            body's codec says.
    """
    captured = record[KEY]
    request = captured.get("endpointInput") if isinstance(captured, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("data"), str):
        raise CodecError("no_inputs", "the record holds no request")
    data: str = request["data"]
    content_type = str(request.get("observedContentType") or "").partition(";")[0].strip().lower()
    no_base64 = CodecError("unsupported_content", "the captured request is no base64")
    body = json_body.of_base64(data, no_base64) if request.get("encoding") == "BASE64" else _encoded(data)
    if request.get("encoding") == "CSV" or content_type == "text/csv":
        return _table(body)
    documents = _documents(body)
    if documents is None:
        return decode_body({"content-type": content_type}, body)
    return _joined([_of_json(content, text, decode_body) for content, text in documents])


def _encoded(data: str) -> bytes:
    try:
        return data.encode()
    except UnicodeEncodeError:
        raise CodecError("not_utf8", "the body is not UTF-8") from None


def _documents(body: bytes) -> list[tuple[Any, bytes]] | None:
    """The JSON of a body and its text: one value, or one a line; None where it is neither, or something follows it."""
    for texts in ([body], [line for line in body.splitlines() if line.strip()]):
        try:
            return [(json_body.parse(text), text) for text in texts]
        except CodecError as error:
            if error.reason != "not_json":
                return None
    return None


def _of_json(content: Any, text: bytes, decode_body: DecodeBody) -> Sequence[Row]:
    if isinstance(content, list):
        return _rows(content)
    if not isinstance(content, dict):
        raise CodecError("not_an_object", "the body is JSON, but no object or list")
    if content.keys() & _PROTOCOL_KEYS:
        return decode_body({"content-type": "application/json"}, text)
    if "instances" in content:
        instances = content["instances"]
        return _rows(instances) if isinstance(instances, list) else mlflow_json.tensor_rows(instances)
    if (features := _features(content)) is not None:
        return [features]
    if content and all(type(cell) is list for cell in content.values()):
        return mlflow_json.tensor_rows(content)
    return [_row(content)] if content else []


def _row(content: dict[str, Any]) -> Row:
    return Row(columns={name: as_cell(cell) for name, cell in content.items()})


def _rows(content: list[Any]) -> Sequence[Row]:
    """A list of rows; a list of single values is one row."""
    if content and all(type(row) is dict for row in content):
        features = [_features(row) for row in content]
        return [_row(row) if found is None else found for row, found in zip(content, features, strict=True)]
    if content and all(type(cell) not in (list, dict) for cell in content):
        content = [content]
    return mlflow_json.tensor_rows(content)


def _features(content: dict[str, Any]) -> Row | None:
    """A row of SageMaker's algorithms: `{"features": [...]}`, also within `data`, or with `values` around the list."""
    data = content["data"] if content.keys() == {"data"} else content
    if not isinstance(data, dict) or data.keys() != {"features"}:
        return None
    found = data["features"]
    if isinstance(found, dict) and found.keys() == {"values"}:
        found = found["values"]
    if type(found) is not list:
        return None
    cells = as_tensor(found)
    return Row(columns={"features": cells}, tensor=cells)


def _joined(parts: Sequence[Sequence[Row]]) -> Sequence[Row]:
    if len(parts) == 1:
        return parts[0]
    ends = list(accumulate(map(len, parts)))

    def build(index: int) -> Row:
        part = bisect_right(ends, index)
        return parts[part][index - (ends[part] - len(parts[part]))]

    return LazyRows(ends[-1] if ends else 0, build)


def _table(body: bytes) -> Sequence[Row]:
    """CSV: of SageMaker's own algorithms without a header, of other containers with one."""
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if line]
    except UnicodeDecodeError:
        raise CodecError("not_utf8", "the body is not UTF-8") from None
    except csv.Error:
        raise CodecError("bad_csv", "the body is not CSV") from None
    if _has_header(lines):
        names, *lines = lines
        return LazyRows(len(lines), lambda index: _named(names, lines[index]))
    return LazyRows(len(lines), lambda index: Row(tensor=as_tensor(list(map(_cell, lines[index])))))


def _has_header(lines: list[list[str]]) -> bool:
    """Whether the first line names the columns: different texts, one of them above numbers and missing cells alone."""
    names = lines[0] if lines else []
    if len(lines) < 2 or len(set(names)) < len(names) or not all(type(_cell(name)) is str for name in names):
        return False
    width = min(map(len, lines))  # a cell that is not there is no number
    below = [{type(_cell(line[at])) for line in lines[1:]} for at in range(width)]
    return any(float in types and str not in types for types in below)


def _named(names: list[str], line: list[str]) -> Row:
    if len(line) != len(names):
        raise CodecError("ragged", "the rows or columns of the request differ in length")
    texts = dict(zip(names, line, strict=True))
    return Row(columns={name: _cell(text) for name, text in texts.items()}, reading="frame", texts=texts)


def _cell(text: str) -> float | str | None:
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        return text
