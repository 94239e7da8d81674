"""What robmon remembers of a model across restarts: verdicts, baselines, past assessments.

Everything lies under `data_dir` as JSON that a person can read. Files are replaced whole (written beside, then
renamed), so that a kill in mid-write leaves the old one; no production input is among what is kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from robmon.messages import Verdict

MAX_LOG_BYTES = 8 * 2**20


class Regression(BaseModel):
    """A version that is worse than the accepted one beyond chance and tolerance."""

    model_config = ConfigDict(frozen=True)

    version: str
    reference_version: str
    since: float
    """Unix time at which the regression was found."""


class VersionState(BaseModel):
    """The verdict as state: it stands until a version passes against the accepted one, or a person accepts."""

    model_config = ConfigDict(frozen=True)

    accepted_version: str | None = None
    judged_version: str | None = None
    judged_against: str | None = None
    verdict: Verdict | None = None
    regression: Regression | None = None

    def accept(self, version: str) -> VersionState:
        """A person, or the very first assessment, says that this version is good."""
        return VersionState(accepted_version=version, judged_version=version, judged_against=version)

    def judge(self, version: str, verdict: Verdict, now: float) -> VersionState:
        """A verdict against the accepted version came: a version that passes becomes the accepted one."""
        reference = verdict.reference_version
        if not verdict.worse:
            return VersionState(
                accepted_version=version, judged_version=version, judged_against=reference, verdict=verdict
            )
        standing = self.regression
        since = standing.since if standing is not None and standing.reference_version == reference else now
        return VersionState(
            accepted_version=reference,
            judged_version=version,
            judged_against=reference,
            verdict=verdict,
            regression=Regression(version=version, reference_version=reference, since=since),
        )


@dataclass(frozen=True)
class History:
    """The files of one model below `data_dir`."""

    data_dir: Path
    key: str
    """Of the model, see `history_key`."""

    @property
    def state_file(self) -> Path:
        """Accepted version and standing regression."""
        return self.data_dir / "history" / f"{quote(self.key, safe='')}.json"

    @property
    def log_file(self) -> Path:
        """One line for each good assessment."""
        return self.data_dir / "history" / f"{quote(self.key, safe='')}.jsonl"

    def baseline_file(self, version: str) -> Path:
        """The baseline of one version."""
        return self.data_dir / "baselines" / quote(self.key, safe="") / f"{quote(version, safe='')}.json"

    def read_state(self) -> VersionState:
        """The state as last written; a file that cannot be understood counts as none."""
        try:
            return VersionState.model_validate_json(self.state_file.read_bytes())
        except (OSError, ValidationError):
            return VersionState()

    def write_state(self, state: VersionState) -> None:
        """Replace the state. Raises OSError."""
        _replace(self.state_file, state.model_dump_json(indent=1).encode())

    def read_baseline(self, version: str) -> dict[str, Any] | None:
        """The baseline of a version, or None."""
        try:
            baseline = json.loads(self.baseline_file(version).read_bytes())
        except (OSError, ValueError):
            return None
        return baseline if isinstance(baseline, dict) else None

    def write_baseline(self, version: str, baseline: dict[str, Any]) -> None:
        """Replace the baseline of a version. Raises OSError."""
        _replace(self.baseline_file(version), json.dumps(baseline).encode())

    def append(self, assessment: dict[str, Any]) -> None:
        """Add one assessment to the log, whose older half is dropped beyond a bound. Raises OSError."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log_file.exists() and self.log_file.stat().st_size > MAX_LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".jsonl.1"))
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(assessment) + "\n")

    def last_number(self) -> int:
        """The number of the last assessment in the log, 0 where there is none."""
        try:
            last_line = self.log_file.read_bytes()[-4096:].splitlines()[-1]
            return int(json.loads(last_line)["number"])
        except (OSError, IndexError, ValueError, KeyError, TypeError):
            return 0


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
