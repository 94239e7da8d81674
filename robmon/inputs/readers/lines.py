"""JSON lines and CSV: records that end with a newline, in a file that may still grow."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from robmon.inputs.readers.batches import BATCH_BYTES, BATCH_ROWS, BadFileError, Batch

_LOOKED_AT = 20
MAX_HEADER_BYTES = BATCH_BYTES


@dataclass(frozen=True)
class Start:
    """Where and how to read.

    Attributes:
        offset: the first byte.
        within_record: it is in the middle of a record that is passed over.
        max_body_bytes: longer records are rejected (`too_large`), without being held.
        is_whole: nobody writes to the file any more: its last record is one even without a newline.
    """

    offset: int
    within_record: bool
    max_body_bytes: int
    is_whole: bool


def read_json_lines(file: BinaryIO, start: Start) -> Iterator[Batch]:
    """The lines of a file, as bodies.

    Raises:
        BadFileError: none of the first lines is a JSON object.
    """
    is_first = start.offset == 0
    for records in _records(file, start, "application/json", quoted=False):
        batch = _unlisted(records)
        if is_first and batch.records and not any(map(_is_object, batch.records[:_LOOKED_AT])):
            raise BadFileError
        is_first = is_first and not batch.records
        yield batch


def read_csv(file: BinaryIO, start: Start) -> Iterator[Batch]:
    """The rows of a file, each as a CSV body of its own: the file's header line, and the row.

    Raises:
        BadFileError: the header line is no text, or too long.
    """
    file.seek(0)
    head = file.read(MAX_HEADER_BYTES)
    behind = _end_of_record(head)
    if behind == 0:
        if len(head) == MAX_HEADER_BYTES:
            raise BadFileError
        return  # the header is not written yet
    header = head[: behind - 1]
    _check_header(header)
    prefix = header.rstrip(b"\r") + b"\n"
    rows = replace(start, offset=max(start.offset, behind), max_body_bytes=max(start.max_body_bytes - len(prefix), 0))
    for batch in _records(file, rows, "text/csv", quoted=True):
        yield replace(batch, head=prefix)


def _unlisted(batch: Batch) -> Batch:
    """A line may be a list of records, as KServe's logger writes those of one batch: each is one for itself."""
    bodies: list[bytes] = []
    too_large = 0
    for body in batch.records:
        listed = _listed(body) if body.lstrip().startswith(b"[") else [body]
        too_large += len(listed) > BATCH_ROWS
        bodies += listed if len(listed) <= BATCH_ROWS else []
    if too_large == 0 and bodies == batch.records:
        return batch
    return replace(batch, records=bodies, rejected=batch.rejected + Counter(too_large=too_large))


def _listed(body: bytes) -> list[bytes]:
    try:
        content = json.loads(body)
        if content and all(isinstance(record, dict) for record in content):
            return [json.dumps(record).encode() for record in content]
    except (ValueError, RecursionError):
        pass
    return [body]


def _is_object(record: bytes) -> bool:
    try:
        return isinstance(json.loads(record), dict)
    except (ValueError, RecursionError):
        return False


def _check_header(header: bytes) -> None:
    try:
        text = header.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFileError from None
    if "\0" in text or not text.strip():
        raise BadFileError


def _records(file: BinaryIO, start: Start, content_type: str, *, quoted: bool) -> Iterator[Batch]:
    """The complete records, a batch at a time. What is behind the last batch is half a record."""
    offset, passing, splitter = start.offset, start.within_record, _Splitter(quoted)
    file.seek(offset)
    while chunk := file.read(BATCH_BYTES):
        if passing:
            before, newline, chunk = chunk.partition(b"\n")
            passing, offset = not newline, offset + len(before) + len(newline)
            if passing:
                yield Batch(content_type, [], offset, within_record=True)
                continue
        records, ends = splitter.take(chunk)
        for at in range(0, len(records), BATCH_ROWS):
            end = ends[at : at + BATCH_ROWS][-1]
            yield _batch(content_type, records[at : at + BATCH_ROWS], offset + end, start.max_body_bytes)
        offset += ends[-1] if ends else 0
        if splitter.held_bytes > start.max_body_bytes:
            passing, offset, splitter = True, offset + splitter.held_bytes, _Splitter(quoted)
            yield Batch(content_type, [], offset, within_record=True, rejected=Counter(too_large=1))
    if splitter.held_bytes and start.is_whole:
        yield _batch(content_type, [splitter.held], offset + splitter.held_bytes, start.max_body_bytes)


