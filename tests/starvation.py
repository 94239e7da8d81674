"""Time that processes wait for a processor: it is the machine's, and no test takes it for theirs.

robmon's worker is a guest, also where the kernel shares processors out by session: beside ten busy sessions on two
processors it gets a fiftieth of one. Then 5 s of work, as MLflow's import is, take minutes.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

LOOK_SECONDS = 0.5


class Starvation:
    """How long a process and what descends from it have waited for a processor, as seen by looking again and again.

    A look takes longer than most conditions that are waited for, so that it is taken twice a second at most.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looked_at = time.monotonic()
        self._waited = _waited_seconds(pid)
        self._seconds = 0.0

    def seconds(self) -> float:
        """Since it was built: between two looks, of the process that waited longest."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return self._seconds
        before, self._waited = self._waited, _waited_seconds(self._pid)
        since, self._looked_at = self._looked_at, time.monotonic()
        longest = max((seconds - before.get(pid, 0.0) for pid, seconds in self._waited.items()), default=0.0)
        self._seconds += min(longest, self._looked_at - since)
        return self._seconds


def _waited_seconds(pid: int) -> dict[int, float]:
    """By process, since it began; nothing where the kernel does not count it."""
    waited: dict[int, float] = {}
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(OSError):
                _, nanoseconds, _ = Path(f"/proc/{each.pid}/schedstat").read_text(encoding="ascii").split()
                waited[each.pid] = int(nanoseconds) / 1e9
    return waited
