"""The last 24 hours as the status page shows them: held in memory, so that no page waits for a disk.

They are read once from the history when the daemon starts, and added to as it goes on. Where there are many, of each
stretch of time the worst assessment stays, so that no spike is hidden and a day takes no more room however often it is
assessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from robmon.history.reading import HistoryReader
from robmon.report.event_sentences import Row, mood, sentence, value_of, worst_level

DAY_SECONDS: Final = 86_400.0
FIRST_SLOT_SECONDS: Final = 10
MOST_POINTS: Final = 576
MOST_EVENTS: Final = 50
_NOT_TOLD: Final = ("traffic",)
"""Kinds of events that say nothing by themselves."""


@dataclass(frozen=True)
class Point:
    """One assessment, at its highest noise level: times in Unix seconds, errors and bound in squared output units."""

    at: float
    version: str
    level: float
    mse: float
    bound: float
    evidence: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Occurrence:
    """One event: Unix time, kind, sentence without a full stop, and its mood: `good`, `bad` or empty."""

    at: float
    kind: str
    text: str
    mood: str


class Recent:
    """What of a day is shown."""

    def __init__(self) -> None:
        self.slot_seconds = FIRST_SLOT_SECONDS
        """Seconds of each of which the worst assessment is kept."""
        self._points: dict[int, Point] = {}
        self._newest_at: float | None = None
        """Time of the point added last: the latest time may be one that the clock was set back from."""
        self._events: dict[tuple[float, str], Occurrence] = {}

    @classmethod
    def of(cls, reader: HistoryReader, since: float) -> Recent:
        """What a history holds of that Unix time and later.

        Raises:
            HistoryError: it is damaged, or cannot be read.
        """
        recent = cls()
        for row in reader.assessments(since):
            recent.add_assessment(row)
        recent.add_events(reader.events(since))
        return recent

    @property
    def points(self) -> list[Point]:
        """The points of the last day, the oldest first."""
        newest = self._newest_at or 0.0
        return sorted(
            (point for point in self._points.values() if abs(newest - point.at) < DAY_SECONDS),
            key=lambda point: point.at,
        )

    @property
    def events(self) -> list[Occurrence]:
        """The newest first."""
        return sorted(self._events.values(), key=lambda event: event.at, reverse=True)

    def add_assessment(self, row: Row) -> None:
        """Add one, as it is kept in the history."""
        worst = worst_level(row)
        self._newest_at = float(row["at"])
        self._add(
            Point(
                at=float(row["at"]),
                version=str(row.get("version", "-")),
                level=value_of(worst.get("level")),
                mse=value_of(worst.get("mse")),
                bound=value_of(worst.get("bound")),
                evidence=_or_none(row.get("evidence")),
                threshold=_or_none(row.get("evidence_threshold")),
            )
        )

    def add_events(self, events: Iterable[Row]) -> None:
        """Add some, as they are kept in the history."""
        for event in events:
            kind = str(event.get("kind"))
            if kind not in _NOT_TOLD:
                told = Occurrence(float(event["at"]), kind, sentence(event), mood(event))
                self._events[told.at, told.text] = told
        for old in sorted(self._events)[:-MOST_EVENTS]:
            del self._events[old]

    def merge(self, other: Recent) -> None:
        """Add what another has."""
        if self._newest_at is None:
            self._newest_at = other._newest_at
        for point in other._points.values():
            self._add(point)
        self._events |= other._events
        self.add_events(())

    def _add(self, point: Point) -> None:
        self._put(point)
        if len(self._points) > MOST_POINTS:
            self._coarsen()

    def _coarsen(self) -> None:
        """Forget what is older than a day, and make stretches longer until there is room again."""
        points = self.points
        while len(points) > MOST_POINTS:
            self.slot_seconds *= 2
            self._points.clear()
            for each in points:
                self._put(each)
            points = self.points
        self._points = {int(each.at // self.slot_seconds): each for each in points}

    def _put(self, point: Point) -> None:
        slot = int(point.at // self.slot_seconds)
        before = self._points.get(slot)
        # Another version is told, whichever of the two is worse.
        if before is None or before.version != point.version or point.mse >= before.mse:
            self._points[slot] = point


def _or_none(number: object) -> float | None:
    return None if number is None else value_of(number)
