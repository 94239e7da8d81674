"""What is written to the history: assessments as they come, and events, each once, however often robmon is started.

Nothing here raises or waits, whatever the disk does.
"""

from __future__ import annotations

import os
import platform
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

import structlog

from robmon import clock
from robmon.daemon.journal.changes import start_changes, view_changes
from robmon.daemon.journal.recorded import assessment_row
from robmon.daemon.memory.detection import threshold_of
from robmon.daemon.memory.writer import Writer
from robmon.daemon.results.publication import Finding
from robmon.export.published import View
from robmon.export.recent import Recent
from robmon.history.attack import AttackFound
from robmon.history.events import Event, EventKind
from robmon.history.past import Past
from robmon.inputs.counts import InputCounts
from robmon.models.uri import mask
from robmon.processes.messages.model import ModelVersion
from robmon.settings import Settings, as_text, leaves, value_of

log = structlog.get_logger("robmon.history")

HOUR_SECONDS: Final = 3600


@dataclass(frozen=True)
class _Traffic:
    """What had arrived at a Unix time, since the daemon was started."""

    at: float
    received: int
    sampled: int
    rejected: int

    @property
    def hour(self) -> int:
        """In which that was."""
        return int(self.at // HOUR_SECONDS)


class Chronicle:
    """Tells the history what happened.

    Args:
        settings: the daemon's.
        past: where it is kept.
        writer: writes there.
        counts: of the inputs, for the traffic of an hour.
        asides: names of state files that were set aside, as they come.
        recent: the last day as the status page shows it, which is told too.
        count_damage: told of each of them.
    """

    def __init__(
        self,
        settings: Settings,
        past: Past,
        writer: Writer,
        counts: InputCounts,
        asides: deque[str],
        recent: Recent,
        count_damage: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._past = past
        self._writer = writer
        self._counts = counts
        self._asides = asides
        self._recent = recent
        self._count_damage = count_damage
        self._before = self._traffic_now()
        try:
            self._told = past.read_daemon_facts()
        except OSError:
            self._told = {}

    def tell_start(self) -> None:
        """Record that the daemon starts: which one it is, and what of its settings has changed."""
        self._before = self._traffic_now()
        events, told = start_changes(self._told, start_facts(self._settings), time.time())
        self._add(events, told)
        self._check("assessments", 0)

    def tell_stop(self) -> None:
        """Record that the daemon ends, and the traffic of the last hour, as far as it went."""
        self._add([*self._traffic(), Event(time.time(), "stopped")], self._told)

    def tell_served(self, alias: str | None, version: str) -> None:
        """Which version the alias stands for; None where the model is named otherwise."""
        before = self._told.get("alias")
        if alias is not None and before != [alias, version]:
            facts = {"alias": alias, "before": before[1] if before and before[0] == alias else None, "version": version}
            self._add([Event(time.time(), "alias_moved", facts)], {**self._told, "alias": [alias, version]})

    def tell_view(self, view: View) -> None:
        """What is published now."""
        events, told = view_changes(self._told, view, time.time())
        if told != self._told:
            self._add(events, told)

    def tell_outcome(self, outcome: str, reason: str, problem: str) -> None:
        """How an assessment ended: that they are missing, and that they come again."""
        missing = None if outcome == "ok" else reason
        if missing == self._told.get("missing") or missing == "version_changed":
            return
        kind: EventKind = "assessments_again" if missing is None else "assessments_missing"
        facts = {} if missing is None else {"outcome": outcome, "reason": reason, "why": problem}
        self._add([Event(time.time(), kind, facts)], {**self._told, "missing": missing})

    def tell_restart(self, reason: str, version: str | None) -> None:
        """Record that the worker was, or will be, started anew."""
        self._add([Event(time.time(), "worker_restarted", {"reason": reason, "version": version})], self._told)

    def tell_assessment(self, model: ModelVersion, finding: Finding) -> None:
        """A good one."""
        digest, threshold = self._settings.specification_digest, threshold_of(self._settings)
        row = assessment_row(model, finding, time.time(), specification=digest, threshold=threshold)
        whole = self._settings.whole_specification
        self._recent.add_assessment(row)
        self._writer.write(lambda: self._past.add(row, whole, unix_seconds_at_most))

    def tell_attack(self, model: ModelVersion, found: AttackFound) -> None:
        """What an attack found."""
        self._add([Event(time.time(), "attacked", attack_facts(model.version, found))], self._told)

    def tick(self) -> None:
        """Tell what others found, and the traffic of an hour that is over; call it now and then."""
        while self._asides:
            aside = self._asides.popleft()
            self._count_damage()
            if aside:
                log.error("state file damaged", set_aside=aside, note="what can be read of it is gone on with")
            else:
                log.error("state file removed", note="another is begun with what this process knows")
            self._add([Event(time.time(), "state_damaged", {"set_aside": aside})], self._told)
        if self._traffic_now().hour != self._before.hour:
            self._add(self._traffic(), self._told)
            self._before = self._traffic_now()

    def _add(self, events: list[Event], told: dict[str, Any]) -> None:
        self._told = told
        self._recent.add_events(event.to_dict() for event in events)
        self._writer.write(lambda: self._past.add_events(events, told))

    def _check(self, table: str, after: int) -> None:
        """Look through all rows once, a few at a time: where a page was lost, the others are saved in good time."""

        def go_on(last: int | None) -> None:
            if last is not None:
                self._check(table, last)
            elif table == "assessments":
                self._check("events", 0)

        self._writer.write(lambda: self._past.check(table, after), place=f"check {table}", done=go_on)

    def _traffic(self) -> list[Event]:
        since, now = self._before, self._traffic_now()
        facts = {
            "seconds": round(now.at - since.at),
            "requests": now.received - since.received,
            "sampled": now.sampled - since.sampled,
            "rejected": now.rejected - since.rejected,
        }
        return [Event(since.at, "traffic", facts)]

    def _traffic_now(self) -> _Traffic:
        counts = self._counts
        return _Traffic(
            time.time(), sum(counts.received.values()), sum(counts.sampled.values()), sum(counts.rejected.values())
        )


def unix_seconds_at_most() -> float:
    """By the wall clock, unless it has stepped forward since the start: that makes nothing of the past too old."""
    return min(time.time(), clock.now())


def attack_facts(version: str, found: AttackFound) -> dict[str, Any]:
    """What is kept of an attack: its numbers."""
    return {
        "version": version,
        "norm": found.norm,
        "radii": found.radii,
        "agreement": {name: [round(share, 6) for share in shares] for name, shares in found.agreement.items()},
        "certified": {name: [round(share, 6) for share in shares] for name, shares in found.certified.items()},
        "gradient": found.gradient,
        "masked": found.masked,
        "rows": found.rows,
        "queries": round(found.queries, 1),
        "seconds": found.seconds,
        "seed": found.seed,
        "cut": found.cut or None,
    }


def start_facts(settings: Settings) -> dict[str, Any]:
    """Which robmon this is, where it runs, and its settings as `check-config` prints them: nothing secret."""
    return {
        "robmon": metadata.version("robmon"),
        "python": platform.python_version(),
        "image": os.environ.get("ROBMON_IMAGE"),
        "settings": {leaf.name: mask(as_text(value_of(settings, leaf.name))) for leaf in leaves()},
    }
