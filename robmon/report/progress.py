"""Work that takes long says so, again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from robmon.wording import duration

PROGRESS_SECONDS: Final = 3.0


def _nothing() -> None:
    pass


@dataclass
class Pace:
    """How far an assessment, or several, are, and how long the rest will take.

    Attributes:
        what: what is going on, such as `assessing`.
        clock: seconds.
        done, total: trials, say; both 0 until the first is done.
        unit: what `done` and `total` count.
        on_expectation, on_progress: called when it is known for the first time how long all takes, if that is long;
            and when a trial is done.
    """

    what: str
    clock: Callable[[], float] = time.monotonic
    unit: str = "trials"
    done: int = 0
    total: int = 0
    on_expectation: Callable[[], None] = _nothing
    on_progress: Callable[[], None] = _nothing
    _expected_seconds: float | None = None
    _expected_at: float = 0.0
    _done_before: int = 0

    def expect(self, seconds: float) -> None:
        """The rest is expected to take so long from now on, by a batch that was timed."""
        is_first = self._expected_seconds is None
        self._expected_seconds, self._expected_at, self._done_before = seconds, self.clock(), self.done
        if is_first and seconds >= PROGRESS_SECONDS:
            self.on_expectation()

    def update(self, done: int, total: int) -> None:
        """Take note that so many trials are done, of so many."""
        self.done, self.total = done, total
        self.on_progress()

    @property
    def left_seconds(self) -> float | None:
        """What the rest will take, by the trials that were run since a batch was timed, else by that batch."""
        if self._expected_seconds is None:
            return None
        elapsed, done = self.clock() - self._expected_at, self.done - self._done_before
        if done:
            return elapsed / done * (self.total - self.done)
        return max(self._expected_seconds - elapsed, 0.0)

    @property
    def expectation(self) -> str:
        """How long it will take; empty as long as that is not known."""
        left = self.left_seconds
        return "" if left is None else f"{self.what}: this takes about {_roughly(left)}"

    def line(self, elapsed_seconds: float) -> str:
        """How far it is after so many seconds.

        >>> times = iter([6.0, 206.0])
        >>> pace = Pace("assessing", lambda: next(times))
        >>> pace.line(3.0)
        'assessing: getting ready, 3 s'
        >>> pace.expect(8040.0)
        >>> pace.update(1, 39)
        >>> pace.line(206.0)
        'assessing: 1 of 39 trials, 206 s, about 2 hours 7 minutes left'
        """
        left = self.left_seconds
        begun = "getting ready" if left is None else f"no {self.unit.removesuffix('s')} done yet"
        trials = f"{self.done} of {self.total} {self.unit}" if self.total else begun
        rest = f", about {_roughly(left)} left" if left else ""
        return f"{self.what}: {trials}, {duration(round(elapsed_seconds))}{rest}"


def _roughly(seconds: float) -> str:
    """Two digits, as nobody knows more of the future."""
    return duration(float(f"{seconds:.2g}"))


@contextmanager
def tell_regularly(tell: Callable[[float], None]) -> Iterator[None]:
    """While the block runs, call `tell` every few seconds with the seconds since its begin.

    From a thread, because a step may hold the block up for long.
    """
    began, over = time.monotonic(), threading.Event()

    def work() -> None:
        while not over.wait(PROGRESS_SECONDS):
            tell(time.monotonic() - began)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
