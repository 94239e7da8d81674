"""Parquet files: rows as flat JSON objects. A file is readable once its writer has finished it."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from robmon.inputs.readers.batches import BATCH_BYTES, BATCH_ROWS, BadFileError, Batch
from robmon.vocabulary import RECORD_TYPE


def read_parquet(file: BinaryIO, first_row: int, max_body_bytes: int) -> Iterator[Batch]:
    """The rows from one on; longer ones are rejected (`too_large`), and times that Python lacks (`unsupported_value`).

    Raises:
        BadFileError: it is no Parquet file, or not yet.
        ImportError: pyarrow is not installed.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file, buffer_size=BATCH_BYTES, pre_buffer=False)
        row = 0
        for group in range(opened.num_row_groups):
            rows = opened.metadata.row_group(group).num_rows
            if row + rows <= first_row:
                row += rows
                continue
            for table in opened.iter_batches(BATCH_ROWS, row_groups=[group]):
                unread = table.slice(max(first_row - row, 0))
                row += table.num_rows
                if unread.num_rows:
                    yield from _batches(unread, row, max_body_bytes)
    except (pyarrow.ArrowException, ValueError):  # names of columns that are not UTF-8, for one
        raise BadFileError from None
    except OSError as error:
        if type(error) is OSError and error.errno is None:
            raise BadFileError from None  # so pyarrow tells a page that it cannot read
        raise  # of the file system


def _batches(table: Any, behind: int, max_body_bytes: int) -> Iterator[Batch]:
    """Rows of one read, cut so that no batch is much larger than the others."""
    bodies: list[bytes] = []
    rejected: Counter[str] = Counter()
    size = 0
    for at in range(table.num_rows):
        try:
            body = _body(table.slice(at, 1).to_pylist()[0])
        except (ValueError, OverflowError):
            rejected["unsupported_value"] += 1
        else:
            if len(body) > max_body_bytes:
                rejected["too_large"] += 1
            else:
                bodies.append(body)
                size += len(body)
        if size >= BATCH_BYTES or at == table.num_rows - 1:
            yield Batch(RECORD_TYPE, bodies, behind - table.num_rows + at + 1, rejected=rejected)
            bodies, rejected, size = [], Counter(), 0


def _body(row: dict[str, Any]) -> bytes:
    return json.dumps(row, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Bytes as MLflow has them in JSON, times as ISO text, anything else as its text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
