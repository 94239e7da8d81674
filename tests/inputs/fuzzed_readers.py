"""What reads strangers' bytes besides the codecs of requests, and what must hold whatever they are."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from robmon.errors import CodecError
from robmon.inputs import feedback
from robmon.inputs.codecs import answers, choose_rows, decode
from robmon.inputs.join_keys import MAX_ID_CHARACTERS, join_keys
from robmon.inputs.readers.batches import BadFileError, Batch
from robmon.inputs.readers.compressed import BROKEN, Unpacked
from robmon.inputs.readers.lines import Start, read_csv, read_json_lines
from robmon.inputs.readers.parquet import read_parquet
from tests.inputs.reasons import REASONS

MAX_BODY_BYTES = 2000
SECRET = "5ecret"
"""A value of the inputs: in no error."""

LinesReader = Callable[[BinaryIO, Start], Iterator[Batch]]


def told(error: Exception, reason: str) -> str:
    """The reason, once it is sure that the error tells nothing else."""
    assert SECRET not in str(error)
    return reason


def read_answer(_: Mapping[str, str], body: bytes) -> str:
    """An answer of a model server."""
    try:
        choose_rows(answers.decode(body), 3, seed=1)
    except CodecError as error:
        assert error.reason in REASONS
        return told(error, error.reason)
    return "rows"


def read_feedback(_: Mapping[str, str], body: bytes) -> str:
    """A body of labels, whose targets are stored as JSON."""
    try:
        labels = feedback.parse(body)
    except feedback.FeedbackError as error:
        return told(error, "bad_feedback")
    for label in labels:
        assert 0 <= len(label.id) <= MAX_ID_CHARACTERS
        json.loads(label.target)
    return "rows"


def read_keys(headers: Mapping[str, str], body: bytes) -> str:
    """The ids of a request: no error at all."""
    for key in join_keys(headers, body):
        assert 0 < len(key) <= MAX_ID_CHARACTERS
    return "rows"


def read_lines(_: Mapping[str, str], content: bytes) -> str:
    """A file of JSON lines."""
    return _read_growing(read_json_lines, content)


def read_table(_: Mapping[str, str], content: bytes) -> str:
    """A file of CSV."""
    return _read_growing(read_csv, content)


def read_compressed(_: Mapping[str, str], content: bytes) -> str:
    """A file of JSON lines, compressed with gzip."""
    try:
        with Unpacked(io.BytesIO(content), len(content)) as unpacked:
            batches = list(read_json_lines(unpacked, Start(0, False, MAX_BODY_BYTES, is_whole=True)))  # type: ignore[arg-type]
    except (BadFileError, *BROKEN) as error:
        return told(error, "bad_file")
    return _decoded(batches)


def read_columns(_: Mapping[str, str], content: bytes) -> str:
    """A Parquet file."""
    try:
        return _decoded(list(read_parquet(io.BytesIO(content), 0, MAX_BODY_BYTES)))
    except BadFileError as error:
        return told(error, "bad_file")


def _read_growing(read: LinesReader, content: bytes) -> str:
    """In two looks, before and after the file is finished, there are the same records as in one."""
    try:
        at_once = list(read(io.BytesIO(content), Start(0, False, MAX_BODY_BYTES, is_whole=True)))
        growing = list(read(io.BytesIO(content), Start(0, False, MAX_BODY_BYTES, is_whole=False)))
        end = growing[-1] if growing else Batch("", [], 0)
        start = Start(end.offset, end.within_record, MAX_BODY_BYTES, is_whole=True)
        rest = list(read(io.BytesIO(content), start))
    except BadFileError as error:
        return told(error, "bad_file")
    assert [body for batch in growing + rest for body in batch.bodies] == [b for batch in at_once for b in batch.bodies]
    return _decoded(at_once)


def _decoded(batches: list[Batch]) -> str:
    offsets = [batch.offset for batch in batches]
    assert offsets == sorted(offsets)
    outcomes = [_decode(batch.content_type, body) for batch in batches for body in batch.bodies[:3]]
    return "rows" if "rows" in outcomes else "bad_rows"


def _decode(content_type: str, body: bytes) -> str:
    try:
        choose_rows(decode("file", {"content-type": content_type}, body), 3, seed=1)
    except CodecError as error:
        assert error.reason in REASONS
        return told(error, error.reason)
    return "rows"


READERS: dict[str, Callable[[Mapping[str, str], bytes], str]] = {
    "answer": read_answer,
    "feedback": read_feedback,
    "join_keys": read_keys,
    "lines of a file": read_lines,
    "CSV file": read_table,
    "gzip file": read_compressed,
    "Parquet file": read_columns,
}
