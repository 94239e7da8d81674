"""The state of one model below the data folder; what robmon wrote before there was one file is put into it first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from robmon.history.folder import file_name
from robmon.history.state.kept import Kept
from robmon.history.state.older import OlderFiles, take_over
from robmon.history.state.state_file import StateFile

T = TypeVar("T")


class ModelState:
    """A model's state file, and the files of older layouts beside it. Not for two threads at the same time.

    Args:
        data_dir: the data folder.
        key: of the model, see `history_key`.
        tell_damage: as of `StateFile`.
    """

    def __init__(self, data_dir: Path, key: str, tell_damage: Callable[[str], None]) -> None:
        self._file = StateFile(path_of(data_dir, key), tell_damage)
        self._older = OlderFiles.of(data_dir, file_name(key))

    @property
    def path(self) -> Path:
        """The name of the state file."""
        return self._file.path

    @property
    def exists(self) -> bool:
        """Whether there is one, damaged or not."""
        return self.path.exists() or bool(self._older.there()) or self.set_aside() is not None

    def set_aside(self) -> Path | None:
        """The newest file that was set aside because it could not be understood."""
        return self._file.set_aside() or self._older.set_aside()

    def read(self, do: Callable[[Kept], T], otherwise: T) -> T:
        """As `StateFile.read`."""
        self._take_over()
        return self._file.read(do, otherwise)

    def write(self, do: Callable[[Kept], T]) -> T:
        """As `StateFile.write`."""
        self._take_over()
        return self._file.write(do)

    def together(self, do: Callable[[], T]) -> T:
        """As `StateFile.together`."""
        self._take_over()
        return self._file.together(do)

    def shrink(self, most_bytes: int) -> None:
        """As `StateFile.shrink`."""
        self._file.shrink(most_bytes)

    def _take_over(self) -> None:
        if not self._older.there():
            return
        found = self._older.read()
        self._file.write(lambda kept: take_over(found, kept))
        self._older.leave()


def path_of(data_dir: Path, key: str) -> Path:
    """Where the state file of a model lies."""
    return data_dir / "history" / f"{file_name(key)}.sqlite"