def _batch(content_type: str, records: Sequence[bytes], offset: int, max_body_bytes: int) -> Batch:
    present = [record for record in records if record.strip()]
    bodies = [record for record in present if len(record) <= max_body_bytes]
    too_large = len(present) - len(bodies)
    return Batch(content_type, bodies, offset, rejected=Counter(too_large=too_large) if too_large else Counter())


class _Splitter:
    """Cuts what is read, piece by piece, into records. What of the next one is there already is looked at only once."""

    def __init__(self, quoted: bool) -> None:
        self._quoted = quoted
        self._lines: list[bytes] = []  # of the record that a quote holds open
        self._lines_bytes = 0  # with their newlines
        self._line: list[bytes] = []  # pieces of the line that has no end yet
        self._line_bytes = 0
        self._is_open = False

    @property
    def held_bytes(self) -> int:
        """Bytes of the record that has no end yet."""
        return self._lines_bytes + self._line_bytes

    @property
    def held(self) -> bytes:
        """The record that has no end yet."""
        return b"\n".join([*self._lines, b"".join(self._line)])

    def take(self, chunk: bytes) -> tuple[list[bytes], list[int]]:
        """The records that end in the next piece, without their newlines, and the place behind each, counted from the
        beginning of the first."""
        *lines, rest = chunk.split(b"\n")
        records: list[bytes] = []
        ends: list[int] = []
        end = self._lines_bytes
        if lines:
            lines[0] = b"".join([*self._line, lines[0]])
            self._line, self._line_bytes = [], 0
        for line in lines:
            end += len(line) + 1
            self._lines.append(line)
            self._is_open = self._quoted and _is_open_after(line, self._is_open)
            if not self._is_open:
                records.append(b"\n".join(self._lines))
                ends.append(end)
                self._lines = []
        self._lines_bytes = end - (ends[-1] if ends else 0)
        self._line.append(rest)
        self._line_bytes += len(rest)
        return records, ends


def _end_of_record(head: bytes) -> int:
    """The place behind the newline of the first record of a table, 0 where there is none."""
    at, is_open = 0, False
    while newline := head.find(b"\n", at) + 1:
        is_open = _is_open_after(head[at : newline - 1], is_open)
        if not is_open:
            return newline
        at = newline
    return 0


_QUOTED = re.compile(rb'(?:[^"]|"")*+"')
_UNQUOTED = re.compile(rb"[^,]*,?")


def _is_open_after(line: bytes, is_open: bool) -> bool:
    """Whether a quoted CSV field is open at the end of a line, at whose beginning one was open or not.

    Quotes open a field at its beginning only, as in Python's reader and in pandas.

    >>> _is_open_after(b'a,"b', False), _is_open_after(b'c"" d",e', True), _is_open_after(b'5" pipe,6', False)
    (True, False, False)
    """
    if b'"' not in line:
        return is_open
    at = 0
    while at < len(line):
        if not is_open and line.startswith(b'"', at):
            is_open, at = True, at + 1
        elif is_open:
            match = _QUOTED.match(line, at)
            if match is None:
                return True
            is_open, at = False, _UNQUOTED.match(line, match.end()).end()  # type: ignore[union-attr] # matches always
        else:
            at = _UNQUOTED.match(line, at).end()  # type: ignore[union-attr]
    return is_open
