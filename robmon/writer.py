"""What is written to disk, on a thread of its own and in order: a slow disk holds up nothing but what is to be written.

An fsync takes milliseconds on a quiet disk and seconds on a network volume that is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

import structlog

log = structlog.get_logger("robmon.writer")

MAX_WAITING: Final = 256
CLOSE_SECONDS: Final = 5.0

Write = Callable[[], None]


class Writer:
    """Does one write after the other. Of those for one place that still wait only the newest is done.

    Build it, and call `write` and `close`, on the event loop's thread. The thread starts with the first write.

    Args:
        tell_failure: told, on the event loop's thread where there is a loop, of every write that failed.
    """

    def __init__(self, tell_failure: Callable[[OSError], None] | None = None) -> None:
        self._tell_failure = tell_failure or (lambda error: log.error("data folder not written", error=error.strerror))
        self._waiting: OrderedDict[Hashable, tuple[Write, asyncio.AbstractEventLoop | None]] = OrderedDict()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._serial = 0

    def write(self, write: Write, place: Hashable = None) -> None:
        """Do a write soon.

        Args:
            write: raises OSError where it fails; what it writes must not change any more.
            place: what is written as a whole, so that a newer write makes an older one needless; None: an addition.
        """
        loop = _running_loop()
        with self._changed:
            if place is None:
                place, self._serial = ("addition", self._serial), self._serial + 1
            is_full = place not in self._waiting and len(self._waiting) >= MAX_WAITING
            if not is_full:
                self._waiting.pop(place, None)
                self._waiting[place] = (write, loop)
                self._changed.notify_all()
        if is_full:
            self._tell_failure(OSError(0, "the disk is too slow: too much waits to be written"))
        elif self._thread is None:
            self._thread = threading.Thread(target=self._run, name="robmon-writer", daemon=True)
            self._thread.start()

    def wait(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until all is written; whether it is. Not for the event loop's thread while it serves."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._is_busy, seconds)

    async def close(self) -> None:
        """Wait until all is written, but not for ever: a disk that hangs does not keep the daemon from ending."""
        if not await asyncio.to_thread(self.wait):
            log.error("data folder not written", error="the disk does not answer")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                _, (write, loop) = self._waiting.popitem(last=False)
                self._is_busy = True
            try:
                write()
            except OSError as error:
                self._fail(error, loop)
            except Exception as error:  # the writes after it must not wait for ever
                self._fail(OSError(0, type(error).__name__), loop)
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()

    def _fail(self, error: OSError, loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is None:
            self._tell_failure(error)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon ends
            loop.call_soon_threadsafe(self._tell_failure, error)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
