"""Work of many small steps on an event loop that others need too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

TURN_SECONDS: Final = 0.001

T = TypeVar("T")


async def in_turns(steps: Iterable[T]) -> AsyncIterator[T]:
    """What the steps give, one after another; after TURN_SECONDS of them everybody else has a turn.

    >>> async def counted():
    ...     return [step async for step in in_turns(range(3))]
    >>> asyncio.run(counted())
    [0, 1, 2]
    """
    end = time.perf_counter() + TURN_SECONDS
    for step in steps:
        yield step
        if time.perf_counter() > end:
            await asyncio.sleep(0)
            end = time.perf_counter() + TURN_SECONDS
