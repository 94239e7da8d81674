"""MLflow's JSON bodies: `dataframe_split`, `dataframe_records`, `instances` and `inputs`.

The same bodies are accepted as by `mlflow.pyfunc.scoring_server`; what the signature does to the values comes later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs.json_body import LLM_KEYS
from robmon.inputs.codecs.rows import LazyRows, Row, as_cell, as_tensor, ragged

DATAFRAME_KEYS = frozenset({"dataframe_split", "dataframe_records"})
_SPLIT_KEYS = {"columns", "index", "data"}
MAX_FILLED_CELLS = 2**20
"""Most cells of records that lack some of one another's columns."""
MAX_COLUMN_NUMBER = 2**60
"""Python's hash of an integer is its remainder by 2**61 - 1: of larger ones as many as fit may share one hash, and then
every look at a column costs a look at all."""
_MISSING = float("nan")
"""What pandas fills in."""


def decode(content: Any) -> Sequence[Row]:
    """The rows of a request; keys besides the four formats are ignored, as MLflow's server does.

    Raises:
        CodecError: not_an_object, unsupported_llm, no_inputs, ambiguous, ragged, bad_columns, unsupported_value.
    """
    if not isinstance(content, dict):
        raise CodecError("not_an_object", "the body is JSON, but no object")
    if LLM_KEYS & content.keys():
        raise CodecError("unsupported_llm", "requests to language models cannot be assessed")
    found = _FORMATS.keys() & content.keys()
    if not found:
        raise CodecError("no_inputs", f"the body has none of the keys {', '.join(_FORMATS)}")
    if len(found) > 1:
        raise CodecError("ambiguous", f"the body has more than one of the keys {', '.join(_FORMATS)}")
    name = found.pop()
    return _FORMATS[name](content[name])


def _split(frame: Any) -> Sequence[Row]:
    if not isinstance(frame, dict) or "data" not in frame or frame.keys() - _SPLIT_KEYS:
        raise CodecError("no_inputs", "dataframe_split must be an object of data, columns and index")
    data = frame["data"]
    if not isinstance(data, list):
        raise CodecError("no_inputs", "the data of dataframe_split must be a list of rows")
    data = [row if isinstance(row, list) else [row] for row in data]
    names = _column_names(frame.get("columns"))
    longest = max(map(len, data), default=0)
    width = len(names) if names is not None else longest
    if data and (longest != width or len(data) * width > max(MAX_FILLED_CELLS, sum(map(len, data)))):
        raise ragged()
    labels = names if names is not None else list(range(width))
    twice = {name for name, count in Counter(labels).items() if count > 1}  # the server takes no such column
    if labels and twice == set(labels):
        raise CodecError("bad_columns", "every column of dataframe_split has the name of another")
    by_number = sorted(range(width), key=labels.__getitem__) if sorted(labels, key=str) == _numbers(width) else None

    def build(index: int) -> Row:
        row = data[index] + [_MISSING] * (width - len(data[index]))
        cells = zip(labels, row, strict=True)
        unnamed = None if by_number is None else _tensor_or_none([row[at] for at in by_number])
        columns = {name: as_cell(cell) for name, cell in cells if name not in twice}
        return Row(columns=columns, tensor=unnamed, reading="frame")

    return LazyRows(len(data), build)


def _numbers(count: int) -> list[Any]:
    """The numbers that pandas gives to so many columns without names, in the order of their digits."""
    return sorted(range(count), key=str)


def _tensor_or_none(row: list[Any]) -> Any:
    try:
        return as_tensor(row)
    except CodecError:
        return None  # cells of more than one value: only a model of columns takes them


def _column_names(columns: Any) -> list[Any] | None:
    """The names, which may be numbers; None where there are none."""
    if columns is None:
        return None
    if not isinstance(columns, list) or any(type(name) not in (str, int) for name in columns):
        raise CodecError("bad_columns", "the columns of dataframe_split must be a list of names")
    if any(type(name) is int and abs(name) > MAX_COLUMN_NUMBER for name in columns):
        raise CodecError("bad_columns", "a column of dataframe_split has a number that is too large for one")
    return columns


def _records(records: Any) -> Sequence[Row]:
    """The rows of a table that is given record by record: one that lacks another's column has a missing cell there."""
    _check_records(records)
    names = dict.fromkeys(name for record in records for name in record)
    if len(records) * len(names) > max(MAX_FILLED_CELLS, sum(map(len, records))):
        raise ragged()

    def build(index: int) -> Row:
        record = records[index]
        cells = {name: as_cell(record[name]) if name in record else _MISSING for name in names}
        return Row(columns=cells, reading="frame")

    return LazyRows(len(records), build)


def _objects(records: Any) -> Sequence[Row]:
    """Rows given cell by cell, each on its own."""
    _check_records(records)
    return LazyRows(
        len(records), lambda index: Row(columns={name: as_cell(cell) for name, cell in records[index].items()})
    )


def _check_records(records: Any) -> None:
    if not isinstance(records, list) or any(type(record) is not dict for record in records):
        raise CodecError("no_inputs", "the rows must be a list of objects")


def tensor_rows(data: Any) -> Sequence[Row]:
    """The rows of `instances` or `inputs`: a list of rows, a list of objects, or an object of columns.

    Raises:
        CodecError: no_inputs, ragged, unsupported_value.
    """
    if isinstance(data, dict):
        return _columns(data)
    if not isinstance(data, list):
        raise CodecError("no_inputs", "the inputs must be a list of rows or an object of columns")
    if data and type(data[0]) is dict:
        return _objects(data)
    if len({type(row) is list for row in data}) > 1:
        raise ragged()
    return LazyRows(len(data), lambda index: Row(tensor=as_tensor(data[index])))


def _columns(columns: dict[str, Any]) -> Sequence[Row]:
    if all(type(column) is not list for column in columns.values()):
        columns = {name: [cell] for name, cell in columns.items()}  # one row, given cell by cell
    if any(type(column) is not list for column in columns.values()):
        raise ragged()
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ragged()
    return LazyRows(
        lengths.pop() if lengths else 0,
        lambda index: Row(columns={name: as_cell(column[index]) for name, column in columns.items()}),
    )


_FORMATS: dict[str, Callable[[Any], Sequence[Row]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": tensor_rows,
    "inputs": tensor_rows,
}
