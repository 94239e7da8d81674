"""What is asked of a source of inputs."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """Hands inputs over to the sample, and after a restart those again that no good assessment has used.

    The daemon awaits `poll` every `poll_seconds`, one call at a time, and `close` at the end; the sample tells of its
    use, on the same thread. A good assessment is one `mark`, then one `commit`; of one that fails the `commit` is
    missing, and what came since its `mark` belongs to the next.
    """

    @property
    def poll_seconds(self) -> float:
        """Seconds between two looks for something new."""

    async def poll(self) -> None:
        """Hand over all that is new. Never raises, whatever becomes of the place that inputs come from."""

    async def close(self) -> None:
        """End what `poll` has started."""

    def mark(self) -> None:
        """All that was handed over so far is in the sample that is assessed now, or was not drawn."""

    def commit(self) -> None:
        """That assessment was good: what was marked need not be handed over again. Does not wait for a disk."""
