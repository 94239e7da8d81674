"""Whether a worker fails so often that its model may have damaged its interpreter. No I/O."""

from __future__ import annotations

from typing import Final

FEWEST, MOST = 3, 48
"""After so many failures in a row a worker is replaced; a new one that does no better gets twice as many, up to the
second number."""
DAMAGED_REASONS: Final = frozenset({"model_raised", "invalid_output", "invalid_input", "error"})


class FailuresInARow:
    """Failures of the workers of one version since one of them did well.

    >>> failures = FailuresInARow()
    >>> failures.begin("1")
    >>> for reason in ("model_raised", "timeout", "error", "error"):
    ...     failures.add(reason)
    >>> failures.count, failures.are_too_many
    (3, True)
    >>> failures.replace_worker()
    >>> failures.count, failures.are_too_many
    (0, False)
    """

    def __init__(self) -> None:
        self.count = 0
        self._allowed = FEWEST
        self._version: str | None = None

    def begin(self, version: str) -> None:
        """A worker has loaded that version."""
        if version != self._version:
            self.end()
        self._version = version

    def add(self, reason: str) -> None:
        """Count one, where its reason is one that a damaged interpreter gives."""
        self.count += reason in DAMAGED_REASONS

    @property
    def are_too_many(self) -> bool:
        """Whether the worker is to be replaced."""
        return self.count >= self._allowed

    def replace_worker(self) -> None:
        """Another worker has its own failures, and more of them."""
        self.count = 0
        self._allowed = min(2 * self._allowed, MOST)

    def end(self) -> None:
        """One did well."""
        self.count, self._allowed = 0, FEWEST
