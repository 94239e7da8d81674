"""The baselines of versions, in memory and as they lie on disk; a disk that hangs holds up nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import structlog

from robmon.daemon.memory.writer import READ_SECONDS, Writer
from robmon.export.published import BaselineInfo
from robmon.history.baseline.checksum import SCALES, is_intact, with_checksum
from robmon.history.baseline.files import BaselineFiles
from robmon.history.folder import DamagedStateError
from robmon.processes.messages.model import ModelVersion

log = structlog.get_logger("robmon.assess")

LARGEST_TOLD: Final = 1e11
"""Rows, or Unix seconds."""


class RecordedBaselines:
    """One baseline a version: recorded beside the model, read from disk, or learnt since."""

    def __init__(self, files: BaselineFiles, writer: Writer) -> None:
        self._files = files
        self._writer = writer
        self._written: dict[str, dict[str, Any]] = {}
        """As they lie on disk."""
        self._unread: set[str] = set()
        """Versions whose recorded baseline could not be read, and so is not replaced."""
        self._known: dict[str, dict[str, Any]] = {}
        self._damage: dict[str, str] = {}
        """A sentence on each version whose baseline was damaged."""
        self._not_shared: dict[str, str] = {}
        """A sentence on each version whose hours are in the data folder alone."""

    def of(self, version: str) -> dict[str, Any] | None:
        """What is known of that version's; None where nothing is."""
        return self._known.get(version)

    def info(self, version: str) -> BaselineInfo:
        """What is published of it."""
        baseline = self._known.get(version)
        problem = " ".join(filter(None, (self._damage.get(version), self._not_shared.get(version))))
        if baseline is None:
            return BaselineInfo(problem=problem)
        rows = _number(baseline.get("rows")) or 0
        return BaselineInfo(str(baseline.get("source")), int(rows), _number(baseline.get("at")), problem)

    async def read(self, model: ModelVersion) -> None:
        """Know the baseline of that version, if there is one: recorded beside it, on disk, or learnt by other pods."""
        version = model.version
        for before, learnt in model.learnt_before.items():
            self._known.setdefault(before, learnt)
        if version in self._known or version in self._unread:
            return
        recorded = model.baseline
        kept = await self._read_disk(version)
        if recorded is None or (kept is not None and _scales(kept) == _scales(recorded)):
            recorded = kept  # the same, with what was found since: what the canary gave, for one
        if recorded is not None:
            self._known[version] = self._written[version] = recorded
        if model.learnt is not None and is_intact(model.learnt):
            self.take_shared(version, model.learnt)

    async def read_others(self, versions: Iterable[str]) -> None:
        """Know those of other versions, as far as they are on disk."""
        for version in versions:
            if version not in self._known and version not in self._unread:
                baseline = await self._read_disk(version)
                if baseline is None:
                    self._unread.discard(version)
                else:
                    self._known[version] = self._written[version] = baseline

    def take_shared(self, version: str, shared: dict[str, Any]) -> None:
        """Take over the hours that all pods of that version have gathered; all of it, where nothing is known here."""
        self._not_shared.pop(version, None)
        known = self._known.get(version)
        if known is None or known.get("source") == "learning":
            self._known[version] = shared
        elif known.get("source") == shared.get("source") == "learnt" or _scales(known) == _scales(shared):
            self._known[version] = with_checksum({**known, "hourly": shared.get("hourly")})

    def tell_not_shared(self, version: str, why: str) -> None:
        """What was learnt is not where other pods find it."""
        self._not_shared[version] = f"What was learnt of this version is in the data folder alone: {why}."

    async def _read_disk(self, version: str) -> dict[str, Any] | None:
        try:
            return await self._writer.ask(lambda: self._files.read(version), READ_SECONDS)
        except TimeoutError:
            self._give_up(version, "the disk does not answer")
        except OSError as error:
            self._give_up(version, error.strerror or type(error).__name__)
        except DamagedStateError as error:
            self._damage[version] = f"The baseline is damaged, was set aside as {error}, and is learnt anew."
            log.error("recorded baseline damaged", version=version, set_aside=str(error))
        return None

    def _give_up(self, version: str, why: str) -> None:
        self._unread.add(version)
        log.warning("recorded baseline not read", version=version, error=why)

    def learn(self, version: str, baseline: dict[str, Any]) -> None:
        """Take it over, and write it where the disk has another, also one that could not be written before.

        One that was learnt is written again too where its file has been removed: a restart would learn for hours. Who
        wants that removes it while robmon does not run.
        """
        baseline = _sharing(self._known.get(version, {}), baseline)

        def write() -> None:
            self._files.write(version, baseline)
            self._written[version] = baseline

        def write_if_removed() -> None:
            if not self._files.path(version).exists():
                log.warning("baseline was removed, and is written again", version=version)
                write()

        self._known[version] = baseline
        if version in self._unread:
            return
        if self._written.get(version) != baseline:
            self._writer.write(write, place=version)
        elif baseline.get("source") == "learnt":
            self._writer.write(write_if_removed, place=version)


def _number(value: Any) -> float | None:
    """What is told of a baseline; None where it is no such number: whoever writes artifacts writes what he likes."""
    return value if isinstance(value, int | float) and 0 <= value < LARGEST_TOLD else None


def _sharing(before: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    """The same, of which parts that have not changed are those of before: whoever holds both holds them once."""
    return {
        name: before[name] if name in before and before[name] == value else value for name, value in baseline.items()
    }


def _scales(baseline: dict[str, Any]) -> list[Any]:
    return [baseline.get(name) for name in SCALES]
