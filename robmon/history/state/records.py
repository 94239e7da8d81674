"""The tables of the state file that grow: assessments, the specifications they were made by, and events.

Every row is JSON with a digest. The rows are bounded by age and by the size of the file, the oldest go first; they are
read and checked a few at a time, because there may be 256 MiB of them.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

RECORD_TABLES: Final = """
CREATE TABLE IF NOT EXISTS assessments (id INTEGER PRIMARY KEY, at REAL NOT NULL, number INTEGER NOT NULL,
    content TEXT NOT NULL, digest BLOB NOT NULL, UNIQUE (number, at));
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, at REAL NOT NULL, content TEXT NOT NULL,
    digest BLOB NOT NULL, UNIQUE (at, digest));
CREATE TABLE IF NOT EXISTS specifications (name TEXT PRIMARY KEY, content TEXT NOT NULL, digest BLOB NOT NULL)
    WITHOUT ROWID;
"""
GROWING: Final = ("assessments", "events")
DAY_SECONDS: Final = 86_400.0
MOST_DROPPED: Final = 64
"""Rows of a table at a time, so that no write takes long: several times what is added."""
ROWS_AT_A_TIME: Final = 200
LARGEST_ID: Final = 2**63 - 1


@dataclass(frozen=True)
class Bounds:
    """How much of the past is kept: `max_days` of it, and `max_bytes` of file."""

    max_days: float = 90.0
    max_bytes: int = 256 * 2**20


DEFAULT_BOUNDS: Final = Bounds()


@dataclass(frozen=True)
class Row:
    """One row as it lies there. Its digest is of the content alone, which has time and number too."""

    id: int
    at: float
    number: int
    """The assessment's number; 0 for an event."""
    content: bytes


