"""Work that takes long says so, again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PROGRESS_SECONDS: Final = 3.0


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
