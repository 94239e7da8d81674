"""What a step has found so far, on disk after every finding: a step that is ended in the middle has told it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Record:
    """The findings of one step.

    Attributes:
        path: of the JSON file.
        device: on which the step runs, such as `cuda:0`.
        is_quick: whether sizes are small, and speed is not judged.
        seconds: that the step may take.
        figures: by part of the step.
        requirements: each with `what` is required, what was `found`, and whether it is `met`.
        skipped: by name, why.
    """

    path: Path
    device: str
    is_quick: bool
    seconds: float
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    requirements: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def left_seconds(self) -> float:
        """What is left of the step's time."""
        return self.seconds - (time.monotonic() - self.began)

    def add(self, part: str, **figures: Any) -> None:
        """Figures of a part of the step."""
        self.figures.setdefault(part, {}).update(figures)
        self._write(f"{part}: " + ", ".join(f"{name} {shown(value)}" for name, value in figures.items()))

    def require(self, what: str, met: bool, found: str) -> None:
        """What must hold whatever the sizes are."""
        self.requirements.append({"what": what, "found": found, "met": bool(met)})
        self._write(f"{'PASS' if met else 'FAIL'} {what} ({found})")

    def require_of_speed(self, what: str, met: bool, found: str) -> None:
        """What must hold on a GPU at full sizes, and is not judged elsewhere."""
        if self.is_quick:
            self._write(f"not judged at these sizes: {what} ({found})")
        else:
            self.require(what, met, found)

    def skip(self, what: str, why: str) -> None:
        """What was not measured."""
        self.skipped[what] = why
        self._write(f"skipped {what}: {why}")

    def _write(self, line: str) -> None:
        print(f"  {line}", flush=True)
        content = {"figures": self.figures, "requirements": self.requirements, "skipped": self.skipped}
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(self.path)


def shown(value: Any) -> str:
    """A figure as a table has it."""
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {shown(each)}" for name, each in value.items()) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
