"""What became of copies, and how many bytes are held of them: for any thread."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

DropReason = Literal["too_large", "full", "down", "refused", "not_converted", "error"]


@dataclass
class Counts:
    """What became of requests.

    Attributes:
        copied: handed to the sending thread.
        sent: accepted by robmon.
        dropped: bodies that were not sent, by reason: `too_large` (over `max_body_bytes`), `full` (no room within
            `max_pending_bytes`), `down` (robmon did not answer), `refused` (it answered with an error), `not_converted`
            (`as_request` or `as_answer` raised), `error` (inside the tap itself).
    """

    copied: int = 0
    sent: int = 0
    dropped: Counter[DropReason] = field(default_factory=Counter)


class Account:
    """Counts, and keeps what is held within its bound.

    Args:
        max_bytes: most bytes held.
    """

    def __init__(self, max_bytes: int) -> None:
        self.counts = Counts()
        self.held_bytes = 0
        """Of bodies that are gathered, or wait to be sent."""
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def reserve(self, count: int) -> bool:
        """Whether there is room for so many more bytes, which are then held."""
        with self._lock:
            if self.held_bytes + count > self._max_bytes:
                return False
            self.held_bytes += count
            return True

    def release(self, count: int) -> None:
        """Give back so many bytes."""
        with self._lock:
            self.held_bytes -= count

    def drop(self, reason: DropReason) -> None:
        """Count a body that is not sent."""
        with self._lock:
            self.counts.dropped[reason] += 1

    def count_copied(self) -> None:
        """Count a request that is handed to the thread."""
        with self._lock:
            self.counts.copied += 1

    def count_sent(self) -> None:
        """Count a request that robmon took."""
        with self._lock:
            self.counts.sent += 1
