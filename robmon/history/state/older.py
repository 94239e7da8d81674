"""What robmon kept in files of their own before there was one state file: read once, then left under another name."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from robmon.history.numbers import beyond_all
from robmon.history.scope import Scope
from robmon.history.state import contents
from robmon.history.state.kept import Kept
from robmon.inputs.readers.position import FilePosition

_NUMBER: Final = re.compile(rb'"number": ?(\d{1,18})\b')


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scopes: dict[str, Scope]


@dataclass
class Older:
    """What was found."""

    scopes: dict[str, Scope] = field(default_factory=dict)
    last_number: int = 0
    """One that no assessment before has exceeded."""
    positions: dict[str, dict[str, FilePosition]] = field(default_factory=dict)
    """By the files that they are of."""
    assessments: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class OlderFiles:
    """The files: verdicts, the number reserved, the log and the one before it, positions."""

    verdicts: Path
    number: Path
    logs: tuple[Path, Path]
    positions: Path

    @classmethod
    def of(cls, data_dir: Path, name: str) -> OlderFiles:
        """The older files of the model that has this name among files."""
        history = data_dir / "history"
        logs = (history / f"{name}.jsonl.1", history / f"{name}.jsonl")
        return cls(history / f"{name}.json", history / f"{name}.number", logs, data_dir / "file-positions.json")

    def there(self) -> list[Path]:
        """The older files that are there."""
        return [path for path in (self.verdicts, self.number, *self.logs, self.positions) if path.exists()]

    def read(self) -> Older:
        """What they hold; verdicts that cannot be understood are set aside. Raises OSError."""
        found = Older(last_number=self._last_number())
        if self.verdicts.exists():
            try:
                found.scopes = _State.model_validate_json(self.verdicts.read_bytes()).scopes
            except ValidationError:
                self.verdicts.rename(self.verdicts.with_name(f"{self.verdicts.name}.damaged-{time.time_ns()}"))
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            content = json.loads(self.positions.read_bytes())
            found.positions = {str(content["files"]): contents.POSITIONS.validate_python(content["positions"])}
        found.assessments = [line for log in self.logs if log.exists() for line in _lines(log)]
        return found

    def leave(self) -> None:
        """Rename them, so that they are not read again. Raises OSError."""
        for path in self.there():
            path.rename(path.with_name(f"{path.name}.taken-over"))

    def set_aside(self) -> Path | None:
        """The newest file of verdicts that was set aside."""
        folder, name = self.verdicts.parent, f"{self.verdicts.name}.damaged-"
        return max((path for path in folder.glob("*.damaged-*") if path.name.startswith(name)), default=None)

    def _last_number(self) -> int:
        """Torn lines and lost ones are made up for by the numbers reserved."""
        numbers = [0]
        for log in self.logs:
            with contextlib.suppress(FileNotFoundError):
                numbers += map(int, _NUMBER.findall(log.read_bytes()))
        if self.number.exists():
            text = self.number.read_bytes()[:20].strip()
            numbers.append(int(text) if text.isdigit() else beyond_all())
        return max(numbers)


def take_over(found: Older, kept: Kept) -> None:
    """Put what was found into the state file, beside what is there already."""
    for name, added in found.scopes.items():
        contents.put_scope(kept, name, contents.scope(kept, name).merge(added))
    contents.put_last_number(kept, max(found.last_number, contents.last_number(kept) or 0))
    for files, positions in found.positions.items():
        if kept.get("positions", files) is None:
            contents.put_positions(kept, files, positions)
    for line in found.assessments:
        kept.records.add_assessment(line["at"], line["number"], json.dumps(line).encode())


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a log."""
    for line in log.read_bytes().splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict) and _is_number(found.get("at")) and _is_number(found.get("number")):
                yield found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and abs(value) < 2**63
