"""What lies under the name of the state file: found, made, and where it is damaged set aside and made anew.

What can still be read of a damaged file is in the one that takes its place; none is taken for empty.
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
from typing import Final

from robmon.history.folder import is_named, sync
from robmon.history.state.connection import create, not_damaged
from robmon.history.state.kept import FORMAT, TABLES, Kept
from robmon.history.state.salvage import Salvaged

RECORDS_DAMAGED: Final = "records-damaged"
"""In the name of a file that was set aside although verdicts and numbers were whole: only old rows are lost."""
_COMPANIONS: Final = ("-wal", "-shm", "-journal")


class Place:
    """The name of one file, shared with other processes.

    Args:
        path: the name.
        tell_damage: told of every file that was set aside, by its name; by an empty one where somebody has removed the
            file since it was last used here.

    Attributes:
        is_checked: whether what lies there has been checked here.
    """

    def __init__(self, path: Path, tell_damage: Callable[[str], None]) -> None:
        self.is_checked = False
        self._path = path
        self._tell_damage = tell_damage

    def look(self) -> os.stat_result | None:
        """The file, None where there is none; what is none of SQLite's is set aside."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        if is_sqlite(self._path, found):
            return found
        self.set_aside(found)
        return None

    def bears(self, found: os.stat_result | None) -> bool:
        """Whether that is still what bears the name."""
        return found is not None and is_named(self._path, found)

    def make(self) -> None:
        """Make an empty one, which appears under its name when it is whole. Raises OSError."""
        with self._locked():
            if self._path.exists():
                return
            if self.is_checked:
                self.is_checked = False
                self._tell_damage("")
            self._move_companions(self._aside_name())
            self._new_file(lambda new: None).rename(self._path)
            sync(self._path.parent)

    def set_aside(self, found: os.stat_result | None) -> None:
        """Rename what was found, and put in its place what can be read of it, unless another process was faster.

        Raises:
            OSError: there is no room for that: nothing was done.
        """
        with self._locked(), contextlib.suppress(FileNotFoundError):
            self.is_checked = False
            if found is None or not self.bears(found):
                return
            salvaged = Salvaged()
            new = self._new_file(lambda new: salvaged.take(self._path, new)) if is_sqlite(self._path, found) else None
            aside = self._aside_name(salvaged.is_whole)
            self._path.rename(self._path.with_name(aside))
            self._move_companions(aside)
            if new is not None and (salvaged.is_whole or salvaged.rows):
                new.rename(self._path)
            sync(self._path.parent)
            if salvaged.is_whole:
                self._forget_older(aside)
            self._tell_damage(aside)

    def newest_aside(self) -> Path | None:
        """The newest file that was set aside because what must be whole in it was damaged."""
        begins = f"{self._path.name}.damaged-"
        found = (path.name for path in self._path.parent.glob("*.damaged-*") if path.name.startswith(begins))
        newest = max((name.removesuffix(_companion(name)) for name in found), default=None)
        return None if newest is None else self._path.with_name(newest)

    def _new_file(self, fill: Callable[[Kept], object]) -> Path:
        """A new file under another name, on disk as a whole. Raises OSError."""
        path = self._path.with_name(f".{self._path.name}.new")
        for suffix in ("", *_COMPANIONS):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        try:
            with contextlib.closing(create(path)) as connection:
                connection.executescript(f"BEGIN;{TABLES}PRAGMA user_version = {FORMAT}")
                new = Kept(connection)
                fill(new)
                new.set_seal()
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise not_damaged(error) or OSError(errno.EIO, str(error)) from None
        sync(path)
        return path

    def _forget_older(self, aside: str) -> None:
        """Of files whose rows were taken over the newest is enough: a disk that fails again and again would fill."""
        begins = f"{self._path.name}.{RECORDS_DAMAGED}-"
        for path in self._path.parent.glob(f"*.{RECORDS_DAMAGED}-*"):
            if path.name.startswith(begins) and not path.name.startswith(aside):
                path.unlink(missing_ok=True)

    def _move_companions(self, aside: str) -> None:
        """A journal belongs to its file: beside another one it would be played back into that."""
        for suffix in _COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(self._path.with_name(aside + suffix))

    def _aside_name(self, is_whole: bool = False) -> str:
        return f"{self._path.name}.{RECORDS_DAMAGED if is_whole else 'damaged'}-{time.time_ns()}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold off other processes that make the file or set it aside."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = self._path.with_name(f".{self._path.name}.lock")
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


def _companion(name: str) -> str:
    return next((suffix for suffix in _COMPANIONS if name.endswith(suffix)), "")
