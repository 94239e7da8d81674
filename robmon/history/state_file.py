"""The file in which robmon keeps what it must not lose: SQLite, opened for one short transaction at a time.

What is kept is a row of a table with a digest, and a seal over all digests: SQLite finds a damaged structure, not a
byte that differs. A file that is damaged is set aside under another name, and a new one begun; none is taken for empty.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from robmon.errors import SettingsError
from robmon.history.folder import bears_wal, sync

FORMAT: Final = 1
BUSY_SECONDS: Final = 10.0
"""How long another process is waited for; its transactions are short."""
_COMPANIONS: Final = ("-wal", "-shm", "-journal")
_TABLES: Final = """
CREATE TABLE kept (kind TEXT, name TEXT, content TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (kind, name))
    WITHOUT ROWID;
CREATE TABLE seal (format INTEGER NOT NULL, digest BLOB NOT NULL);
CREATE TABLE assessments (id INTEGER PRIMARY KEY, at REAL NOT NULL, number INTEGER NOT NULL, content TEXT NOT NULL,
    digest BLOB NOT NULL, UNIQUE (number, at));
"""
_NOT_DAMAGE: Final = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
"""What SQLite says of disk, rights and other processes; all else it says of the file."""
_WAL_REFUSED: Final = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_ERRNO: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}

T = TypeVar("T")


class DamagedStateError(Exception):
    """What was kept cannot be understood, and was set aside; the text is the name under which it lies."""


class NewerStateError(SettingsError):
    """The file is of a newer robmon."""


class Kept:
    """What is kept, within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, kind: str, name: str = "") -> bytes | None:
        """What is kept under that name, None where nothing is."""
        row = self._connection.execute(
            "SELECT content, digest FROM kept WHERE kind = ? AND name = ?", (kind, name)
        ).fetchone()
        if row is None:
            return None
        content: bytes = row[0]
        if row[1] != _digest(kind, name, content):
            raise sqlite3.DatabaseError("a digest does not fit")
        return content

    def put(self, kind: str, name: str, content: bytes) -> None:
        """Replace it."""
        self._connection.execute(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)",
            (kind, name, content.decode(), _digest(kind, name, content)),
        )

    def append(self, at: float, number: int, content: bytes, *, most: int) -> None:
        """Add an assessment, once, and drop the oldest beyond so many."""
        self._connection.execute(
            "INSERT OR IGNORE INTO assessments (at, number, content, digest) VALUES (?, ?, ?, ?)",
            (at, number, content.decode(), _digest("assessment", "", content)),
        )
        self._connection.execute("DELETE FROM assessments WHERE id <= (SELECT max(id) FROM assessments) - ?", (most,))

    def assessments(self) -> list[bytes]:
        """All that are there, in the order in which they were added."""
        rows = self._connection.execute("SELECT content, digest FROM assessments ORDER BY id").fetchall()
        if any(digest != _digest("assessment", "", content) for content, digest in rows):
            raise sqlite3.DatabaseError("a digest does not fit")
        return [content for content, _ in rows]

    def check(self) -> None:
        """Check all of it. Raises sqlite3.DatabaseError where anything does not fit."""
        (found,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != b"ok":
            raise sqlite3.DatabaseError("the structure is damaged")
        for kind, name in self._connection.execute("SELECT kind, name FROM kept").fetchall():
            self.get(kind.decode(errors="replace"), name.decode(errors="replace"))
        self.assessments()

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


class StateFile:
    """One file; not for two threads at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_checked = False
        self._bears_wal: bool | None = None

    # --- transactions ------------------------------------------------------------------------------------------------

    def read(self, do: Callable[[Kept], T], otherwise: T) -> T:
        """What `do` finds, in a transaction that only reads; `otherwise` where there is no file, or a damaged one was.

        Raises:
            OSError: the file cannot be read.
            NewerStateError: it is of a newer robmon.
        """
        found = self._found()
        if found is None:
            return otherwise
        try:
            return self._transaction(do, writes=False)
        except sqlite3.DatabaseError:
            self._set_aside(found)
            return otherwise

    def write(self, do: Callable[[Kept], T]) -> T:
        """What `do` gives, in a transaction that no other process writes beside. A damaged file is replaced first.

        Raises:
            OSError: the file cannot be read or written: nothing of it was done.
            NewerStateError: it is of a newer robmon.
        """
        for _ in range(2):
            found = self._found()
            if found is None:
                self._create()
                found = self._found()
            try:
                return self._transaction(do, writes=True)
            except sqlite3.DatabaseError:
                self._set_aside(found)
        raise OSError(errno.EIO, "what is written to it cannot be read again")

    def set_aside(self) -> Path | None:
        """The newest file that was set aside because it was damaged."""
        begins = f"{self.path.name}.damaged-"
        found = (path.name for path in self.path.parent.glob("*.damaged-*") if path.name.startswith(begins))
        newest = max((name.removesuffix(_companion(name)) for name in found), default=None)
        return None if newest is None else self.path.with_name(newest)

    def _transaction(self, do: Callable[[Kept], T], *, writes: bool) -> T:
        """Raises OSError, or sqlite3.DatabaseError where the file is damaged."""
        try:
            with contextlib.closing(self._open(writes=writes)) as connection:
                kept = Kept(connection)
                connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                kept.check_format(self.path)
                if not self._is_checked:
                    kept.check()
                kept.check_seal()
                before = connection.total_changes
                result = do(kept)
                if connection.total_changes > before:
                    kept.set_seal()
                connection.execute("COMMIT")
                self._is_checked = True
                return result
        except UnicodeDecodeError:  # a name or a message that quotes one
            raise sqlite3.DatabaseError("a text does not fit") from None
        except sqlite3.ProgrammingError as error:  # says nothing of the file
            raise RuntimeError(str(error)) from error
        except sqlite3.DatabaseError as error:
            if (why := _not_damaged(error)) is not None:
                raise why from None
            raise

    def _open(self, *, writes: bool) -> sqlite3.Connection:
        """A connection that can be read from; where the disk is full or read-only, by a way that writes nothing."""
        if self._bears_wal is None:
            self._bears_wal = bears_wal(self.path.parent)
        try:
            connection = self._connect()
            if not self._bears_wal:
                _leave_wal(connection)
            elif writes and not self._is_checked:
                _enter_wal(connection)
            return _readable(connection)
        except sqlite3.OperationalError as error:
            if _code(error) not in _WAL_REFUSED:
                raise
        self._bears_wal = False  # there is no room for its index, or it cannot be mapped
        with contextlib.suppress(sqlite3.OperationalError):
            connection = self._connect()
            _leave_wal(connection)
            return _readable(connection)
        wal = self.path.with_name(f"{self.path.name}-wal")
        if writes or (wal.exists() and wal.stat().st_size > 0):
            return _readable(self._connect())
        return _readable(self._connect("&immutable=1"))

    def _connect(self, options: str = "") -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw{options}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
        )
        connection.text_factory = bytes
        return connection

    # --- the file as a whole -----------------------------------------------------------------------------------------

    def _found(self) -> os.stat_result | None:
        """The file, None where there is none; what is none of SQLite's is set aside."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        if stat.S_ISREG(found.st_mode) and _has_header(self.path):
            return found
        self._set_aside(found)
        return None

    def _create(self) -> None:
        """Make an empty one, which appears under its name when it is whole. Raises OSError."""
        new = self.path.with_name(f".{self.path.name}.new")
        with self._locked():
            if self.path.exists():
                return
            self._move_companions(self._aside_name())
            for suffix in ("", *_COMPANIONS):
                new.with_name(new.name + suffix).unlink(missing_ok=True)
            try:
                with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
                    connection.execute("PRAGMA synchronous = OFF")  # all of it is synced before it gets its name
                    connection.execute(f"PRAGMA journal_mode = {'WAL' if bears_wal(new.parent) else 'TRUNCATE'}")
                    connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version = {FORMAT};COMMIT")
                    Kept(connection).set_seal()
            except sqlite3.DatabaseError as error:
                raise _not_damaged(error) or OSError(errno.EIO, str(error)) from None
            sync(new)
            new.rename(self.path)
            sync(self.path.parent)

    def _set_aside(self, found: os.stat_result | None) -> None:
        """Rename what was found, unless another process was faster. Raises OSError."""
        with self._locked(), contextlib.suppress(FileNotFoundError):
            now = self.path.stat()
            if found is not None and (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
                return
            aside = self._aside_name()
            self.path.rename(self.path.with_name(aside))
            self._move_companions(aside)
        self._is_checked = False

    def _move_companions(self, aside: str) -> None:
        """A journal belongs to its file: beside another one it would be played back into that."""
        for suffix in _COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(self.path.with_name(aside + suffix))

    def _aside_name(self) -> str:
        return f"{self.path.name}.damaged-{time.time_ns()}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold off other processes that make the file or set it aside."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _has_header(path: Path) -> bool:
    """Whether it begins as SQLite's files do: an empty one would count as a new one, another version as read-only."""
    with path.open("rb") as stream:
        header = stream.read(20)
    return header[:16] == b"SQLite format 3\0" and set(header[18:20]) <= {1, 2}


def _readable(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, once something was read by it; closed where that fails."""
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _enter_wal(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Go back to a rollback journal; a lock of the whole file stands in for the index that WAL maps into memory."""
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        if connection.execute("PRAGMA journal_mode").fetchone() != (b"wal",):
            connection.execute("PRAGMA locking_mode = NORMAL")
        with contextlib.suppress(sqlite3.OperationalError):  # it can be read all the same
            connection.execute("PRAGMA journal_mode = TRUNCATE")
    except BaseException:
        connection.close()
        raise


def _digest(kind: str, name: str, content: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join((kind.encode(), name.encode(), content)), digest_size=16).digest()


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code; 0 of what Python says by itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _not_damaged(error: sqlite3.DatabaseError) -> OSError | None:
    """What failed besides the file's content, None where that did."""
    code = _code(error)
    if code not in _NOT_DAMAGE:
        return None
    if code == sqlite3.SQLITE_BUSY:
        return OSError(errno.EBUSY, "another process holds the state file")
    number = _ERRNO.get(code)
    return OSError(errno.EIO, str(error)) if number is None else OSError(number, os.strerror(number))


def _companion(name: str) -> str:
    return next((suffix for suffix in _COMPANIONS if name.endswith(suffix)), "")
