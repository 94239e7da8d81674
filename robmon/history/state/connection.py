"""A connection to the state file, on whatever disk it lies, and what SQLite says of disks rather than of the file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BUSY_SECONDS: Final = 10.0
"""How long another process is waited for; its transactions are short."""
BUSY_AGAIN_SECONDS: Final = 0.5
"""The same where it was waited for in vain: a daemon reads several things before it answers probes."""
LOCAL_FILE_SYSTEMS: Final = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "tmpfs", "overlay"}
"""On which processes that map a file see one another's writes, as SQLite's write-ahead log needs."""
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


def connect(path: Path, options: str, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection without transactions of Python's own, which gives texts as bytes.

    Args:
        path: the file.
        options: SQLite's, as in its URIs.
        busy_seconds: how long another process is waited for.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}", uri=True, timeout=busy_seconds, isolation_level=None
    )
    connection.text_factory = bytes
    return connection


def create(path: Path) -> sqlite3.Connection:
    """A connection to a new file, which is not safe before it has been synced as a whole."""
    connection = connect(path, "mode=rwc")
    with _closed_where_it_fails(connection):
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA journal_mode = {'WAL' if bears_wal(path.parent) else 'TRUNCATE'}")
    return connection


class Opener:
    """Opens one file for a transaction at a time, and learns what its disk bears.

    Attributes:
        was_busy: whether another process was waited for in vain, so that the next wait is shorter.
    """

    def __init__(self, path: Path) -> None:
        self.was_busy = False
        self._path = path
        self._bears_wal: bool | None = None

    def open(self, *, writes: bool, is_first: bool) -> sqlite3.Connection:
        """A connection that can be read from; where the disk is full or read-only, by a way that writes nothing.

        Args:
            writes: whether it is to be written to.
            is_first: whether nothing was read by an earlier one.
        """
        if self._bears_wal is None:
            self._bears_wal = bears_wal(self._path.parent)
        try:
            connection = self._connect()
            if not self._bears_wal:
                _leave_wal(connection)
            elif writes and is_first:
                _enter_wal(connection)
            return _readable(connection)
        except sqlite3.OperationalError as error:
            if primary_code(error) not in _WAL_REFUSED:
                raise
        self._bears_wal = False  # there is no room for its index, or it cannot be mapped
        with contextlib.suppress(sqlite3.OperationalError):
            connection = self._connect()
            _leave_wal(connection)
            return _readable(connection)
        wal = self._path.with_name(f"{self._path.name}-wal")
        if writes or (wal.exists() and wal.stat().st_size > 0):
            return _readable(self._connect())
        return _readable(self._connect("mode=rw&immutable=1"))

    def _connect(self, options: str = "mode=rw") -> sqlite3.Connection:
        return connect(self._path, options, BUSY_AGAIN_SECONDS if self.was_busy else BUSY_SECONDS)


def _readable(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, once something was read by it."""
    with _closed_where_it_fails(connection):
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return connection


def _enter_wal(connection: sqlite3.Connection) -> None:
    with _closed_where_it_fails(connection):
        connection.execute("PRAGMA journal_mode = WAL")


def _leave_wal(connection: sqlite3.Connection) -> None:
    """Go back to a rollback journal; a lock of the whole file stands in for the index that WAL maps into memory."""
    with _closed_where_it_fails(connection):
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        if connection.execute("PRAGMA journal_mode").fetchone() != (b"wal",):
            connection.execute("PRAGMA locking_mode = NORMAL")
        with contextlib.suppress(sqlite3.OperationalError):  # it can be read all the same
            connection.execute("PRAGMA journal_mode = TRUNCATE")


@contextlib.contextmanager
def _closed_where_it_fails(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def bears_wal(folder: Path) -> bool:
    """Whether SQLite's write-ahead log can be kept there: on no network volume, and nowhere in doubt."""
    place, found = folder.absolute().resolve(), (0, "")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
            mount, _, source = line.partition(" - ")
            point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount.split(" ")[4]))
            if place.is_relative_to(point) and len(point.parts) >= found[0]:
                found = (len(point.parts), source.split(" ")[0])
    return found[1] in LOCAL_FILE_SYSTEMS


def primary_code(error: BaseException) -> int:
    """SQLite's primary code; 0 of what Python says by itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def not_damaged(error: sqlite3.DatabaseError) -> OSError | None:
    """What failed besides the file's content, None where that did."""
    code = primary_code(error)
    if code not in _NOT_DAMAGE:
        return None
    if code == sqlite3.SQLITE_BUSY:
        return OSError(errno.EBUSY, "another process holds the state file")
    number = _ERRNO.get(code)
    return OSError(errno.EIO, str(error)) if number is None else OSError(number, os.strerror(number))
