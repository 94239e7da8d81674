"""The detector over time beside the version served: what it knows is kept in memory and on disk, a step at a time.

A step and the hours that it adds are written in one transaction, so that a kill neither doubles nor loses a step that
was told. What the disk does not take is kept here, and written when there is room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from robmon.daemon.memory.detection import (
    Asked,
    accepted_by_person,
    fresh,
    hours_name,
    identity_of,
    record_after,
    restart_reason,
    threshold_of,
)
from robmon.daemon.memory.writer import READ_SECONDS, Writer
from robmon.history.baseline.inheritance import inheritance
from robmon.history.detection import DetectionRecord
from robmon.history.memory import Entries
from robmon.history.store import History
from robmon.inputs.sample import Item
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.model import ModelVersion
from robmon.processes.messages.question import DetectionQuestion, InheritedBaseline
from robmon.settings import Settings
from robmon.vocabulary import MOST_HOURS

log = structlog.get_logger("robmon.detection")


class RegressionWatch:
    """Knows where detection stands; nothing raises once it is built.

    Args:
        settings: of assessments and alerts.
        history: keeps it.
        writer: writes there.
        count_restart: told why evidence that was gathered counts no more.
    """

    def __init__(
        self, settings: Settings, history: History, writer: Writer, count_restart: Callable[[str], None]
    ) -> None:
        self.record: DetectionRecord | None = None
        """Where the detector stands; None where it has made no step yet."""
        self._settings = settings
        self._history = history
        self._writer = writer
        self._count_restart = count_restart
        self._of: str | None = None
        self._hours: dict[int, dict[str, Any]] = {}
        self._unwritten: dict[int, dict[str, Any]] = {}
        self._left_out: set[int] = set()
        self._is_unread = False
        try:
            self.record = history.read_detection(settings.scope)
        except OSError as error:  # another process may hold the file for a while
            self._is_unread = True
            log.warning("the saved state of detection over time cannot be read yet", error=error.strerror)
        except ValueError as error:
            _tell_lost(error)

    async def begin(self, model: ModelVersion, baseline: Mapping[str, Any] | None, entries: Entries) -> None:
        """Watch this version, with this baseline: go on where that is what was watched before, else begin at 0."""
        await self._read_again()
        await self._know_hours(hours_name(identity_of(self._settings, model, baseline, entries)))
        identity = identity_of(self._settings, model, baseline, entries, self._left_out)
        reason = restart_reason(self.record, identity)
        if reason is not None:
            self._count_restart(reason)
            log.info("evidence begins at 0", version=model.version, because=reason)
        if self.record is not None and (reason is not None or self.record.identity != identity):
            self.record = None

    async def _read_again(self) -> None:
        """What could not be read at the start, before a first step replaces it."""
        if not self._is_unread:
            return
        self._is_unread = False
        try:
            self.record = await self._writer.ask(
                lambda: self._history.read_detection(self._settings.scope), READ_SECONDS
            )
        except (OSError, ValueError, TimeoutError) as error:
            _tell_lost(error)

    async def _know_hours(self, of: str) -> None:
        if of == self._of:
            return
        self._of, self._hours, self._unwritten, self._left_out = of, {}, {}, set()
        try:
            self._hours, self._left_out = await self._writer.ask(lambda: self._history.read_hours(of), READ_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            log.error("hours of the baseline not read", error=type(error).__name__)

    def ask(
        self,
        model: ModelVersion,
        baseline: Mapping[str, Any] | None,
        entries: Entries,
        items: Sequence[Item],
        baseline_of: Callable[[str], dict[str, Any] | None],
    ) -> Asked:
        """The next step, on those of these requests that count.

        Args:
            model: the version served.
            baseline: its own, None where it has none.
            entries: the memory.
            items: the requests.
            baseline_of: what is known of another version's, whose hours stand in for those that are not there.
        """
        alerts, record = self._settings.alerts, self.record
        found = record.found if record is not None else None
        basis = found.basis if found is not None else None
        is_week, is_standing = basis == "week", found is not None and found.is_standing
        question = DetectionQuestion(
            false_alarms_per_month=alerts.false_alarms_per_month,
            interval_seconds=self._settings.assess.interval_seconds,
            tolerance=alerts.tolerance,
            clear_evidence=alerts.clear_evidence,
            detector=found.detector if found is not None else None,
            basis=basis,
            run_id=model.run_id,
            accepted_at=accepted_by_person(entries, model),
            hours={} if is_week else self._hours,
            learns=not is_week and not is_standing,
            without=sorted(self._left_out),
        )
        if basis is None:
            before = inheritance(entries, model.version, model.run_id, baseline_of)
            question.inherited = [InheritedBaseline(**each._asdict()) for each in before]
        identity = identity_of(self._settings, model, baseline, entries, self._left_out)
        return Asked(question, fresh(items, record.counted if record is not None else ()), identity)

    def take(self, asked: Asked, result: Assessed) -> None:
        """Take over what came of that step, and have it written."""
        if result.detection is None:
            return
        before, at = self.record, time.time()
        if result.detection.is_of_other_format:
            self._count_restart("format")
            log.info("evidence begins at 0", because="format")
        self.record = record = record_after(
            before,
            asked.identity,
            result.detection,
            asked.fresh.counted,
            number=result.number,
            at=at,
            most=self._settings.inputs.sample_rows,
        )
        self._hours = dict(sorted((self._hours | result.detection_hours).items())[-MOST_HOURS:])
        self._unwritten |= result.detection_hours
        self._tell(before, record)
        self._write(record)

    def _write(self, record: DetectionRecord) -> None:
        of, hours, scope = hours_name(record.identity), dict(self._unwritten), self._settings.scope

        def written(left_out: set[int]) -> None:
            if of == self._of:
                self._unwritten = {at: errors for at, errors in self._unwritten.items() if hours.get(at) is not errors}
                self._left_out = left_out

        self._writer.write(lambda: self._history.write_step(scope, record, of, hours), place="detection", done=written)

    def _tell(self, before: DetectionRecord | None, now: DetectionRecord) -> None:
        """What begins and ends."""
        was, found = before.found if before is not None else None, now.found
        about = {"version": now.version, "evidence": float(f"{found.evidence:.4g}"), "number": now.number}
        if found.is_standing and not (was is not None and was.is_standing):
            log.warning("worse than its baseline's worst hour", threshold=threshold_of(self._settings), **about)
        if was is not None and was.is_standing and not found.is_standing:
            log.info("no worse than its baseline's worst hour again", **about)
        if found.basis is not None and (was is None or was.basis != found.basis):
            log.info("detection over time begins", basis=found.basis, tolerance=found.tolerance, notes=found.notes)
        if found.problem and (was is None or was.problem != found.problem):
            log.warning("no limit in time", version=now.version, why=found.problem)


def _tell_lost(error: Exception) -> None:
    log.error("detection over time starts again: its saved state cannot be read", error=type(error).__name__)
