"""A log of what a port refused: few lines, whatever arrives."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

LOG_INTERVAL_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class RejectionLog:
    """At most one line a minute about what one port refused, with its number since the line before."""

    def __init__(self, port: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._clock = clock
        self._next = clock()
        self._reasons: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        """Note one refusal."""
        self._reasons[reason] += 1
        now = self._clock()
        if now >= self._next:
            count, reasons = self._reasons.total(), dict(self._reasons)
            log.warning("requests rejected", port=self._port, count=count, reasons=reasons)
            self._reasons.clear()
            self._next = now + LOG_INTERVAL_SECONDS
