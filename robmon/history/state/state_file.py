"""The file in which robmon keeps what it must not lose: SQLite, opened for one short transaction at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from robmon.history.state.connection import Opener, not_damaged, primary_code
from robmon.history.state.kept import Kept
from robmon.history.state.place import Place

EMPTY_SHARE: Final = 0.2
"""A file is written anew where more of it is empty."""
T = TypeVar("T")


class _ReplacedError(Exception):
    """Another process has put a new file in its place since it was opened."""


class StateFile:
    """One file; not for two threads at the same time.

    Args:
        path: its name.
        tell_damage: as of `Place`, on the thread that found the damage.
    """

    def __init__(self, path: Path, tell_damage: Callable[[str], None] = lambda name: None) -> None:
        self.path = path
        self._place = Place(path, tell_damage)
        self._opener = Opener(path)
        self._within: Kept | None = None

    def read(self, do: Callable[[Kept], T], otherwise: T) -> T:
        """What `do` finds, in a transaction that only reads; `otherwise` where there is no file, or a damaged one was.

        Raises:
            OSError: the file cannot be read.
            NewerStateError: it is of a newer robmon.
        """
        if self._within is not None:
            return do(self._within)
        for _ in range(2):
            found = self._place.look()
            if found is None:
                break
            try:
                return self._transaction(do, found, writes=False)
            except _ReplacedError:
                continue
            except sqlite3.DatabaseError:
                self._place.set_aside(found)
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
            found = self._place.look()
            if found is None:
                self._place.make()
                found = self._place.look()
            try:
                return self._transaction(do, found, writes=True)
            except _ReplacedError:
                continue
            except sqlite3.DatabaseError:
                self._place.set_aside(found)
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
                if (why := not_damaged(error)) is not None:
                    raise why from None

    def set_aside(self) -> Path | None:
        """The newest file that was set aside because what must be whole in it was damaged."""
        return self._place.newest_aside()

    def _transaction(self, do: Callable[[Kept], T], found: os.stat_result | None, *, writes: bool) -> T:
        """Raises OSError, _ReplacedError, or sqlite3.DatabaseError where the file is damaged."""
        try:
            with contextlib.closing(self._open(writes=writes)) as connection:
                kept = Kept(connection)
                connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                if not self._place.bears(found):
                    raise _ReplacedError
                kept.check_format(self.path)
                if not self._place.is_checked:
                    kept.check()
                kept.check_seal()
                before = connection.total_changes
                result = do(kept)
                if connection.total_changes > before:
                    kept.set_seal()
                connection.execute("COMMIT")
                self._place.is_checked = True
                self._opener.was_busy = False
                return result
        except UnicodeDecodeError:  # a name or a message that quotes one
            raise sqlite3.DatabaseError("a text does not fit") from None
        except sqlite3.ProgrammingError as error:  # says nothing of the file
            raise RuntimeError(str(error)) from error
        except sqlite3.DatabaseError as error:
            self._opener.was_busy = primary_code(error) == sqlite3.SQLITE_BUSY
            if (why := not_damaged(error)) is not None:
                raise why from None
            raise

    def _open(self, *, writes: bool) -> sqlite3.Connection:
        return self._opener.open(writes=writes, is_first=not self._place.is_checked)
