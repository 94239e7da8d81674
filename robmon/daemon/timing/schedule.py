"""APScheduler by the clock that never steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from apscheduler.triggers.base import BaseTrigger

from robmon import clock


class _SteadyZone(tzinfo):
    """A zone in which it is `now`: APScheduler asks its time zone what time it is, and for nothing else."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def dst(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        return "steady"

    def fromutc(self, _: datetime) -> datetime:
        return datetime.fromtimestamp(clock.now(), UTC).replace(tzinfo=self)


STEADY: Final = _SteadyZone()


class Every(BaseTrigger):  # type: ignore[misc]
    """An APScheduler trigger: again and again after so many seconds, by the scheduler's own clock."""

    def __init__(self, seconds: float) -> None:
        self._interval = timedelta(seconds=seconds)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """When it is due next; what was missed meanwhile is not made up for."""
        return now + self._interval if previous is None else max(previous + self._interval, now)
