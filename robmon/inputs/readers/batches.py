"""What is read of a file at a time: bodies in formats that the codecs know, and where to go on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

BATCH_BYTES: Final = 2**20
BATCH_ROWS: Final = 4096


class BadFileError(Exception):
    """A file that is none of its kind, so that nothing in it can be read.

    Attributes:
        reason: a short word for counters.
    """

    def __init__(self, reason: str = "bad_file") -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Batch:
    """Some rows of a file.

    Attributes:
        records: each a request or a row, of the same content type.
        offset: what comes next: a byte of lines and CSV, a row of Parquet.
        within_record: whether that is the middle of a record that is passed over.
        rejected: rows that are left out, by reason.
        head: what belongs before each record, a table's header line: once, because it may be much longer than they.
    """

    content_type: str
    records: list[bytes]
    offset: int
    within_record: bool = False
    rejected: Counter[str] = field(default_factory=Counter)
    head: bytes = b""

    @property
    def bodies(self) -> list[bytes]:
        """The records, each with what belongs before it."""
        return [self.head + record for record in self.records] if self.head else self.records
