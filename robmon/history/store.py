"""What robmon remembers of a model across restarts: verdicts, numbers, positions, past assessments, baselines.

Everything lies under `data_dir`: baselines as JSON that a person can read, the rest in one file of SQLite's, whose rows
are JSON too. No production input is among what is kept.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pydantic import TypeAdapter

from robmon.history.checksum import is_intact
from robmon.history.folder import replace_file
from robmon.history.memory import Entry, Key
from robmon.history.numbers import beyond_all
from robmon.history.older import OlderFiles
from robmon.history.scope import Judged, Scope
from robmon.history.state_file import DamagedStateError, Kept, StateFile
from robmon.inputs.readers.position import FilePosition

MAX_ASSESSMENTS: Final = 20_000
_POSITIONS: TypeAdapter[dict[str, FilePosition]] = TypeAdapter(dict[str, FilePosition])


class History:
    """What is remembered of one model, below `data_dir`. Not for two threads at the same time.

    Args:
        data_dir: the data folder.
        key: of the model, see `history_key`.
    """

    def __init__(self, data_dir: Path, key: str) -> None:
        self.data_dir = data_dir
        self.key = key
        self._file = StateFile(data_dir / "history" / f"{quote(key, safe='')}.sqlite")
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

        Where a file was set aside, with the numbers that it knew, they begin beyond all that could have been in it.
        """

        def reserve(kept: Kept) -> range:
            known = kept.get("numbers")
            last = int(known) if known is not None else 0 if self.set_aside() is None else beyond_all()
            kept.put("numbers", "", str(last + count).encode())
            return range(last + 1, last + count + 1)

        self._take_over()
        return self._file.write(reserve)

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

    # --- assessments -------------------------------------------------------------------------------------------------

    def append(self, assessment: Mapping[str, Any]) -> None:
        """Add one assessment, with `at` and `number`; the oldest beyond a bound are dropped. Raises OSError."""
        at, number, content = float(assessment["at"]), int(assessment["number"]), json.dumps(assessment).encode()
        self._take_over()
        self._file.write(lambda kept: kept.append(at, number, content, most=MAX_ASSESSMENTS))

    def assessments(self) -> list[dict[str, Any]]:
        """All past ones that are known, in the order in which they were written. Raises OSError."""
        self._take_over()
        nothing: list[bytes] = []
        return [json.loads(each) for each in self._file.read(Kept.assessments, nothing)]

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
                kept.append(line["at"], line["number"], json.dumps(line).encode(), most=MAX_ASSESSMENTS)

        self._file.write(write)
        self._older.leave()


def _scope(kept: Kept, name: str) -> Scope:
    content = kept.get("scope", name)
    return Scope() if content is None else Scope.model_validate_json(content)
