"""What the daemon does again and again, each job by its own interval."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, cast

import structlog
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from robmon.daemon.timing.schedule import STEADY, Every

log = structlog.get_logger("robmon.daemon")


class Jobs:
    """Jobs, from `start` until `end`.

    Attributes:
        running: the tasks of those that are under way.
    """

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self._scheduler = AsyncIOScheduler(timezone=STEADY)

    def add(self, job: Callable[[], Awaitable[None]], seconds: float, **options: Any) -> None:
        """Do it again and again; one that is late is not made up for.

        Args:
            job: what is done.
            seconds: how often.
            options: of APScheduler's `add_job`.
        """

        failure = ""

        async def run() -> None:
            nonlocal failure
            task = cast("asyncio.Task[None]", asyncio.current_task())
            self.running.add(task)
            try:
                await job()
            except Exception as error:  # it is done again; APScheduler, which would tell its text, is silent
                before, failure = failure, type(error).__name__
                if failure != before:
                    log.error("unexpected", what=f"job {job.__name__.strip('_')}", exc_info=error)
            else:
                failure = ""
            finally:
                self.running.discard(task)

        every = Every(seconds)
        self._scheduler.add_job(run, every, max_instances=1, coalesce=True, misfire_grace_time=None, **options)

    def run_at(self, name: str, at: datetime) -> None:
        """Do the job with that id at another time than it is due."""
        with contextlib.suppress(JobLookupError):  # not yet, or no longer, is there one, and it begins at once
            self._scheduler.modify_job(name, next_run_time=at)

    def start(self) -> None:
        """Begin."""
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        self._scheduler.start()

    async def end(self, *beside: asyncio.Task[None]) -> None:
        """Begin no more of them, and wait for those that are under way, and for some tasks beside them."""
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # it cancels the jobs in the next round of the loop; until then one may begin
        await asyncio.gather(*self.running, *beside, return_exceptions=True)  # they end their processes
