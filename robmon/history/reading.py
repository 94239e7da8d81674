"""The history of a model for whoever looks at it, while a daemon may be writing it: no lock, and nothing is written."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from robmon.errors import RobmonError, printable
from robmon.history.kept import Kept
from robmon.history.older import OlderFiles
from robmon.history.records import Records, Row
from robmon.history.state_file import BUSY_SECONDS, is_sqlite

TRIES: Final = 3
"""A file that is written while it is read is read again; writes come once a minute and take milliseconds."""
PAUSE_SECONDS: Final = 0.05


class HistoryError(RobmonError):
    """There is no history of the model there, or it cannot be read."""


@dataclass(frozen=True)
class Period:
    """What of the past is asked for.

    Attributes:
        since: Unix time of the oldest.
        seconds: so much before the newest entry; None, as `since`: no bound.
        last: so many assessments, the newest.
        all_events: whether events are wanted from the beginning: what stands may have begun long before.
    """

    since: float | None = None
    seconds: float | None = None
    last: int | None = None
    all_events: bool = False


@dataclass(frozen=True)
class Recorded:
    """Assessments and events as they are kept, each in the order of their times, and specifications by their names."""

    model: str
    assessments: list[dict[str, Any]]
    events: list[dict[str, Any]]
    specifications: dict[str, dict[str, Any]]

    @property
    def until(self) -> float | None:
        """Unix time of the newest entry; None where there is none."""
        return max((each["at"] for each in (*self.assessments[-1:], *self.events[-1:])), default=None)


def models_in(data_dir: Path) -> list[str]:
    """The keys of all models whose history lies there, see `history_key`."""
    return sorted(unquote(path.stem) for path in (data_dir / "history").glob("*.sqlite"))


def read_history(data_dir: Path, key: str, period: Period = Period()) -> Recorded:
    """What was assessed, decided and changed.

    Args:
        data_dir: the daemon's data folder.
        key: of the model.
        period: what of it is wanted.

    Raises:
        HistoryError: there is none, it is damaged, or it cannot be read.
        NewerStateError: it is of a newer robmon.
    """
    path = data_dir / "history" / f"{quote(key, safe='')}.sqlite"
    if not path.exists():
        raise HistoryError(_absent(data_dir, key))
    try:
        if not is_sqlite(path, path.stat()):
            raise sqlite3.DatabaseError("no file of SQLite's")
        return _read(path, key, period)
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY):
            raise HistoryError(f"{path} cannot be read: {error}") from None
        raise HistoryError(
            f"{path} is damaged: a daemon that uses it sets it aside and goes on with all of it that can be read"
        ) from None
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror}") from None


def _absent(data_dir: Path, key: str) -> str:
    others = models_in(data_dir)
    if others:
        return f"{data_dir} holds no history of {printable(key)}, only of {', '.join(map(printable, others))}"
    if OlderFiles.of(data_dir, quote(key, safe="")).there():
        return f"{data_dir} holds files of an older robmon, which the daemon takes over when it starts"
    return f"{data_dir} holds no history: give the daemon's data folder"


def _read(path: Path, key: str, period: Period) -> Recorded:
    for _ in range(TRIES):
        before = _state(path)
        if not _has_log(path):
            try:
                with _opened(path, "immutable=1") as kept:
                    found = _found(kept, path, key, period)
            except sqlite3.DatabaseError:
                if _state(path) == before and not _has_log(path):
                    raise  # nobody has written meanwhile: it is damaged
            else:
                if _state(path) == before:
                    return found
        time.sleep(PAUSE_SECONDS)
    with _opened(path, "mode=ro") as kept:
        return _found(kept, path, key, period)


@contextlib.contextmanager
def _opened(path: Path, options: str) -> Iterator[Kept]:
    uri = f"{path.absolute().as_uri()}?{options}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.text_factory = bytes
        yield Kept(connection)


def _has_log(path: Path) -> bool:
    """Whether what was written last lies beside the file, where only a real connection reads it."""
    logs = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-journal"))
    return any(log.exists() and log.stat().st_size > 0 for log in logs)


def _state(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)  # noqa: PTH116
    return found.st_ino, found.st_size, found.st_mtime_ns


def _found(kept: Kept, path: Path, key: str, period: Period) -> Recorded:
    kept.check_format(path)
    records = kept.records
    newest = [row.at for table in ("assessments", "events") for row in records.some(table, records.last_id(table) - 1)]
    since = period.since
    if period.seconds is not None:
        since = max(newest, default=0.0) - period.seconds
    assessments = _since(_rows(records, "assessments", since), since, period.last)
    begin = None if period.all_events else since
    events = _since(_rows(records, "events", begin), begin)
    specifications = {name: json.loads(content) for name, content in records.specifications().items()}
    return Recorded(key, assessments, events, specifications)


def _rows(records: Records, table: str, since: float | None) -> Iterator[Row]:
    return records.rows(table, 0 if since is None else records.behind(table, since))


def _since(rows: Iterator[Row], since: float | None, last: int | None = None) -> list[dict[str, Any]]:
    """What the last of them say, in the order of their times."""
    wanted = (row for row in rows if since is None or row.at >= since)
    return sorted((json.loads(row.content) for row in deque(wanted, last)), key=lambda each: float(each["at"]))
