"""The baselines of a model's versions in the data folder: each a file of JSON, which a person can read too."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from robmon.history.baseline.checksum import is_intact
from robmon.history.folder import DamagedStateError, file_name, replace_file


class BaselineFiles:
    """The baseline files of one model.

    Args:
        data_dir: the data folder.
        key: of the model, see `history_key`.
    """

    def __init__(self, data_dir: Path, key: str) -> None:
        self._folder = data_dir / "baselines" / file_name(key)

    def path(self, version: str) -> Path:
        """Where the baseline of a version lies."""
        return self._folder / f"{file_name(version)}.json"

    def read(self, version: str) -> dict[str, Any] | None:
        """That of a version, or None. One that is damaged is renamed, and so is out of the way of the next.

        Raises:
            OSError: the file cannot be read.
            DamagedStateError: it is not as it was written.
        """
        file = self.path(version)
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

    def write(self, version: str, baseline: dict[str, Any]) -> None:
        """Replace the baseline of a version. Raises OSError."""
        replace_file(self.path(version), json.dumps(baseline).encode())
