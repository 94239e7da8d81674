"""What is done again and again."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from robmon.daemon.timing.jobs import Jobs
from tests.patience import PATIENCE_SECONDS


async def test_a_job_that_fails_is_told_once_and_done_again() -> None:
    """Whatever it fails of: who waits for versions or labels must not wait in silence."""
    jobs, done, often = Jobs(), 0, asyncio.Event()

    async def fail() -> None:
        nonlocal done
        done += 1
        if done > 3:
            often.set()
        raise RuntimeError("an input")

    jobs.add(fail, 0.01)
    with capture_logs() as logged:
        jobs.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await often.wait()
        await jobs.end()
    (told,) = logged
    assert (told["event"], told["what"], type(told["exc_info"])) == ("unexpected", "job fail", RuntimeError)
    assert jobs.running == set()
