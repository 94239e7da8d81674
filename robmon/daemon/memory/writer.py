"""What is written to disk, on a thread of its own and in order: a slow disk holds up nothing but what is to be written.

An fsync takes milliseconds on a quiet disk and seconds on a network volume that is busy. What cannot be written is
kept, and written when there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

log = structlog.get_logger("robmon.writer")

MAX_ADDITIONS: Final = 256
CLOSE_SECONDS: Final = 5.0
HANG_SECONDS: Final = 10.0
"""A disk that takes longer is said not to answer."""
READ_SECONDS: Final = 10.0
"""How long what is kept is waited for before the daemon goes on without it."""
NO_ANSWER: Final = "the disk does not answer"
PAUSE_SECONDS: Final = (1.0, 30.0)
"""After a failure, before the next try: the first, and the longest."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Write:
    do: Callable[[], Any]
    done: Callable[[Any], None] | None


class Writer:
    """Does one write after the other. Of those for one place that still wait only the newest is done.

    Build it, and call it, on the event loop's thread. The thread starts with the first write, or question, while there
    is a loop. All is told on the loop's thread.

    Args:
        count_failure: told of every write that failed.
        what: is written by it, in words, for the log.
    """

    def __init__(self, count_failure: Callable[[], None] = lambda: None, what: str = "state") -> None:
        self.failure = ""
        """Why what waits is not written, as was found last; empty while all is well."""
        self._count_failure = count_failure
        self._what = what
        self._changed = threading.Condition()
        self._questions: deque[Callable[[], None]] = deque()
        self._waiting: OrderedDict[Hashable, _Write] = OrderedDict()
        self._additions = 0
        self._serial = 0
        self._busy_since: float | None = None
        self._resume_at = 0.0
        self._pause_seconds = 0.0
        self._is_closing = False
        self._is_slow = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathered: list[tuple[Hashable, _Write]] | None = None

    def write(self, do: Callable[[], T], place: Hashable = None, done: Callable[[T], None] | None = None) -> None:
        """Do a write soon, and again until it succeeds.

        Args:
            do: raises OSError where it fails, having done nothing; what it writes must not change any more.
            place: what is written as a whole, so that a newer write makes an older one needless; None: an addition,
                of which the oldest are dropped where too many wait.
            done: told what `do` gave.
        """
        if self._gathered is not None:
            self._gathered.append((place, _Write(do, done)))
            return
        is_dropped = False
        with self._changed:
            if place is None:
                place, self._serial = ("addition", self._serial), self._serial + 1
                self._additions += 1
                if self._additions > MAX_ADDITIONS:
                    is_dropped = True
                    self._drop_addition()
            self._waiting.pop(place, None)
            self._waiting[place] = _Write(do, done)
            self._changed.notify_all()
        if is_dropped:
            self._fail("the disk is too slow: too much waits to be written")
        self._start()

    @contextlib.contextmanager
    def together(self, run: Callable[[Callable[[], None]], object]) -> Iterator[None]:
        """Have what is written in this block done as one write, all of it or nothing.

        Args:
            run: calls what it is given within one transaction. Where that is undone, it may call it again.
        """
        self._gathered = gathered = list[tuple[Hashable, _Write]]()
        try:
            yield
        finally:
            self._gathered = None
        if not gathered:
            return

        def do() -> list[Any]:
            found: list[Any] = []

            def all_of_it() -> None:
                found[:] = [write.do() for _, write in gathered]

            run(all_of_it)
            return found

        def done(found: list[Any]) -> None:
            for (_, write), result in zip(gathered, found, strict=True):
                if write.done is not None:
                    write.done(result)

        self.write(do, place=("together", *(place for place, _ in gathered)), done=done)

    async def ask(self, read: Callable[[], T], seconds: float) -> T:
        """What `read` gives, before all that waits to be written.

        Raises:
            TimeoutError: the disk did not answer in that time. Whatever `read` raises.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def question() -> None:
            try:
                found = read()
            except Exception as error:
                self._tell(_settle, answer, None, error)
            else:
                self._tell(_settle, answer, found, None)

        with self._changed:
            self._questions.append(question)
            self._changed.notify_all()
        self._start()
        async with asyncio.timeout(seconds):
            return await answer

    async def settle(self, seconds: float) -> None:
        """Wait until what waits now is written; once only for a disk that turns out to be slow, full or hanging."""
        if self.failure or self._is_slow:
            return
        written = asyncio.Event()
        self._is_slow = True

        def done(_: None) -> None:
            self._is_slow = False
            written.set()

        self.write(lambda: None, place="settle", done=done)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await written.wait()

    def watch(self) -> None:
        """Tell where the disk does not answer at all; call it now and then."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > HANG_SECONDS and self.failure != NO_ANSWER:
            self._fail(NO_ANSWER)

    def wait(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until all is written; whether it is. Not for the event loop's thread while it serves."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and self._busy_since is None, seconds)

    async def close(self) -> None:
        """Try all that waits once more, but not for ever: a disk that hangs does not keep the daemon from ending."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._start()
        if not await asyncio.to_thread(self._wait_closing):
            self._tell_failure(NO_ANSWER)

    def _wait_closing(self, seconds: float | None = None) -> bool:
        def is_over() -> bool:
            return self._busy_since is None and (not self._waiting or not self._is_closing)

        with self._changed:
            return self._changed.wait_for(is_over, CLOSE_SECONDS if seconds is None else seconds)

    def _start(self) -> None:
        if self._loop is None:
            with contextlib.suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()
                threading.Thread(target=self._run, name="robmon-writer", daemon=True).start()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._questions or self._is_due):
                    self._changed.wait(max(self._resume_at - time.monotonic(), 0.01) if self._waiting else None)
                self._busy_since = time.monotonic()
                question = self._questions.popleft() if self._questions else None
                place, write = (None, None) if question is not None else self._waiting.popitem(last=False)
                if _is_addition(place):
                    self._additions -= 1
            if question is not None:
                question()
            elif write is not None:
                self._do(place, write)
            with self._changed:
                self._busy_since = None
                self._changed.notify_all()

    @property
    def _is_due(self) -> bool:
        return bool(self._waiting) and (self._is_closing or time.monotonic() >= self._resume_at)

    def _do(self, place: Hashable, write: _Write) -> None:
        try:
            found = write.do()
        except OSError as error:
            self._put_back(place, write)
            self._tell(self._fail, error.strerror or type(error).__name__)
        except Exception as error:  # it would fail again, and the writes after it must not wait for ever
            self._tell(self._fail, type(error).__name__)
        else:
            self._pause_seconds = self._resume_at = 0.0
            self._tell(self._succeed, write.done, found)

    def _put_back(self, place: Hashable, write: _Write) -> None:
        """Keep it, in its order, unless a newer one for its place has come; and wait a while with all of them."""
        first, longest = PAUSE_SECONDS
        with self._changed:
            if place not in self._waiting:
                self._waiting[place] = write
                self._waiting.move_to_end(place, last=False)
                self._additions += _is_addition(place)
                if self._additions > MAX_ADDITIONS:
                    self._drop_addition()
            self._pause_seconds = min(max(2 * self._pause_seconds, first), longest)
            self._resume_at = time.monotonic() + self._pause_seconds
            self._is_closing = False

    def _drop_addition(self) -> None:
        self._waiting.pop(next(filter(_is_addition, self._waiting)))
        self._additions -= 1

    # --- on the event loop's thread ----------------------------------------------------------------------------------

    def _tell(self, told: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon ends
            if self._loop is not None:
                self._loop.call_soon_threadsafe(told, *arguments)

    def _fail(self, why: str) -> None:
        self._count_failure()
        self._tell_failure(why)

    def _tell_failure(self, why: str) -> None:
        """Told when it begins, and when it is another: a disk may be full for days."""
        if why != self.failure:
            log.error("data folder not written", what=self._what, error=why)
        self.failure = why

    def _succeed(self, done: Callable[[Any], None] | None, found: Any) -> None:
        if self.failure:
            log.info("data folder written again", what=self._what)
        self.failure = ""
        if done is not None:
            done(found)


def _settle(answer: asyncio.Future[Any], found: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(found)


def _is_addition(place: Hashable) -> bool:
    return isinstance(place, tuple) and len(place) == 2 and place[0] == "addition"
