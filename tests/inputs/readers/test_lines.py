"""Lines and CSV rows, wherever reads, writes and restarts fall between their bytes."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robmon.inputs.readers import lines
from robmon.inputs.readers.batches import BadFileError, Batch
from robmon.inputs.readers.lines import Start, read_csv, read_json_lines

PLENTY = 10_000


def read(content: bytes, offset: int = 0, *, limit: int = PLENTY, is_whole: bool = False) -> list[Batch]:
    return list(read_json_lines(io.BytesIO(content), Start(offset, False, limit, is_whole)))


def bodies(batches: list[Batch]) -> list[bytes]:
    return [body for batch in batches for body in batch.bodies]


def rows(content: bytes, *, limit: int = PLENTY, is_whole: bool = True) -> list[bytes]:
    return bodies(list(read_csv(io.BytesIO(content), Start(0, False, limit, is_whole))))


def test_lines_are_bodies_and_half_a_line_is_left() -> None:
    content = b'{"a": 1}\n\n  \r\n{"a": 2}\r\n{"a": 3'
    batches = read(content)
    assert bodies(batches) == [b'{"a": 1}', b'{"a": 2}\r']
    assert batches[-1].offset == content.index(b'{"a": 3')
    assert bodies(read(content + b"}\n", batches[-1].offset)) == [b'{"a": 3}']


def test_records_that_are_listed_in_one_line_are_bodies_each() -> None:
    (batch,) = read(b'[{"a": 1}, {"a": 0.1}]\n[{"a": "\xc3\xbc"}]\n{"a": [1]}\n[1, 2]\n[{"a":\n')
    assert batch.bodies == [b'{"a": 1}', b'{"a": 0.1}', b'{"a": "\\u00fc"}', b'{"a": [1]}', b"[1, 2]", b'[{"a":']
    assert not batch.rejected


def test_too_many_records_in_one_line() -> None:
    (batch,) = read(b'{"a": 1}\n[' + b",".join([b"{}"] * (lines.BATCH_ROWS + 1)) + b"]\n", limit=2**20)
    assert batch.bodies == [b'{"a": 1}'] and batch.rejected == {"too_large": 1}


def test_the_last_line_of_a_finished_file_needs_no_newline() -> None:
    (batch,) = read(b'{"a": 1}', is_whole=True)
    assert (batch.bodies, batch.offset) == ([b'{"a": 1}'], 8)
    assert read(b'{"a": 1}\n', 9, is_whole=True) == []


@given(
    records=st.lists(st.integers(0, 10**6).map(lambda number: b'{"a": %d}' % number), max_size=30),
    chunk_bytes=st.integers(1, 40),
    batch_rows=st.integers(1, 5),
    written=st.lists(st.integers(0, 500), max_size=5),
)
def test_every_line_once_whatever_the_chunks(
    records: list[bytes], chunk_bytes: int, batch_rows: int, written: list[int]
) -> None:
    """The file grows between looks, each of which begins where the one before ended, or any batch of it."""
    content = b"".join(record + b"\n" for record in records)
    found: list[bytes] = []
    offset = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BATCH_BYTES", chunk_bytes)
        patch.setattr(lines, "BATCH_ROWS", batch_rows)
        for end in [*sorted(written), len(content)]:
            for batch in read(content[:end], offset):
                assert len(batch.bodies) <= batch_rows
                found += batch.bodies
                assert bodies(read(content, batch.offset)) == records[len(found) :]
                offset = batch.offset
    assert found == records


@given(chunk_bytes=st.integers(1, 60), too_long=st.integers(21, 200), cut=st.integers(0, 300))
def test_a_line_that_is_too_long_is_passed_over_without_being_held(chunk_bytes: int, too_long: int, cut: int) -> None:
    content = b'{"a": 1}\n' + b"x" * too_long + b'\n{"a": 2}\n'
    found: list[bytes] = []
    rejected = 0
    start = Start(0, False, 20, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BATCH_BYTES", chunk_bytes)
        for end in (cut, len(content)):
            for batch in read_json_lines(io.BytesIO(content[:end]), start):
                found += batch.bodies
                rejected += batch.rejected["too_large"]
                start = Start(batch.offset, batch.within_record, 20, False)
    assert (found, rejected) == ([b'{"a": 1}', b'{"a": 2}'], 1)


@pytest.mark.parametrize("content", [b"\x00\xff\xfe\n" * 50, b"hello\nworld\n", b"[1]\n2\n", b'"text"\n'])
def test_a_file_without_any_object_is_none(content: bytes) -> None:
    with pytest.raises(BadFileError):
        read(content)


def test_some_garbage_among_lines_is_left_to_the_codecs() -> None:
    assert bodies(read(b'half"}\n{"a": 1}\n')) == [b'half"}', b'{"a": 1}']


# --- CSV -------------------------------------------------------------------------------------------------------------


def test_each_row_brings_the_header() -> None:
    assert rows(b"a,b\r\n1,2\r\n\r\n3,4") == [b"a,b\n1,2\r", b"a,b\n3,4"]


def test_a_header_that_is_not_written_yet() -> None:
    assert rows(b"a,b", is_whole=False) == []


@pytest.mark.parametrize("content", [b"\xff\xfe\n1\n", b"a\0b\n1\n", b"   \n1\n"])
def test_a_header_that_is_none(content: bytes) -> None:
    with pytest.raises(BadFileError):
        rows(content)


def test_a_header_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_HEADER_BYTES", 100)
    with pytest.raises(BadFileError):
        rows(b"a" * 101)


def test_rows_that_are_too_long() -> None:
    content = b"a,b\n1,2\n" + b"9" * 50 + b",1\n3,4\n"
    batches = list(read_csv(io.BytesIO(content), Start(0, False, 20, True)))
    assert bodies(batches) == [b"a,b\n1,2", b"a,b\n3,4"]
    assert sum(batch.rejected["too_large"] for batch in batches) == 1


@given(
    table=st.lists(st.lists(st.text('ab,"\n ', max_size=6), min_size=2, max_size=2), min_size=1, max_size=8),
    chunk_bytes=st.integers(1, 30),
)
def test_quoted_newlines_are_within_their_row(table: list[list[str]], chunk_bytes: int) -> None:
    """As Python's reader reads the whole file."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([["a", "b"], *table])
    content = text.getvalue().encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BATCH_BYTES", chunk_bytes)
        found = rows(content)
    parsed = [list(csv.reader(io.StringIO(body.decode(), newline="")))[1:] for body in found]
    assert [row for each in parsed for row in each] == [
        row for row in csv.reader(io.StringIO(content.decode(), newline="")) if row
    ][1:]
    assert all(len(each) == 1 for each in parsed)


def test_a_quote_within_a_field_opens_nothing() -> None:
    assert len(rows(b'a,b\n5" pipe,1\n6" pipe,2\n')) == 2
