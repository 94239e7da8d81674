"""What stands in files of inputs: requests of any protocol, capture records, and plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs import cloudevents, json_body, kserve_log, mlflow_csv, mlflow_json, recognise, sagemaker, v2
from robmon.inputs.codecs.rows import Row, as_cell
from robmon.vocabulary import RECORD_TYPE

_BENTOML = frozenset({"timestamp", "request_id", "trace_id"})


def decode(headers: Mapping[str, str], body: bytes) -> Sequence[Row]:
    """The rows of a line, or the row of a table.

    A JSON object that is no request and no record of a logger is a row: its keys are columns. Of BentoML's log the
    three keys that it adds to the columns are left out.

    Raises:
        CodecError: not_an_object, empty; or as the codec of what was recognised says.
    """
    content_type = headers.get("content-type", "")
    if content_type == "text/csv":
        rows = [_untyped(row) for row in mlflow_csv.decode(body)]
        if len(rows) == 1 and kserve_log.is_record(record := rows[0].texts or {}):
            return kserve_log.decode(record)
        return rows
    content = json_body.parse(body)
    if not isinstance(content, dict):
        raise CodecError("not_an_object", "the line is JSON, but no object")
    if kserve_log.is_record(content):
        return kserve_log.decode(content)
    if content_type != RECORD_TYPE:
        if sagemaker.KEY in content:
            return sagemaker.decode(content, recognise.decode)
        if _is_request(content):
            return recognise.of_json(content)
    return [_row(content)]


def _is_request(content: dict[str, Any]) -> bool:
    if v2.is_v2(content) or cloudevents.is_event(content) or content.keys() & mlflow_json.DATAFRAME_KEYS:
        return True
    return any(isinstance(content.get(key), (list, dict)) for key in ("instances", "inputs", "messages"))


def _row(record: dict[str, Any]) -> Row:
    left_out = _BENTOML if record.keys() >= _BENTOML else frozenset[str]()
    cells = {name: as_cell(cell) for name, cell in record.items() if name not in left_out}
    if not cells:
        raise CodecError("empty", "the record has no column")
    return Row(columns=cells, reading="table")


def _untyped(row: Row) -> Row:
    """A row of numbers alone is one for models of tensors too; MLflow's server reads CSV for models of columns only.

    Its texts remain for columns of text.
    """
    cells = (row.columns or {}).values()
    is_numeric = all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in cells)
    return replace(row, reading="table") if is_numeric else row
