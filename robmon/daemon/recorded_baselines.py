"""The baselines of versions, in memory and as they lie on disk; a disk that hangs holds up nothing."""

from __future__ import annotations

from typing import Any, Final

import structlog

from robmon.daemon.writer import Writer
from robmon.export.published import BaselineInfo
from robmon.history.state_file import DamagedStateError
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
        self._damage: dict[str, str] = {}
        """A sentence on each version whose baseline was damaged."""

    def of(self, version: str) -> dict[str, Any] | None:
        """What is known of that version's; None where nothing is."""
        return self._known.get(version)

    def info(self, version: str) -> BaselineInfo:
        """What is published of it."""
        baseline, problem = self._known.get(version), self._damage.get(version, "")
        if baseline is None:
            return BaselineInfo(problem=problem)
        source, rows = str(baseline.get("source")), int(baseline.get("rows", 0))
        return BaselineInfo(source, rows, baseline.get("at"), problem)

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
                self._give_up(version, "the disk does not answer")
            except OSError as error:
                self._give_up(version, error.strerror or type(error).__name__)
            except DamagedStateError as error:
                self._damage[version] = f"The baseline is damaged, was set aside as {error}, and is learnt anew."
                log.error("recorded baseline damaged", version=version, set_aside=str(error))
        if recorded is not None:
            self._known[version] = self._written[version] = recorded

    def _give_up(self, version: str, why: str) -> None:
        self._unread.add(version)
        log.warning("recorded baseline not read", version=version, error=why)

    def learn(self, version: str, baseline: dict[str, Any]) -> None:
        """Take it over, and write it where the disk has another, also one that could not be written before."""

        def write() -> None:
            self._history.write_baseline(version, baseline)
            self._written[version] = baseline

        self._known[version] = baseline
        if self._written.get(version) != baseline and version not in self._unread:
            self._writer.write(write, place=version)
