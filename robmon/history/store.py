"""What robmon remembers of a model across restarts: verdicts, numbers, positions, where detection stands, its past.

Everything lies under `data_dir` in one file of SQLite's, whose rows are JSON that a person can read; baselines lie in
files of their own, `baseline/files.py`. No production input is among what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from robmon.history.attack import AttackRecord
from robmon.history.detection import DetectionRecord
from robmon.history.folder import DamagedStateError
from robmon.history.memory import Entry, Key
from robmon.history.numbers import beyond_all
from robmon.history.past import Past
from robmon.history.scope import Judged, Scope
from robmon.history.state import contents, kept_hours
from robmon.history.state.kept import Kept
from robmon.history.state.model_state import ModelState
from robmon.history.state.records import DEFAULT_BOUNDS, Bounds
from robmon.inputs.readers.position import FilePosition

T = TypeVar("T")


class History:
    """What is remembered of one model, below `data_dir`. Not for two threads at the same time.

    Args:
        data_dir: the data folder.
        key: of the model, see `history_key`.
        bounds: of the assessments and events that are kept.
        tell_damage: as of `StateFile`.

    Attributes:
        past: its assessments and events.
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
        self._last_number = 0  # of those that were reserved here
        self._state = ModelState(data_dir, key, tell_damage)
        self.past = Past(self._state, bounds)

    @property
    def state_file(self) -> Path:
        """Where all of it lies."""
        return self._state.path

    @property
    def exists(self) -> bool:
        """Whether there is one, damaged or not."""
        return self._state.exists

    def set_aside(self) -> Path | None:
        """The newest file that was set aside because it could not be understood."""
        return self._state.set_aside()

    def together(self, do: Callable[[], T]) -> T:
        """What `do` gives; all that it reads and writes of the state file is done, or nothing of it. Raises OSError."""
        return self._state.together(do)

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def read_scope(self, scope: str) -> Scope:
        """What is remembered in that scope.

        A file that cannot be understood is renamed, and so is out of the way of the next write.

        Raises:
            OSError: the file cannot be read.
            DamagedStateError: it cannot be understood, or was set aside before and nothing was decided since.
            NewerStateError: it is of a newer robmon.
        """
        remembered = self._state.read(lambda kept: contents.scope(kept, scope), Scope())
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
            known = contents.scope(kept, scope)
            merged = Scope(entries=added, judged=judged, served=served).merge(known, without=left_out)
            if merged != known:
                contents.put_scope(kept, scope, merged)
            return merged

        return self._state.write(write)

    # --- numbers -----------------------------------------------------------------------------------------------------

    def reserve_numbers(self, count: int) -> range:
        """Numbers that nobody else has had or will get. Raises OSError.

        Where a file was set aside or removed, with the numbers that it knew, they begin beyond all that could have been
        in it.
        """

        def reserve(kept: Kept) -> range:
            last = contents.last_number(kept)
            if last is None:
                is_first = not self._last_number and self.set_aside() is None
                last = 0 if is_first else beyond_all(self._last_number)
            contents.put_last_number(kept, last + count)
            return range(last + 1, last + count + 1)

        reserved = self._state.write(reserve)
        self._last_number = reserved[-1]
        return reserved

    # --- positions ---------------------------------------------------------------------------------------------------

    def read_positions(self, files: str) -> dict[str, FilePosition]:
        """How far each of those files has been read; none where nothing is known of them. Raises OSError."""
        nothing: dict[str, FilePosition] = {}
        return self._state.read(lambda kept: contents.positions(kept, files), nothing)

    def write_positions(self, files: str, positions: Mapping[str, FilePosition]) -> None:
        """Replace them. Raises OSError."""
        self._state.write(lambda kept: contents.put_positions(kept, files, positions))

    def read_offsets(self, group: str) -> dict[tuple[str, int], int]:
        """The next offset of each partition of each topic, for that group of consumers. Raises OSError."""
        nothing: dict[tuple[str, int], int] = {}
        return self._state.read(lambda kept: contents.offsets(kept, group), nothing)

    def write_offsets(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Replace them. Raises OSError."""
        self._state.write(lambda kept: contents.put_offsets(kept, group, offsets))

    # --- detection over time -----------------------------------------------------------------------------------------

    def read_detection(self, scope: str) -> DetectionRecord | None:
        """Where the detector over time stood after its last step in that scope, if it made one. Raises OSError."""
        return self._state.read(lambda kept: contents.detection(kept, scope), None)

    def read_hours(self, of: str) -> tuple[dict[int, dict[str, Any]], set[int]]:
        """Row errors by hour that are kept under that name, and the hours that are left out. Raises OSError."""
        nothing: tuple[dict[int, dict[str, Any]], set[int]] = ({}, set())
        return self._state.read(lambda kept: (kept_hours.read(kept, of), kept_hours.left_out(kept, of)), nothing)

    def write_step(self, scope: str, record: DetectionRecord, of: str, hours: Mapping[int, dict[str, Any]]) -> set[int]:
        """Replace where the detector stands and these of its hours, both or neither. Raises OSError.

        Returns:
            the hours that a person has left out.
        """

        def write(kept: Kept) -> set[int]:
            contents.put_detection(kept, scope, record)
            return kept_hours.write(kept, of, hours)

        return self._state.write(write)

    def known_hours(self, version: str) -> set[int]:
        """The hours of a version that are kept, under whatever terms. Raises OSError."""
        nothing: set[int] = set()
        return self._state.read(lambda kept: kept_hours.of_version(kept, version), nothing)

    def leave_out(self, version: str, hour: int) -> None:
        """Leave out an hour of a version's, from now on. Raises OSError."""
        self._state.write(lambda kept: kept_hours.leave_out(kept, version, hour))

    # --- attacks -----------------------------------------------------------------------------------------------------

    def read_attack(self, scope: str) -> AttackRecord | None:
        """Which version was attacked last in that scope, when, and what came of it. Raises OSError."""
        return self._state.read(lambda kept: contents.attack(kept, scope), None)

    def write_attack(self, scope: str, record: AttackRecord) -> None:
        """Replace it. Raises OSError."""
        self._state.write(lambda kept: contents.put_attack(kept, scope, record))
