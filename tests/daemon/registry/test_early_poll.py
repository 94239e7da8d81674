"""However often the registry tells of something, it is asked once, soon, and never again and again."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from robmon.daemon.registry import early_poll
from robmon.daemon.registry.early_poll import PAUSE_SECONDS, EarlyPoll
from robmon.daemon.timing.schedule import STEADY, Every

PAUSE = timedelta(seconds=PAUSE_SECONDS)
HOUR_SECONDS = 3600.0


async def test_many_events_are_one_look() -> None:
    due: list[datetime] = []
    poll, now = EarlyPoll(due.append), datetime.now(STEADY)
    for _ in range(100):
        poll.ask()
    (at,) = due
    assert now <= at <= datetime.now(STEADY), "at once"
    with poll.polling():
        pass
    for _ in range(100):
        poll.ask()
    assert len(due) == 2 and due[1] >= now + PAUSE


async def test_what_is_told_while_it_is_looked_at_is_looked_at_again() -> None:
    due: list[datetime] = []
    poll, now = EarlyPoll(due.append), datetime.now(STEADY)
    with poll.polling():
        poll.ask()
        poll.ask()
    assert due == [], "the look is over when the loop goes on"
    await asyncio.sleep(0)
    (at,) = due
    assert at >= now + PAUSE
    with poll.polling():
        pass
    await asyncio.sleep(0)
    assert len(due) == 1


async def test_a_look_that_takes_longer_than_the_pause_does_not_lose_what_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the daemon's own scheduler, which begins no run of a job while one goes on."""
    monkeypatch.setattr(early_poll, "PAUSE_SECONDS", 0.0)
    scheduler = AsyncIOScheduler(timezone=STEADY)
    poll = EarlyPoll(lambda at: scheduler.modify_job("look", next_run_time=at))
    looks, again = 0, asyncio.Event()

    async def look() -> None:
        nonlocal looks
        with poll.polling():
            looks += 1
            if looks <= 3:
                await asyncio.sleep(0)
                poll.ask()
            else:
                again.set()

    scheduler.add_job(look, Every(HOUR_SECONDS), id="look", max_instances=1, next_run_time=datetime.now(STEADY))
    scheduler.start()
    try:
        await asyncio.wait_for(again.wait(), 60)
        again.clear()
        poll.ask()
        await asyncio.wait_for(again.wait(), 60)
    finally:
        scheduler.shutdown(wait=False)
    assert looks == 5
