"""The file in which robmon keeps what it must not lose: SQLite, opened for one short transaction at a time.

A file that is damaged is set aside under another name, and a new one begun with what can still be read of it; none is
taken for empty.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from robmon.history.folder import bears_wal, sync
from robmon.history.kept import FORMAT, TABLES, Kept
from robmon.history.salvage import Salvaged

BUSY_SECONDS: Final = 10.0
"""How long another process is waited for; its transactions are short."""
BUSY_AGAIN_SECONDS: Final = 0.5
"""The same where it was waited for in vain: a daemon reads several things before it answers probes."""
RECORDS_DAMAGED: Final = "records-damaged"
"""In the name of a file that was set aside although verdicts and numbers were whole: only old rows are lost."""
EMPTY_SHARE: Final = 0.2
"""A file is written anew where more of it is empty."""
_COMPANIONS: Final = ("-wal", "-shm", "-journal")
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


class _ReplacedError(Exception):
    """Another process has put a new file in its place since it was opened."""


class StateFile:
    """One file; not for two threads at the same time.

    Args:
        path: its name.
        tell_damage: told of every file that was set aside, by its name, on the thread that found it damaged; by an
            empty one where somebody has removed the file since it was last used here.
    """

    def __init__(self, path: Path, tell_damage: Callable[[str], None] = lambda name: None) -> None:
        self.path = path
        self._tell_damage = tell_damage
        self._is_checked = False
        self._was_busy = False
        self._bears_wal: bool | None = None
        self._within: Kept | None = None

    # --- transactions ------------------------------------------------------------------------------------------------

    def read(self, do: Callable[[Kept], T], otherwise: T) -> T:
        """What `do` finds, in a transaction that only reads; `otherwise` where there is no file, or a damaged one was.

        Raises:
            OSError: the file cannot be read.
            NewerStateError: it is of a newer robmon.
        """
        if self._within is not None:
            return do(self._within)
        for _ in range(2):
            found = self._found()
            if found is None:
                break
            try:
                return self._transaction(do, found, writes=False)
            except _ReplacedError:
                continue
            except sqlite3.DatabaseError:
                self._set_aside(found)
        return otherwise

    def write(self, do: Callable[[Kept], T]) -> T:
        """What `do` gives, in a transaction that no other process writes beside. A damaged file is replaced first.

        Raises:
            OSError: the file cannot be read or written: nothing of it was done.
            NewerStateError: it is of a newer robmon.
        """
        if self._within is not None:
            return do(self._within)
        for _ in range(3):
            found = self._found()
            if found is None:
                self._create()
                found = self._found()
            try:
                return self._transaction(do, found, writes=True)
            except _ReplacedError:
                continue
            except sqlite3.DatabaseError:
                self._set_aside(found)
        raise OSError(errno.EIO, "what is written to it cannot be read again")

    def together(self, do: Callable[[], T]) -> T:
        """What `do` gives; all that it reads and writes here is one transaction: all of it is done, or nothing.

        Raises:
            OSError, NewerStateError: as `write`.
        """

        def within(kept: Kept) -> T:
            self._within = kept
            try:
                return do()
            finally:
                self._within = None

        return self.write(within)

    def shrink(self, most_bytes: int) -> None:
        """Give room back to the disk where the file is larger than it may be, and empty in parts. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_size <= most_bytes:
                return
            try:
                with contextlib.closing(self._open(writes=True)) as connection:
                    pages, free = (
                        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
                    )
                    if free > pages * EMPTY_SHARE:
                        connection.execute("VACUUM")
            except sqlite3.DatabaseError as error:
                if (why := _not_damaged(error)) is not None:
                    raise why from None

    def set_aside(self) -> Path | None:
        """The newest file that was set aside because what must be whole in it was damaged."""
        begins = f"{self.path.name}.damaged-"
        found = (path.name for path in self.path.parent.glob("*.damaged-*") if path.name.startswith(begins))
        newest = max((name.removesuffix(_companion(name)) for name in found), default=None)
        return None if newest is None else self.path.with_name(newest)

    def _transaction(self, do: Callable[[Kept], T], found: os.stat_result | None, *, writes: bool) -> T:
        """Raises OSError, _ReplacedError, or sqlite3.DatabaseError where the file is damaged."""
        try:
            with contextlib.closing(self._open(writes=writes)) as connection:
                kept = Kept(connection)
                connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                if not self._is_there(found):
                    raise _ReplacedError
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
                self._was_busy = False
                return result
        except UnicodeDecodeError:  # a name or a message that quotes one
            raise sqlite3.DatabaseError("a text does not fit") from None
        except sqlite3.ProgrammingError as error:  # says nothing of the file
            raise RuntimeError(str(error)) from error
        except sqlite3.DatabaseError as error:
            self._was_busy = _code(error) == sqlite3.SQLITE_BUSY
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
        timeout = BUSY_AGAIN_SECONDS if self._was_busy else BUSY_SECONDS
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw{options}", uri=True, timeout=timeout, isolation_level=None
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
        if is_sqlite(self.path, found):
            return found
        self._set_aside(found)
        return None

    def _create(self) -> None:
        """Make an empty one, which appears under its name when it is whole. Raises OSError."""
        with self._locked():
            if self.path.exists():
                return
            if self._is_checked:
                self._is_checked = False
                self._tell_damage("")
            self._move_companions(self._aside_name())
            self._make(lambda new: None).rename(self.path)
            sync(self.path.parent)

    def _make(self, fill: Callable[[Kept], object]) -> Path:
        """A new file under another name, on disk as a whole. Raises OSError."""
        path = self.path.with_name(f".{self.path.name}.new")
        for suffix in ("", *_COMPANIONS):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        try:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.text_factory = bytes
                connection.execute("PRAGMA synchronous = OFF")  # all of it is synced before it gets its name
                connection.execute(f"PRAGMA journal_mode = {'WAL' if bears_wal(path.parent) else 'TRUNCATE'}")
                connection.executescript(f"BEGIN;{TABLES}PRAGMA user_version = {FORMAT}")
                new = Kept(connection)
                fill(new)
                new.set_seal()
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise _not_damaged(error) or OSError(errno.EIO, str(error)) from None
        sync(path)
        return path

    def _set_aside(self, found: os.stat_result | None) -> None:
        """Rename what was found, and put in its place what can be read of it, unless another process was faster.

        Raises:
            OSError: there is no room for that: nothing was done.
        """
        with self._locked(), contextlib.suppress(FileNotFoundError):
            self._is_checked = False
            if found is None or not self._is_there(found):
                return
            salvaged = Salvaged()
            new = self._make(lambda new: salvaged.take(self.path, new)) if is_sqlite(self.path, found) else None
            aside = self._aside_name(salvaged.is_whole)
            self.path.rename(self.path.with_name(aside))
            self._move_companions(aside)
            if new is not None and (salvaged.is_whole or salvaged.rows):
                new.rename(self.path)
            sync(self.path.parent)
            if salvaged.is_whole:
                self._forget_older(aside)
            self._tell_damage(aside)

    def _is_there(self, found: os.stat_result | None) -> bool:
        """Whether that is still what bears the name."""
        with contextlib.suppress(FileNotFoundError):
            now = self.path.stat()
            return found is not None and (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino)
        return False

    def _forget_older(self, aside: str) -> None:
        """Of files whose rows were taken over the newest is enough: a disk that fails again and again would fill."""
        begins = f"{self.path.name}.{RECORDS_DAMAGED}-"
        for path in self.path.parent.glob(f"*.{RECORDS_DAMAGED}-*"):
            if path.name.startswith(begins) and not path.name.startswith(aside):
                path.unlink(missing_ok=True)

    def _move_companions(self, aside: str) -> None:
        """A journal belongs to its file: beside another one it would be played back into that."""
        for suffix in _COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(self.path.with_name(aside + suffix))

    def _aside_name(self, is_whole: bool = False) -> str:
        return f"{self.path.name}.{RECORDS_DAMAGED if is_whole else 'damaged'}-{time.time_ns()}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold off other processes that make the file or set it aside."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f".{self.path.name}.lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # of a pipe it does not wait
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def is_sqlite(path: Path, found: os.stat_result) -> bool:
    """Whether it begins as SQLite's files do: an empty one would count as a new one, another version as read-only."""
    if not stat.S_ISREG(found.st_mode):
        return False
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
