"""The files of the version to compare with: a slow store must not hold up the assessments."""

from __future__ import annotations

import asyncio
from typing import Final

from robmon.daemon.registry.follow import Follower
from robmon.processes.messages.model import ModelVersion

WAIT_SECONDS: Final = 30.0
"""How long a first assessment waits for them; later ones do not."""


class ReferenceDownload:
    """At most one download, which goes on between assessments."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._running: tuple[str, asyncio.Task[ModelVersion]] | None = None

    async def fetch(self, version: str, keep: list[str]) -> ModelVersion | None:
        """That version with its files; None while they are downloaded.

        Args:
            version: another than the one before ends the download of that.
            keep: versions whose files are still needed.

        Raises:
            RobmonError: they cannot be had.
        """
        seconds = 0.0
        if self._running is None or self._running[0] != version:
            await self.close()
            fetching = self._follower.fetch_version(version, keep)
            self._running, seconds = (version, asyncio.create_task(fetching)), WAIT_SECONDS
        _, task = self._running
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            return None
        self._running = None
        return task.result()

    async def close(self) -> None:
        """End the download, if one goes on."""
        if self._running is not None:
            _, task = self._running
            self._running = None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
