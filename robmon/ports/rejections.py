"""A log of what a port refused: few lines, whatever arrives."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

LOG_INTERVAL_SECONDS: Final = 60.0
MAX_FILES: Final = 20
"""In one line."""

log = structlog.get_logger(__name__)


class RejectionLog:
    """At most one line a minute about what one port refused, with its number since the line before."""

    def __init__(self, port: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._clock = clock
        self._next = clock()
        self._reasons: Counter[str] = Counter()
        self._files: dict[str, str] = {}

    def add(self, reason: str) -> None:
        """Note one refusal, and tell of it if a line is due."""
        self.note(reason)
        self.tell()

    def note(self, reason: str, count: int = 1) -> None:
        """Note refusals."""
        self._reasons[reason] += count

    def name(self, file: str, reason: str) -> None:
        """Name a file that was refused, in the next line."""
        if len(self._files) < MAX_FILES:
            self._files[file] = reason

    def tell(self) -> None:
        """Write what was noted, if there is any and a line is due."""
        now = self._clock()
        if not self._reasons or now < self._next:
            return
        named = {"files": dict(self._files)} if self._files else {}
        count, reasons = self._reasons.total(), dict(self._reasons)
        log.warning("requests rejected", port=self._port, count=count, reasons=reasons, **named)
        self._reasons.clear()
        self._files.clear()
        self._next = now + LOG_INTERVAL_SECONDS
