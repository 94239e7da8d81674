"""Processes that model code has started and left behind, wherever they have gone.

A process whose parent ends is given to the nearest ancestor that asked for that: the daemon. So it finds, ends and
waits for those too that made a session of their own and left the worker's tree.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
END_ROUNDS = 40
ROUND_SECONDS = 0.05


class Strays:
    """What the daemon has been given. Until `adopt` has been called it is nothing, and nothing is ended."""

    def __init__(self) -> None:
        self._own: set[int] = set()
        self._before: set[int] = set()
        self._is_adopting = False
        self._starting = 0

    def adopt(self) -> None:
        """From now on processes without a parent are given to this one."""
        if adopt_orphans():
            self._before = {child.pid for child in psutil.Process().children()}
            self._is_adopting = True

    @property
    def is_adopting(self) -> bool:
        """Whether it has been called, and the system does so."""
        return self._is_adopting

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """While a process is started that the daemon wants, but does not know yet."""
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    def know(self, pid: int) -> None:
        """Take note of a process which the daemon itself has started, and waits for."""
        self._own.add(pid)

    def forget(self, pid: int) -> None:
        """Take note that such a process has ended."""
        self._own.discard(pid)

    def find(self, parents: Mapping[int, int]) -> list[psutil.Process]:
        """The processes that model code left behind, with their descendants.

        What has ended is waited for, and is among them this once: its children may have gone elsewhere since the look.
        """
        if not self._is_adopting or self._starting:
            return []
        found: list[psutil.Process] = []
        for pid in [pid for pid, parent in parents.items() if parent == os.getpid()]:
            if self._starting:  # a number may be given anew, to a process that is not known yet
                return []
            with contextlib.suppress(psutil.Error, OSError):
                if pid in self._own or pid in self._before:
                    continue
                child = psutil.Process(pid)
                if child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(pid, os.WNOHANG)
                elif not _is_guests(child):
                    continue
                found += [child, *descendants(pid, parents)]
        return found

    async def end(self) -> None:
        """End them all, also those that start others meanwhile."""
        for _ in range(END_ROUNDS if self._is_adopting else 0):
            if not await asyncio.to_thread(self._kill_found) and not self._starting:
                return
            await asyncio.sleep(ROUND_SECONDS)

    def _kill_found(self) -> bool:
        """Kill what there is now; whether there was any."""
        found = self.find(all_parents())
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        return bool(found)


def adopt_orphans() -> bool:
    """Let processes below this one be given to it when their parent ends; whether that could be had."""
    return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def all_parents() -> dict[int, int]:
    """The parent of every process of this machine, of which there may be thousands: call it in a thread.

    psutil looks through all of them anew for each process whose children are asked for.
    """
    parents = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):  # what is no process, or has just ended
            pid, state = int(folder.name), (folder / "stat").read_bytes()
            parents[pid] = int(state.rpartition(b")")[2].split(maxsplit=2)[1])  # the name may hold anything
    return parents


def descendants(pid: int, parents: Mapping[int, int]) -> list[psutil.Process]:
    """The processes that a process has started, and those that they have, as far as they live."""
    below, generation = set[int](), {pid}
    while generation := {child for child, parent in parents.items() if parent in generation} - below:
        below |= generation
    found = []
    for child in below:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(child))
    return found


def _is_guests(process: psutil.Process) -> bool:
    """Whether it comes from model code: those are nicer than the daemon, and cannot become less so.

    The first process of a container is given others too, such as what somebody started in it by hand.
    """
    return os.getpid() != 1 or process.nice() > os.nice(0)


strays = Strays()
