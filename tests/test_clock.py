"""Time that never steps, and jobs that are due by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from robmon import clock
from robmon.daemon.timing.schedule import STEADY, Every
from tests.patience import PATIENCE_SECONDS


class Wall:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.off = 0.0
        self._right = time.time

    def __call__(self) -> float:
        return self._right() + self.off


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()
    monkeypatch.setattr(time, "time", wall)
    return wall


@pytest.mark.parametrize("off", [-86_400, -1, 1, 86_400])
def test_a_step_changes_what_is_shown_and_no_age(wall: Wall, off: float) -> None:
    began, told = clock.now(), time.time()
    assert clock.as_shown(began) == pytest.approx(told, abs=0.5)
    wall.off = off
    assert 0 <= clock.now() - began < 1
    assert clock.as_shown(began) == pytest.approx(told + off, abs=0.5)
    assert clock.from_wall(time.time()) == pytest.approx(clock.now(), abs=0.5)


def test_small_corrections_change_no_digit(wall: Wall) -> None:
    wall.off = 0.01
    assert clock.as_shown(1234.5) == clock.from_wall(1234.5) == 1234.5


async def test_jobs_are_due_by_this_clock_and_can_be_hurried() -> None:
    ran: asyncio.Queue[float] = asyncio.Queue()

    async def job() -> None:
        ran.put_nowait(time.monotonic())

    scheduler = AsyncIOScheduler(timezone=STEADY)
    scheduler.add_job(job, Every(0.05), id="job", max_instances=1, coalesce=True, misfire_grace_time=None)
    scheduler.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            times = [await ran.get() for _ in range(5)]
            assert times[-1] - times[0] >= 4 * 0.05 - 0.04, "no more often than it should"
            scheduler.reschedule_job("job", trigger=Every(3600))
            while not ran.empty():
                ran.get_nowait()
            scheduler.modify_job("job", next_run_time=datetime.now(STEADY))
            await ran.get()
    finally:
        scheduler.shutdown(wait=False)


def test_what_was_missed_is_not_made_up_for() -> None:
    every: Callable[[datetime | None, datetime], datetime] = Every(10).get_next_fire_time
    now = datetime.now(STEADY)
    assert every(None, now) == now + timedelta(seconds=10)
    assert every(now - timedelta(seconds=3), now) == now + timedelta(seconds=7)
    assert every(now - timedelta(hours=9), now) == now
