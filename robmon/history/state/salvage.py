"""What can still be read of a damaged state file, taken into a new one: a page lost costs the rows on it alone."""

from __future__ import annotations

import contextlib
import glob
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from robmon.history.state.connection import connect, primary_code
from robmon.history.state.kept import Kept, NewerStateError
from robmon.history.state.records import GROWING, ROWS_AT_A_TIME, Records, Row

MISSES: Final = 12_000
"""So many ids in a row that are not there, or not to be read, and the table is taken to end: about as many as lie below
one inner page of SQLite's."""
_NOT_DAMAGE: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM}

T = TypeVar("T")


@dataclass
class Salvaged:
    """What was taken over: whether all that must be whole was, and how many rows of the records."""

    is_whole: bool = False
    rows: int = 0

    def take(self, damaged: Path, new: Kept) -> None:
        """Copy into an empty file what can be read of a damaged one, whose journals lie beside it."""
        # What has no journal is read without making the files that belong to one.
        options = "mode=ro" if any(damaged.parent.glob(f"{glob.escape(damaged.name)}-*")) else "immutable=1"
        try:
            connection = connect(damaged, options)
        except sqlite3.Error:
            return
        with contextlib.closing(connection):
            old = Kept(connection)
            kept = _readable(lambda: _whole(damaged, old))
            self.is_whole = kept is not None
            for kind, name, content in kept or ():
                new.put(kind, name, content)
            for table in GROWING:
                for row in _rows(old.records, table):
                    new.records.add(table, row.content)
                    self.rows += 1
            for name, content in (_readable(old.records.specifications) or {}).items():
                new.records.add_specification(name, content)


def _whole(damaged: Path, old: Kept) -> list[tuple[str, str, bytes]]:
    """All that must be whole. Raises sqlite3.DatabaseError where it is not."""
    old.check_format(damaged)
    old.check()
    old.check_seal()
    return old.all()


def _rows(records: Records, table: str) -> Iterator[Row]:
    """The rows that can be read, a few at a time where they are whole, else one by one."""
    last, misses = 0, 0
    while misses < MISSES:
        found = _readable(lambda last=last: records.some(table, last))  # type: ignore[misc]
        if found == []:
            return
        if found is not None:
            yield from found
            last, misses = found[-1].id, 0
            continue
        for each in range(last + 1, last + ROWS_AT_A_TIME + 1):
            row = _readable(lambda each=each: records.between(table, each, each))  # type: ignore[misc]
            misses = 0 if row else misses + 1
            yield from row or ()
        last += ROWS_AT_A_TIME


def _readable(read: Callable[[], T]) -> T | None:
    """What it gives, None where that is damaged."""
    try:
        return read()
    except (sqlite3.Error, NewerStateError, UnicodeDecodeError, OverflowError) as error:
        if primary_code(error) in _NOT_DAMAGE:
            raise
        return None
