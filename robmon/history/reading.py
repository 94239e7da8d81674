"""The history of a model for whoever looks at it, while a daemon may be writing it: no lock, and nothing is written.

It is read a few rows at a time, so that a quarter of a year of it fits into the memory of a sidecar.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from robmon.errors import RobmonError
from robmon.history.detection import DetectionRecord
from robmon.history.folder import file_name
from robmon.history.scope import Scope
from robmon.history.state import contents
from robmon.history.state.connection import connect, primary_code
from robmon.history.state.kept import Kept
from robmon.history.state.model_state import path_of
from robmon.history.state.older import OlderFiles
from robmon.history.state.place import is_sqlite
from robmon.history.state.records import Row
from robmon.wording import printable

TRIES: Final = 3
"""A file that is written while it is read is read again; writes come once a minute and take milliseconds."""
PAUSE_SECONDS: Final = 0.05
ROWS_AT_A_TIME: Final = 500

T = TypeVar("T")


class HistoryError(RobmonError):
    """There is no history of the model there, or it cannot be read."""


@dataclass(frozen=True)
class Period:
    """What of the past is asked for.

    Attributes:
        since: Unix time of the oldest.
        seconds: so much before the newest entry; None, as `since`: no bound.
    """

    since: float | None = None
    seconds: float | None = None


class HistoryReader:
    """Reads the history of one model.

    Args:
        data_dir: the daemon's data folder.
        key: of the model, see `history_key`.

    Raises:
        HistoryError: there is none; as all that it reads, where that is damaged, or cannot be read.
        NewerStateError: it is of a newer robmon.
    """

    def __init__(self, data_dir: Path, key: str) -> None:
        self.model = key
        self._path = path_of(data_dir, key)
        if not self._path.exists():
            raise HistoryError(_absent(data_dir, key))
        self._read(lambda kept: kept.check_format(self._path))

    def begin(self, period: Period) -> float | None:
        """Unix time at which a period begins; None where it has no bound."""
        if period.seconds is None:
            return period.since
        return self._newest() - period.seconds

    def assessments(self, since: float | None = None) -> Iterator[dict[str, Any]]:
        """The assessments of that time and later, in the order in which they were written."""
        return self._rows("assessments", since)

    def events(self, since: float | None = None) -> list[dict[str, Any]]:
        """The events of that time and later, in the order of their times."""
        return sorted(self._rows("events", since), key=lambda event: float(event["at"]))

    def specifications(self) -> dict[str, dict[str, Any]]:
        """The specifications by which assessments were made, by name."""
        return self._read(contents.specifications)

    def scopes(self) -> list[str]:
        """The names of all scopes in which verdicts are remembered."""
        return self._read(contents.scopes)

    def daemon_facts(self) -> dict[str, Any]:
        """What the daemon that wrote there last had told of itself: which one it is, and its settings."""
        return self._read(contents.daemon_facts)

    def scope(self, name: str) -> Scope:
        """What is remembered of verdicts in that scope."""
        return self._read(lambda kept: contents.scope(kept, name))

    def detection(self, scope: str) -> DetectionRecord | None:
        """Where the detector over time stood after its last step in that scope, if it made one."""
        return self._read(lambda kept: contents.detection(kept, scope))

    def _newest(self) -> float:
        def newest(kept: Kept) -> float:
            last = (kept.records.some(table, kept.records.last_id(table) - 1) for table in ("assessments", "events"))
            return max((row.at for rows in last for row in rows), default=0.0)

        return self._read(newest)

    def _rows(self, table: str, since: float | None) -> Iterator[dict[str, Any]]:
        after = 0 if since is None else self._read(lambda kept: kept.records.behind(table, since))
        while rows := self._some(table, after):
            after = rows[-1].id
            yield from (json.loads(row.content) for row in rows if since is None or row.at >= since)

    def _some(self, table: str, after: int) -> list[Row]:
        return self._read(lambda kept: kept.records.some(table, after, ROWS_AT_A_TIME))

    # --- the file ----------------------------------------------------------------------------------------------------

    def _read(self, do: Callable[[Kept], T]) -> T:
        """What `do` finds. Raises HistoryError."""
        path = self._path
        try:
            if not is_sqlite(path, path.stat()):
                raise sqlite3.DatabaseError("no file of SQLite's")
            return _undisturbed(path, do)
        except sqlite3.DatabaseError as error:
            if primary_code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY):
                raise HistoryError(f"{path} cannot be read: {error}") from None
            raise HistoryError(
                f"{path} is damaged: a daemon that uses it sets it aside and goes on with all of it that can be read"
            ) from None
        except OSError as error:
            raise HistoryError(f"{path} cannot be read: {error.strerror}") from None


def models_in(data_dir: Path) -> list[str]:
    """The keys of all models whose history lies there, see `history_key`."""
    return sorted(unquote(path.stem) for path in (data_dir / "history").glob("*.sqlite"))


def _absent(data_dir: Path, key: str) -> str:
    others = models_in(data_dir)
    if others:
        return f"{data_dir} holds no history of {printable(key)}, only of {', '.join(map(printable, others))}"
    if OlderFiles.of(data_dir, file_name(key)).there():
        return f"{data_dir} holds files of an older robmon, which the daemon takes over when it starts"
    return f"{data_dir} holds no history: give the daemon's data folder with --data-dir, or its settings with --config"


def _undisturbed(path: Path, do: Callable[[Kept], T]) -> T:
    """What it finds while nobody writes, else by a connection that sees what is being written."""
    for _ in range(TRIES):
        before = _state(path)
        if not _has_log(path):
            try:
                with _opened(path, "immutable=1") as kept:
                    found = do(kept)
            except sqlite3.DatabaseError:
                if _state(path) == before and not _has_log(path):
                    raise  # nobody has written meanwhile: it is damaged
            else:
                if _state(path) == before:
                    return found
        time.sleep(PAUSE_SECONDS)
    with _opened(path, "mode=ro") as kept:
        return do(kept)


@contextlib.contextmanager
def _opened(path: Path, options: str) -> Iterator[Kept]:
    with contextlib.closing(connect(path, options)) as connection:
        yield Kept(connection)


def _has_log(path: Path) -> bool:
    """Whether what was written last lies beside the file, where only a real connection reads it."""
    logs = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-journal"))
    return any(log.exists() and log.stat().st_size > 0 for log in logs)


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
