"""KServe's V1 protocol, which is TensorFlow Serving's: `instances`, or `inputs`.

Rows are lists, objects or text. An instance may also be a table of one row, as KServe's own predictors read it with
pandas: an object whose cells are all `[value]`, or all `{index: value}`, or a list of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs import mlflow_json
from robmon.inputs.codecs.json_body import LLM_KEYS
from robmon.inputs.codecs.rows import LazyRows, Row


def decode(content: dict[str, Any]) -> Sequence[Row]:
    """The rows of a request; other keys, such as `signature_name`, are ignored.

    Raises:
        CodecError: unsupported_llm, no_inputs, ambiguous, ragged, unsupported_value.
    """
    if (LLM_KEYS | {"text_input"}) & content.keys():
        raise CodecError("unsupported_llm", "requests to language models cannot be assessed")
    found = content.keys() & {"instances", "inputs"}
    if not found:
        raise CodecError("no_inputs", "the body has no key of a format that is known")
    if len(found) > 1:
        raise CodecError("ambiguous", "the body has both instances and inputs")
    given = content[found.pop()]
    if not isinstance(given, list):
        return mlflow_json.tensor_rows(given)
    expanded = [_rows_of(instance) for instance in given]
    decoded = mlflow_json.tensor_rows([row for rows in expanded for row in rows])
    are_tables = any(rows[0] is not instance for rows, instance in zip(expanded, given, strict=True))
    return LazyRows(len(decoded), lambda index: replace(decoded[index], listed=True)) if are_tables else decoded


def _rows_of(instance: Any) -> list[Any]:
    if type(instance) is dict:
        return [_row_of(instance)]
    if type(instance) is list and instance and all(type(row) is dict for row in instance):
        return [_row_of(row) for row in instance]
    return [instance]


def _row_of(table: dict[str, Any]) -> dict[str, Any]:
    """A table of one row as that row; any other object as it is."""
    cells = list(table.values())
    if cells and all(type(cell) is dict and len(cell) == 1 for cell in cells):
        return {name: next(iter(cell.values())) for name, cell in table.items()}
    if cells and all(type(cell) is list and len(cell) == 1 and type(cell[0]) not in (list, dict) for cell in cells):
        return {name: cell[0] for name, cell in table.items()}
    return table
