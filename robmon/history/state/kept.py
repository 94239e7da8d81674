"""What of the state file must be whole: verdicts, numbers, positions, as rows with a digest, and a seal over all.

SQLite finds a damaged structure, not a byte that differs; a digest finds that, and the seal a row that is missing.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Final

from robmon.errors import SettingsError
from robmon.history.state.records import RECORD_TABLES, Records, check, digest

FORMAT: Final = 1
TABLES: Final = f"""
CREATE TABLE kept (kind TEXT, name TEXT, content TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (kind, name))
    WITHOUT ROWID;
CREATE TABLE seal (format INTEGER NOT NULL, digest BLOB NOT NULL);
{RECORD_TABLES}
"""


class NewerStateError(SettingsError):
    """The file is of a newer robmon."""


class Kept:
    """What is kept, within one transaction.

    Attributes:
        records: what grows beside it: assessments and events.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.records = Records(connection)

    def get(self, kind: str, name: str = "") -> bytes | None:
        """What is kept under that name, None where nothing is."""
        row = self._connection.execute(
            "SELECT content, digest FROM kept WHERE kind = ? AND name = ?", (kind, name)
        ).fetchone()
        if row is None:
            return None
        content: bytes = row[0]
        check(row[1], kind, name, content)
        return content

    def put(self, kind: str, name: str, content: bytes) -> None:
        """Replace it."""
        self._connection.execute(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)",
            (kind, name, content.decode(), digest(kind, name, content)),
        )

    def names(self, kind: str) -> list[str]:
        """Under which names something of that kind is kept."""
        rows = self._connection.execute("SELECT name FROM kept WHERE kind = ? ORDER BY name", (kind,)).fetchall()
        return [name.decode(errors="replace") for (name,) in rows]

    def drop(self, kind: str, name: str) -> None:
        """Keep it no longer."""
        self._connection.execute("DELETE FROM kept WHERE kind = ? AND name = ?", (kind, name))

    def all(self) -> list[tuple[str, str, bytes]]:
        """Kind, name and content of all of it. Raises sqlite3.DatabaseError where anything does not fit."""
        names = self._connection.execute("SELECT kind, name FROM kept").fetchall()
        decoded = [(kind.decode(errors="replace"), name.decode(errors="replace")) for kind, name in names]
        return [(kind, name, self.get(kind, name) or b"") for kind, name in decoded]

    def check(self) -> None:
        """Check all of it, and nothing of the records, which may be large and are checked when they are read.

        Raises sqlite3.DatabaseError where anything does not fit.
        """
        for table in ("kept", "seal"):
            (found,) = self._connection.execute(f"PRAGMA integrity_check({table})").fetchone()
            if found != b"ok":
                raise sqlite3.DatabaseError("the structure is damaged")
        self.all()

    def check_format(self, path: Path) -> None:
        """Check that the file is one of ours. Raises sqlite3.DatabaseError where it is not.

        Raises:
            NewerStateError: it is of a newer robmon.
        """
        (sealed,) = self._connection.execute("SELECT max(format) FROM seal").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != sealed or version < FORMAT:
            raise sqlite3.DatabaseError("the format does not fit")
        if version > FORMAT:
            raise NewerStateError(
                f"{path} was written by a newer robmon (format {version}, and this one knows {FORMAT}): run that one, "
                "or move the file away, and with it what it remembers"
            )

    def check_seal(self) -> None:
        """Check that nothing kept is missing. Raises sqlite3.DatabaseError where something is."""
        if self._connection.execute("SELECT digest FROM seal").fetchall() != [(self._sealed(),)]:
            raise sqlite3.DatabaseError("the seal does not fit")

    def set_seal(self) -> None:
        """Seal what is kept now."""
        self._connection.execute("DELETE FROM seal")
        self._connection.execute("INSERT INTO seal VALUES (?, ?)", (FORMAT, self._sealed()))

    def _sealed(self) -> bytes:
        hashed = hashlib.blake2b(digest_size=16)
        for row in self._connection.execute("SELECT kind, name, digest FROM kept ORDER BY kind, name"):
            hashed.update(repr(row).encode())
        return hashed.digest()