class Records:
    """The tables of assessments and events, within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add_assessment(self, at: float, number: int, content: bytes) -> None:
        """Add one, once."""
        self._connection.execute(
            "INSERT OR IGNORE INTO assessments (at, number, content, digest) VALUES (?, ?, ?, ?)",
            (at, number, content.decode(), digest("assessment", "", content)),
        )

    def add_event(self, at: float, content: bytes) -> None:
        """Add one, once."""
        self._make()
        self._connection.execute(
            "INSERT OR IGNORE INTO events (at, content, digest) VALUES (?, ?, ?)",
            (at, content.decode(), digest("event", "", content)),
        )

    def add_specification(self, name: str, content: bytes) -> None:
        """Add one, once, under the name that says all of it."""
        self._make()
        self._connection.execute(
            "INSERT OR IGNORE INTO specifications VALUES (?, ?, ?)",
            (name, content.decode(), digest("specification", name, content)),
        )

    def add(self, table: str, content: bytes) -> None:
        """Add one that lay in another file."""
        row = json.loads(content)
        if table == "assessments":
            self.add_assessment(row["at"], row["number"], content)
        else:
            self.add_event(row["at"], content)

    def bound(self, bounds: Bounds, now: float) -> None:
        """Drop what is older than it may be, and the oldest of what is more than the file may hold.

        Args:
            bounds: of the past.
            now: Unix time.
        """
        for table in self._tables:
            oldest = self._oldest(table)
            self._drop(table, [row for row, at in oldest if at < now - DAY_SECONDS * bounds.max_days])
        if self._used_bytes > bounds.max_bytes:
            self._drop_oldest()

    def rows(self, table: str, after: int = 0) -> Iterator[Row]:
        """Those of `assessments` or `events` in the order in which they were added, from behind that id.

        Raises:
            sqlite3.DatabaseError: one of them is damaged.
        """
        while found := self.some(table, after):
            yield from found
            after = found[-1].id

    def some(self, table: str, after: int, most: int = ROWS_AT_A_TIME) -> list[Row]:
        """The first of them. Raises sqlite3.DatabaseError where one is damaged."""
        return self.between(table, after + 1, LARGEST_ID, most) if self._has(table) else []

    def between(self, table: str, first: int, last: int, most: int = ROWS_AT_A_TIME) -> list[Row]:
        """Those whose ids lie there, of a table that is there.

        Raises:
            sqlite3.DatabaseError: one is damaged, or out of order: a page of the file lies in the place of another.
        """
        number = "number" if table == "assessments" else "0"
        found = self._connection.execute(
            f"SELECT id, at, {number}, content, digest FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",  # noqa: S608
            (first, last, most + 1),
        )
        rows: list[Row] = []
        for *row, sealed in found:
            check(sealed, table.removesuffix("s"), "", row[3])
            if rows and row[0] <= rows[-1].id:
                raise sqlite3.DatabaseError("rows are out of order")
            rows.append(Row(*row))
        return rows[:most]

    def behind(self, table: str, at: float) -> int:
        """The id after which all rows of that time and later lie."""
        if table not in self._tables:
            return 0
        # By the index alone: for min(id) SQLite would read the rows one after another until one fits.
        found = f"SELECT min(+id) FROM {table} WHERE at >= ?"  # noqa: S608
        (first,) = self._connection.execute(found, (at,)).fetchone()
        return self.last_id(table) if first is None else first - 1

    def behind_row_of(self, table: str, at: float) -> int:
        """The id of the row of that very time; where there is none any more, that after which all later ones lie.

        Not all that were added after it are later: the clock may have been set back.
        """
        if table not in self._tables:
            return 0
        (found,) = self._connection.execute(f"SELECT max(+id) FROM {table} WHERE at = ?", (at,)).fetchone()  # noqa: S608
        return self.behind(table, math.nextafter(at, math.inf)) if found is None else int(found)

    def last_id(self, table: str) -> int:
        """The id of the row added last, 0 where there is none."""
        if table not in self._tables:
            return 0
        (last,) = self._connection.execute(f"SELECT max(id) FROM {table}").fetchone()  # noqa: S608
        return last or 0

    def specifications(self) -> dict[str, bytes]:
        """All of them by their names. Raises sqlite3.DatabaseError where one is damaged."""
        if not self._has("specifications"):
            return {}
        found = {}
        for name, content, sealed in self._connection.execute("SELECT name, content, digest FROM specifications"):
            check(sealed, "specification", name.decode(), content)
            found[name.decode()] = content
        return found

    @property
    def _tables(self) -> list[str]:
        """The tables that are there: a file of an older robmon has no events until the first is added."""
        return [table for table in GROWING if self._has(table)]

    def _has(self, table: str) -> bool:
        return self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is not None

    def _make(self) -> None:
        for statement in RECORD_TABLES.split(";"):
            self._connection.execute(statement)

    @property
    def _used_bytes(self) -> int:
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _oldest(self, table: str) -> list[tuple[int, float]]:
        return self._connection.execute(
            f"SELECT id, at FROM {table} ORDER BY id LIMIT ?",  # noqa: S608
            (MOST_DROPPED,),
        ).fetchall()

    def _drop(self, table: str, ids: list[int]) -> None:
        self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", ((each,) for each in ids))  # noqa: S608

    def _drop_oldest(self) -> None:
        """Drop the oldest assessments, and the events that are older than what is left; never the newest row."""
        oldest = self._oldest("assessments")
        self._drop("assessments", [row for row, _ in oldest[:-1]])
        is_last = len(oldest) < MOST_DROPPED
        if "events" in self._tables:
            events = self._oldest("events")
            until = oldest[-1][1] if oldest and not is_last else float("inf")
            self._drop("events", [row for row, at in events[:-1] if at < until])


def digest(kind: str, name: str, content: bytes) -> bytes:
    """The digest of what is kept under that kind and name."""
    return hashlib.blake2b(b"\0".join((kind.encode(), name.encode(), content)), digest_size=16).digest()


def check(sealed: object, kind: str, name: str, content: object) -> None:
    """Raises sqlite3.DatabaseError where a digest is not of that content."""
    if not isinstance(content, bytes) or sealed != digest(kind, name, content):
        raise sqlite3.DatabaseError("a digest does not fit")
