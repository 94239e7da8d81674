"""The daemon's event loop: what holds it up, and what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Callable

LAG_SECONDS = 0.1


@contextlib.asynccontextmanager
async def watched(observe: Callable[[float], None]) -> AsyncIterator[None]:
    """How late the event loop is, in seconds: whatever holds it up holds up /healthz, and with it the pod."""

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            observe(max(loop.time() - due, 0.0))

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def leave_to_itself_what_stays() -> None:
    """Modules and settings are no garbage: each look through all of them would hold up the event loop."""
    gc.collect()
    gc.freeze()


async def until_signal(request_shares: Callable[[], None]) -> None:
    """Wait for SIGTERM or SIGINT; until then SIGUSR2 asks which features carry the noise error."""
    came = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR2, request_shares)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, came.set)
    await came.wait()
