"""How long it is waited before what failed is tried again."""

from __future__ import annotations

import time


class Backoff:
    """A wait that doubles with each failure in a row, between a first and a longest one."""

    def __init__(self, first_and_longest_seconds: tuple[float, float]) -> None:
        self._first_seconds, self._longest_seconds = first_and_longest_seconds
        self._failures = 0
        self._until = 0.0

    def failed(self) -> None:
        """Start, or lengthen, the wait."""
        self._until = time.monotonic() + min(self._first_seconds * 2**self._failures, self._longest_seconds)
        self._failures = min(self._failures + 1, 16)

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures, self._until = 0, 0.0

    @property
    def waiting(self) -> bool:
        """Whether the wait is still on."""
        return time.monotonic() < self._until
