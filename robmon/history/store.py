"""What robmon remembers of a model across restarts: verdicts, numbers, positions, past assessments, baselines.

Everything lies under `data_dir`: baselines as JSON that a person can read, the rest in one file of SQLite's, whose rows
are JSON too: `records.py` has its tables. No production input is among what is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter

from robmon.history import kept_hours
from robmon.history.attack import AttackRecord
from robmon.history.checksum import is_intact
from robmon.history.detection import DetectionRecord
from robmon.history.events import Event
from robmon.history.folder import replace_file
from robmon.history.kept import Kept
from robmon.history.memory import Entry, Key
from robmon.history.numbers import beyond_all
from robmon.history.older import OlderFiles
from robmon.history.records import DEFAULT_BOUNDS, Bounds, Row
from robmon.history.scope import Judged, Scope
from robmon.history.state_file import DamagedStateError, StateFile
from robmon.inputs.readers.position import FilePosition

ROWS_CHECKED: Final = 1000
"""At a time, some ten milliseconds: verdicts that wait to be written come between."""
T = TypeVar("T")
_POSITIONS: TypeAdapter[dict[str, FilePosition]] = TypeAdapter(dict[str, FilePosition])
_OFFSETS: TypeAdapter[dict[str, dict[str, int]]] = TypeAdapter(dict[str, dict[str, int]])


class History:
    """What is remembered of one model, below `data_dir`. Not for two threads at the same time.

    Args:
        data_dir: the data folder.
        key: of the model, see `history_key`.
        bounds: of the assessments and events that are kept.
        tell_damage: as of `StateFile`.
    """

    def __init__(
        self,
        data_dir: Path,
        key: str,
        bounds: Bounds = DEFAULT_BOUNDS,
        tell_damage: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.data_dir = data_dir
        self.key = key
        self._bounds = bounds
        self._last_number = 0  # of those that were reserved here
        self._file = StateFile(data_dir / "history" / f"{quote(key, safe='')}.sqlite", tell_damage)
        self._older = OlderFiles.of(data_dir, quote(key, safe=""))

    @property
    def state_file(self) -> Path:
        """Verdicts by scope, numbers, positions, and one row for each good assessment."""
        return self._file.path

    def baseline_file(self, version: str) -> Path:
        """The baseline of one version."""
        return self.data_dir / "baselines" / quote(self.key, safe="") / f"{quote(version, safe='')}.json"

    @property
    def exists(self) -> bool:
        """Whether there is one, damaged or not."""
        return self.state_file.exists() or bool(self._older.there()) or self.set_aside() is not None

    def set_aside(self) -> Path | None:
        """The newest file that was set aside because it could not be understood."""
        return self._file.set_aside() or self._older.set_aside()

    def together(self, do: Callable[[], T]) -> T:
        """What `do` gives; all that it reads and writes of the state file is done, or nothing of it. Raises OSError."""
        self._take_over()
        return self._file.together(do)

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def read_scope(self, scope: str) -> Scope:
        """What is remembered in that scope.

        A file that cannot be understood is renamed, and so is out of the way of the next write.

        Raises:
            OSError: the file cannot be read.
            DamagedStateError: it cannot be understood, or was set aside before and nothing was decided since.
            NewerStateError: it is of a newer robmon.
        """
        self._take_over()
        remembered = self._file.read(lambda kept: _scope(kept, scope), Scope())
        if not remembered.entries and (aside := self.set_aside()) is not None:
            raise DamagedStateError(aside.name)
        return remembered

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
        added, left_out = tuple(entries), tuple(without)

        def write(kept: Kept) -> Scope:
            known = _scope(kept, scope)
            merged = Scope(entries=added, judged=judged, served=served).merge(known, without=left_out)
            if merged != known:
                kept.put("scope", scope, merged.model_dump_json().encode())
            return merged

        self._take_over()
        return self._file.write(write)

    # --- numbers -----------------------------------------------------------------------------------------------------

    def reserve_numbers(self, count: int) -> range:
        """Numbers that nobody else has had or will get. Raises OSError.

        Where a file was set aside or removed, with the numbers that it knew, they begin beyond all that could have been
        in it.
        """

        def reserve(kept: Kept) -> range:
            known = kept.get("numbers")
            is_first = not self._last_number and self.set_aside() is None
            last = int(known) if known is not None else 0 if is_first else beyond_all(self._last_number)
            kept.put("numbers", "", str(last + count).encode())
            return range(last + 1, last + count + 1)

        self._take_over()
        reserved = self._file.write(reserve)
        self._last_number = reserved[-1]
        return reserved

    # --- positions ---------------------------------------------------------------------------------------------------

    def read_positions(self, files: str) -> dict[str, FilePosition]:
        """How far each of those files has been read; none where nothing is known of them. Raises OSError."""
        self._take_over()
        content = self._file.read(lambda kept: kept.get("positions", files), None)
        return {} if content is None else _POSITIONS.validate_json(content)

    def write_positions(self, files: str, positions: Mapping[str, FilePosition]) -> None:
        """Replace them. Raises OSError."""
        content = _POSITIONS.dump_json(dict(positions))
        self._take_over()
        self._file.write(lambda kept: kept.put("positions", files, content))

    def read_offsets(self, group: str) -> dict[tuple[str, int], int]:
        """The next offset of each partition of each topic, for that group of consumers. Raises OSError."""
        self._take_over()
        content = self._file.read(lambda kept: kept.get("positions", _of_group(group)), None)
        told = {} if content is None else _OFFSETS.validate_json(content)
        return {(topic, int(partition)): offset for topic, of in told.items() for partition, offset in of.items()}

    def write_offsets(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Replace them. Raises OSError."""
        told: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in offsets.items():
            told.setdefault(topic, {})[str(partition)] = offset
        self._take_over()
        self._file.write(lambda kept: kept.put("positions", _of_group(group), json.dumps(told).encode()))

    # --- assessments and events --------------------------------------------------------------------------------------

    def append(
        self,
        assessment: Mapping[str, Any],
        specification: Mapping[str, Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Add one assessment, with `at` and `number`, and what is too old or too much goes. Raises OSError.

        Args:
            assessment: as JSON can hold it.
            specification: by which it was made, kept once; its name is added to the assessment.
            now: the Unix time by which others are too old.
        """
        at, number = float(assessment["at"]), int(assessment["number"])
        name, whole = "", b""
        if specification is not None:
            whole = _json(specification)
            name = hashlib.blake2b(whole, digest_size=8).hexdigest()
            assessment = {**assessment, "specification_name": name}
        content = _json(assessment)

        def write(kept: Kept) -> None:
            kept.records.add_assessment(at, number, content)
            if name:
                kept.records.add_specification(name, whole)
            kept.records.bound(self._bounds, now())

        self._take_over()
        self._file.write(write)
        self._file.shrink(self._bounds.max_bytes)

    def add_events(self, events: Iterable[Event], told: Mapping[str, Any] | None = None) -> None:
        """Add what happened, each event once, and remember with them what has been told by now. Raises OSError."""
        rows = [(event.at, _json(event.to_dict())) for event in events]

        def write(kept: Kept) -> None:
            for at, content in rows:
                kept.records.add_event(at, content)
            if told is not None:
                kept.put("told", "", _json(told))

        self._take_over()
        self._file.write(write)

    def read_told(self) -> dict[str, Any]:
        """What had been told with the events added last; nothing where none were. Raises OSError."""
        self._take_over()
        content = self._file.read(lambda kept: kept.get("told"), None)
        return {} if content is None else json.loads(content)

    def assessments(self) -> list[dict[str, Any]]:
        """All past ones that are known, in the order in which they were written. Raises OSError."""
        return self._rows("assessments")

    def unlogged(self, most: int) -> list[dict[str, Any]]:
        """The oldest assessments that are not logged elsewhere yet, at most so many. Raises OSError."""

        def read(kept: Kept) -> list[Row]:
            logged = kept.get("logged")
            after = 0 if logged is None else kept.records.behind_row_of("assessments", float(logged))
            return kept.records.some("assessments", after, most)

        nothing: list[Row] = []
        return [json.loads(row.content) for row in self._file.read(read, nothing)]

    def tell_logged(self, until: float) -> None:
        """Remember that all up to the one of that time are. Raises OSError."""
        self._file.write(lambda kept: kept.put("logged", "", repr(until).encode()))

    def events(self) -> list[dict[str, Any]]:
        """All that are known, in the order in which they were written. Raises OSError."""
        return self._rows("events")

    def specifications(self) -> dict[str, dict[str, Any]]:
        """Those by which assessments were made, by their names. Raises OSError."""
        self._take_over()
        nothing: dict[str, bytes] = {}
        found = self._file.read(lambda kept: kept.records.specifications(), nothing)
        return {name: json.loads(content) for name, content in found.items()}

    def check_rows(self, table: str, after: int = 0) -> int | None:
        """Look whether the next rows of `assessments` or `events` are whole, else set the file aside. Raises OSError.

        Returns:
            the id of the last row looked at; None behind the last one.
        """

        def check(kept: Kept) -> int | None:
            rows = kept.records.some(table, after, ROWS_CHECKED)
            return rows[-1].id if rows else None

        return self._file.read(check, None)

    def _rows(self, table: str) -> list[dict[str, Any]]:
        self._take_over()
        nothing: list[dict[str, Any]] = []
        return self._file.read(lambda kept: [json.loads(row.content) for row in kept.records.rows(table)], nothing)

    # --- detection over time -----------------------------------------------------------------------------------------

    def read_detection(self, scope: str) -> DetectionRecord | None:
        """Where the detector over time stood after its last step in that scope, if it made one. Raises OSError."""
        self._take_over()
        content = self._file.read(lambda kept: kept.get("detection", scope), None)
        return None if content is None else DetectionRecord.model_validate_json(content)

    def read_hours(self, of: str) -> tuple[dict[int, dict[str, Any]], set[int]]:
        """Row errors by hour that are kept under that name, and the hours that are left out. Raises OSError."""
        self._take_over()
        nothing: tuple[dict[int, dict[str, Any]], set[int]] = ({}, set())
        return self._file.read(lambda kept: (kept_hours.read(kept, of), kept_hours.left_out(kept, of)), nothing)

    def write_step(self, scope: str, record: DetectionRecord, of: str, hours: Mapping[int, dict[str, Any]]) -> set[int]:
        """Replace where the detector stands and these of its hours, both or neither. Raises OSError.

        Returns:
            the hours that a person has left out.
        """
        content = record.model_dump_json().encode()

        def write(kept: Kept) -> set[int]:
            kept.put("detection", scope, content)
            return kept_hours.write(kept, of, hours)

        self._take_over()
        return self._file.write(write)

    def known_hours(self, version: str) -> set[int]:
        """The hours of a version that are kept, under whatever terms. Raises OSError."""
        self._take_over()
        nothing: set[int] = set()
        return self._file.read(lambda kept: kept_hours.of_version(kept, version), nothing)

    def leave_out(self, version: str, hour: int) -> None:
        """Leave out an hour of a version's, from now on. Raises OSError."""
        self._take_over()
        self._file.write(lambda kept: kept_hours.leave_out(kept, version, hour))

    # --- attacks -----------------------------------------------------------------------------------------------------

    def read_attack(self, scope: str) -> AttackRecord | None:
        """Which version was attacked last in that scope, when, and what came of it. Raises OSError."""
        self._take_over()
        content = self._file.read(lambda kept: kept.get("attack", scope), None)
        return None if content is None else AttackRecord.model_validate_json(content)

    def write_attack(self, scope: str, record: AttackRecord) -> None:
        """Replace it. Raises OSError."""
        content = record.model_dump_json().encode()
        self._take_over()
        self._file.write(lambda kept: kept.put("attack", scope, content))

    # --- baselines ---------------------------------------------------------------------------------------------------

    def read_baseline(self, version: str) -> dict[str, Any] | None:
        """The baseline of a version, or None. One that is damaged is renamed, and so is out of the way of the next.

        Raises:
            OSError: the file cannot be read.
            DamagedStateError: it is not as it was written.
        """
        file = self.baseline_file(version)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        with contextlib.suppress(ValueError, RecursionError):
            baseline = json.loads(content)
            if isinstance(baseline, dict) and (baseline.get("format") == 1 or is_intact(baseline)):
                return baseline
        aside = file.with_name(f"{file.name}.damaged-{time.time_ns()}")
        file.rename(aside)
        raise DamagedStateError(aside.name)

    def write_baseline(self, version: str, baseline: dict[str, Any]) -> None:
        """Replace the baseline of a version. Raises OSError."""
        replace_file(self.baseline_file(version), json.dumps(baseline).encode())

    # --- what robmon wrote before ------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Put into the file what lies beside it in an older layout."""
        if not self._older.there():
            return
        found = self._older.read()

        def write(kept: Kept) -> None:
            for name, added in found.scopes.items():
                merged = _scope(kept, name).merge(added)
                kept.put("scope", name, merged.model_dump_json().encode())
            kept.put("numbers", "", str(max(found.last_number, int(kept.get("numbers") or 0))).encode())
            for files, positions in found.positions.items():
                if kept.get("positions", files) is None:
                    kept.put("positions", files, _POSITIONS.dump_json(positions))
            for line in found.assessments:
                kept.records.add_assessment(line["at"], line["number"], json.dumps(line).encode())

        self._file.write(write)
        self._older.leave()


def _scope(kept: Kept, name: str) -> Scope:
    content = kept.get("scope", name)
    return Scope() if content is None else Scope.model_validate_json(content)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(_finite(content), separators=(",", ":"), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    """As JSON can hold it: infinite numbers as text, what is no number as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _of_group(group: str) -> str:
    """What the offsets of a consumer group are called among the positions; no place of files is called so."""
    return f"kafka:{group}"
