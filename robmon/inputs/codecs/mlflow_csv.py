"""MLflow's CSV bodies, which its server reads with `pandas.read_csv`: a header line, then rows.

Without a signature a column's type is decided by all its cells, as pandas does: integers, numbers, booleans, else
text. With one, the server reads every column as the signature's type, for which the cells' texts are kept. Numbers are
rounded correctly, where pandas' own parser may be off by the last bit.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs.rows import LazyRows, Row, as_cell, ragged

MISSING = frozenset(
    [
        "",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    ]
)
"""Cells that pandas takes for missing."""
MAX_FILLED_CELLS = 2**20
"""Most cells of a table whose lines are shorter than its header; any other has fewer cells than bytes."""
_BOOLEANS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}

Convert = Callable[[str], Any]


def decode(body: bytes) -> Sequence[Row]:
    """The rows of a CSV body with a header line, as values and as texts.

    A first line of data with more cells than the header has an index in front, as in pandas; shorter lines are filled
    up with missing cells.

    Raises:
        CodecError: not_utf8, bad_csv, empty, ragged.
    """
    header, *lines = _parse(body)
    if not lines:
        raise CodecError("empty", "the CSV has no row below its header")
    index_width = max(len(lines[0]) - len(header), 0)
    names = _unique_names(header)
    width = index_width + len(names)
    if any(len(line) > width for line in lines) or len(lines) * width > max(MAX_FILLED_CELLS, len(body)):
        raise ragged()

    def cell(line: list[str], position: int) -> str:
        return line[position] if position < len(line) else ""

    @cache
    def conversion(position: int) -> Convert:
        return _conversion([cell(line, position) for line in lines])

    def build(index: int) -> Row:
        texts = {name: cell(lines[index], at) for at, name in enumerate(names, start=index_width)}
        converts = map(conversion, range(index_width, width))
        return Row(
            columns={
                name: as_cell(convert(text)) for (name, text), convert in zip(texts.items(), converts, strict=True)
            },
            reading="text",
            texts=texts,
        )

    return LazyRows(len(lines), build)


def _parse(body: bytes) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    except UnicodeDecodeError:
        raise CodecError("not_utf8", "the body is not UTF-8") from None
    except csv.Error:
        raise CodecError("bad_csv", "the body is not CSV") from None
    except MemoryError:
        raise CodecError("too_large", "the body needs more memory than there is") from None
    if not lines:
        raise CodecError("empty", "the body is empty")
    return lines


def _unique_names(header: list[str]) -> list[str]:
    """Column names as pandas makes them: `Unnamed: 0` for none, `a.1` for a second `a`."""
    names: dict[str, None] = {}
    repeats: dict[str, int] = {}
    for position, given in enumerate(header):
        name = given or f"Unnamed: {position}"
        repeat = repeats.get(given, 0)
        while name in names:
            repeat += 1
            name = f"{given}.{repeat}"
        repeats[given] = repeat
        names[name] = None
    return list(names)


def _conversion(column: list[str]) -> Convert:
    """What turns the cells of a column into values."""
    present = [text for text in column if text not in MISSING]
    if _all(_integer, present):
        return _integer if len(present) == len(column) else _number_or_nan
    if _all(_number, present):
        return _number_or_nan
    if all(text in _BOOLEANS for text in present):
        return lambda text: _BOOLEANS.get(text)
    return lambda text: None if text in MISSING else text


def _all(convert: Convert, column: list[str]) -> bool:
    try:
        for text in column:
            convert(text)
    except ValueError:
        return False
    return True


def _integer(text: str) -> int:
    if "_" in text or not text.isascii():  # Python would take 1_000 and digits of other scripts
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    if "_" in text or not text.isascii():
        raise ValueError
    return float(text)


def _number_or_nan(text: str) -> float:
    return float("nan") if text in MISSING else _number(text)
