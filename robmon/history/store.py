"""What robmon remembers of a model across restarts: verdicts, baselines, past assessments.

Everything lies under `data_dir` as JSON that a person can read. Files are replaced whole (written beside, then
renamed), so that a kill in mid-write leaves the old one; no production input is among what is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from robmon.history.folder import replace_file
from robmon.history.memory import Entries, Entry, Key, merge
from robmon.messages import Verdict

MAX_LOG_BYTES: Final = 8 * 2**20
NUMBERS_RESERVED: Final = 100
_NUMBER: Final = re.compile(rb'"number": ?(\d{1,18})\b')


class Judged(BaseModel):
    """The last verdict in full, of which the memory keeps the headline only."""

    model_config = ConfigDict(frozen=True)

    version: str
    run_id: str | None = None
    verdict: Verdict


class Scope(BaseModel):
    """What is remembered in one scope."""

    model_config = ConfigDict(frozen=True)

    entries: Entries = ()
    judged: Judged | None = None
    served: Key | None = None
    """Version and run id of what was served last here, which is known before the registry answers."""


class _State(BaseModel):
    """Content of the state file."""

    model_config = ConfigDict(extra="forbid")

    scopes: dict[str, Scope]


class DamagedStateError(Exception):
    """The state file cannot be understood: damaged, or of an older robmon."""


@dataclass(frozen=True)
class History:
    """The files of one model below `data_dir`."""

    data_dir: Path
    key: str
    """Of the model, see `history_key`."""

    @property
    def state_file(self) -> Path:
        """The verdicts on its versions, by scope."""
        return self.data_dir / "history" / f"{quote(self.key, safe='')}.json"

    @property
    def log_file(self) -> Path:
        """One line for each good assessment."""
        return self.data_dir / "history" / f"{quote(self.key, safe='')}.jsonl"

    @property
    def number_file(self) -> Path:
        """The assessment number up to which all are reserved for the process that runs."""
        return self.data_dir / "history" / f"{quote(self.key, safe='')}.number"

    def baseline_file(self, version: str) -> Path:
        """The baseline of one version."""
        return self.data_dir / "baselines" / quote(self.key, safe="") / f"{quote(version, safe='')}.json"

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def read_scope(self, scope: str) -> Scope:
        """What is remembered in that scope.

        A file that cannot be understood is renamed, and so is out of the way of the next write.

        Raises:
            OSError: the file cannot be read.
            DamagedStateError: it cannot be understood, or was set aside before and no verdict has been written since.
        """
        known = self._read_state().scopes.get(scope, Scope())
        if not known.entries and (aside := self.set_aside()) is not None:
            raise DamagedStateError(aside.name)
        return known

    def write_scope(
        self,
        scope: str,
        entries: Iterable[Entry],
        *,
        judged: Judged | None = None,
        served: Key | None = None,
        without: Iterable[Key] = (),
    ) -> Scope:
        """Merge entries into what is remembered in that scope, whoever else writes there; returns all of it.

        Raises:
            OSError: the file cannot be read or written.
        """
        with self._lock():
            try:
                state = self._read_state()
            except DamagedStateError:
                state = _State(scopes={})
            known = state.scopes.get(scope, Scope())
            merged = Scope(
                entries=merge(known.entries, entries, without=without),
                judged=judged or known.judged,
                served=served or known.served,
            )
            if merged != known:
                state.scopes[scope] = merged
                replace_file(self.state_file, state.model_dump_json(indent=1).encode())
        return merged

    def set_aside(self) -> Path | None:
        """The newest state file that was set aside because it could not be understood."""
        return max(self.state_file.parent.glob(f"{self.state_file.name}.damaged-*"), default=None)

    def _read_state(self) -> _State:
        try:
            content = self.state_file.read_bytes()
        except FileNotFoundError:
            if (aside := self.set_aside()) is not None:
                raise DamagedStateError(aside.name) from None
            return _State(scopes={})
        try:
            return _State.model_validate_json(content)
        except ValidationError:
            aside = self.state_file.with_name(f"{self.state_file.name}.damaged-{time.time_ns()}")
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                self.state_file.rename(aside)
            raise DamagedStateError(aside.name) from None

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold off other writers; in a sidecar these are commands that a person runs."""
        self.state_file.parent.mkdir(parents=True, exist_ok=True)
        with self.state_file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # --- baselines ---------------------------------------------------------------------------------------------------

    def read_baseline(self, version: str) -> dict[str, Any] | None:
        """The baseline of a version, or None."""
        try:
            baseline = json.loads(self.baseline_file(version).read_bytes())
        except (OSError, ValueError):
            return None
        return baseline if isinstance(baseline, dict) else None

    def write_baseline(self, version: str, baseline: dict[str, Any]) -> None:
        """Replace the baseline of a version. Raises OSError."""
        replace_file(self.baseline_file(version), json.dumps(baseline).encode())

    # --- assessments -------------------------------------------------------------------------------------------------

    def append(self, assessment: dict[str, Any]) -> None:
        """Add one assessment to the log, whose older half is dropped beyond a bound. Raises OSError.

        A line that a full disk or a kill has torn is ended first, so that it spoils no other.
        """
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > MAX_LOG_BYTES:
            self.log_file.replace(self._rotated_log)
        with self.log_file.open("ab") as file:
            line = json.dumps(assessment).encode() + b"\n"
            file.write(line if _ends_line(self.log_file) else b"\n" + line)

    def last_number(self) -> int:
        """A number that no assessment before has exceeded, 0 where there was none.

        Torn lines and lost ones are made up for by the numbers reserved.
        """
        numbers = [0]
        for file in (self.log_file, self._rotated_log):
            with contextlib.suppress(OSError):
                numbers += map(int, _NUMBER.findall(file.read_bytes()))
        with contextlib.suppress(OSError, ValueError):
            numbers.append(int(self.number_file.read_bytes()[:20]))
        return max(numbers)

    def reserve_numbers(self, upto: int) -> None:
        """Note that numbers up to this one may be used, before any of them is. Raises OSError."""
        replace_file(self.number_file, f"{upto}\n".encode())

    @property
    def _rotated_log(self) -> Path:
        return self.log_file.with_suffix(".jsonl.1")


class Numbers:
    """Assessment numbers, and so seeds, none of which comes twice, whatever becomes of process and disk."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._last = self._reserved = history.last_number()

    def next(self) -> int:
        """The next one.

        Where none can be reserved because the disk is full or read-only, numbers go on with the milliseconds of the
        clock: nothing that was ever reserved comes near those.
        """
        self._last += 1
        if self._last > self._reserved:
            try:
                self._history.reserve_numbers(self._last + NUMBERS_RESERVED - 1)
                self._reserved = self._last + NUMBERS_RESERVED - 1
            except OSError:
                self._last = max(self._last, time.time_ns() // 10**6)
        return self._last


def _ends_line(file: Path) -> bool:
    """Whether the file is empty or its last line is whole; one that cannot be told about, such as a device, is."""
    try:
        with file.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"
    except OSError:
        return True
