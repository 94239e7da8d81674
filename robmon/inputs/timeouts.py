"""A timeout for each of many short tasks, at the price of an entry in a dictionary.

`asyncio.timeout` makes an object and a timer each time: a sixth of all that a request costs the receiver.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar, cast

LOOK_EVERY_SECONDS: Final = 0.1

T = TypeVar("T")


class Timeouts:
    """Watches over tasks of one event loop, all with one timer, which runs only while there is something to watch.

    >>> asyncio.run(Timeouts().within(0.01, asyncio.sleep(60)))
    Traceback (most recent call last):
    TimeoutError
    """

    def __init__(self) -> None:
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._is_looking = False

    async def within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Do the work as a part of the task that asks.

        Raises:
            TimeoutError: it took longer, by up to LOOK_EVERY_SECONDS; it has been cancelled.
        """
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[Any]", asyncio.current_task(loop))
        self._deadlines[task] = loop.time() + seconds
        if not self._is_looking:
            self._look(loop)
        try:
            return await work
        except asyncio.CancelledError:
            if task in self._deadlines:
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            self._deadlines.pop(task, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, deadline in self._deadlines.items() if deadline < now]:
            del self._deadlines[task]
            task.cancel()
        self._is_looking = bool(self._deadlines)
        if self._is_looking:
            loop.call_later(LOOK_EVERY_SECONDS, self._look, loop)
