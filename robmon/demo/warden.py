"""Ends what the demo started and removes its folder, however the demo itself ends.

It runs as a process of its own, in its own session. The demo tells it on standard input which process groups are
started and which to end; when that input ends, because the demo is done, failed or was killed, everything goes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

import psutil

POLL_SECONDS = 0.05
TERM_SECONDS = 10.0
"""A daemon may take this long to end in good order."""


def main() -> None:
    """Read `start PID` and `end PID`; at the end of the input, end all and remove the folder named by the argument."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    leaders: set[int] = set()
    for line in sys.stdin:
        verb, pid = line.split()
        if verb == "start":
            leaders.add(int(pid))
        else:
            end([int(pid)])
            leaders.discard(int(pid))
    end(leaders)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


def end(leaders: Iterable[int]) -> None:
    """End process groups and all that descends from their leaders: SIGTERM, and SIGKILL for what is left."""
    leaders = list(leaders)
    family = [process for leader in leaders for process in _family(leader)]
    for leader in leaders:
        _signal_group(leader, signal.SIGTERM)
    deadline = time.monotonic() + TERM_SECONDS
    while any(map(_is_alive, family)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for leader in leaders:
        _signal_group(leader, signal.SIGKILL)
    for process in filter(_is_alive, family):
        with contextlib.suppress(psutil.Error):
            process.kill()


def _family(leader: int) -> list[psutil.Process]:
    """The leader and its descendants, also those that lead sessions of their own."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(leader)
        return [process, *process.children(recursive=True)]
    return []


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


if __name__ == "__main__":
    main()
