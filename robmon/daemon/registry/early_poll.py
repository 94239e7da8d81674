"""The registry is asked before its time, when it says that something has changed: soon, but never again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from robmon.daemon.timing.schedule import STEADY

PAUSE_SECONDS: Final = 5.0
"""Least time from one look to the next that is asked for."""


class EarlyPoll:
    """Brings the next look forward. However many ask, one comes of it.

    Args:
        schedule: sets when it is, by the scheduler's clock.
    """

    def __init__(self, schedule: Callable[[datetime], object]) -> None:
        self._schedule = schedule
        self._is_asked = False
        self._is_polling = False
        self._earliest = datetime.now(STEADY)

    def ask(self) -> None:
        """Have it done soon: at once, unless it was done a moment ago, or goes on now and may have seen less."""
        if self._is_asked:
            return
        self._is_asked = True
        if not self._is_polling:
            self._schedule_next()

    @contextmanager
    def polling(self) -> Iterator[None]:
        """While it is done."""
        self._is_polling, self._is_asked = True, False
        self._earliest = datetime.now(STEADY) + timedelta(seconds=PAUSE_SECONDS)
        try:
            yield
        finally:
            self._is_polling = False
            if self._is_asked:
                # The scheduler begins no run while the one before is not over, which it is only after this step of the
                # loop: it would pass over it, and nothing be looked at until the next regular time.
                asyncio.get_running_loop().call_soon(self._schedule_next)

    def _schedule_next(self) -> None:
        self._schedule(max(datetime.now(STEADY), self._earliest))
