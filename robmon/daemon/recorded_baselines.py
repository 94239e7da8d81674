"""The baselines of versions, in memory and as they lie on disk; a disk that hangs holds up nothing."""

from __future__ import annotations

from typing import Any, Final

import structlog

from robmon.daemon.writer import Writer
from robmon.export.published import BaselineInfo
from robmon.history.store import History
from robmon.processes.messages import ModelVersion

log = structlog.get_logger("robmon.assess")

READ_SECONDS: Final = 10.0
"""How long a recorded baseline is waited for."""


class RecordedBaselines:
    """One baseline a version: recorded beside the model, read from disk, or learnt since."""

    def __init__(self, history: History, writer: Writer) -> None:
        self._history = history
        self._writer = writer
        self._written: dict[str, dict[str, Any]] = {}
        """As they lie on disk."""
        self._unread: set[str] = set()
        """Versions whose recorded baseline could not be read, and so is not replaced."""
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, version: str) -> dict[str, Any] | None:
        """What is known of that version's; None where nothing is."""
        return self._known.get(version)

    def info(self, version: str) -> BaselineInfo:
        """What is published of it."""
        baseline = self._known.get(version)
        if baseline is None:
            return BaselineInfo()
        return BaselineInfo(str(baseline.get("source")), int(baseline.get("rows", 0)), baseline.get("at"))

    async def read(self, model: ModelVersion) -> None:
        """Know the baseline recorded for that version, if there is one."""
        version = model.version
        if version in self._known or version in self._unread:
            return
        recorded = model.baseline
        if recorded is None:
            try:
                recorded = await self._writer.ask(lambda: self._history.read_baseline(version), READ_SECONDS)
            except TimeoutError:
                self._unread.add(version)
                log.warning("recorded baseline not read", version=version, error="the disk does not answer")
        if recorded is not None:
            self._known[version] = self._written[version] = recorded

    def learn(self, version: str, baseline: dict[str, Any]) -> None:
        """Take it over, and write it where the disk has another, also one that could not be written before."""

        def write() -> None:
            self._history.write_baseline(version, baseline)
            self._written[version] = baseline

        self._known[version] = baseline
        if self._written.get(version) != baseline and version not in self._unread:
            self._writer.write(write, place=version)
