"""What tests do not count: the time that a process waits for a processor."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

from tests.servers import wait_until
from tests.starvation import LOOK_SECONDS, Starvation

NICEST = 19
BUSY = "while True: pass"
READING = "import sys; print('ready', flush=True); sys.stdin.read()"


@contextlib.contextmanager
def beside_a_busy_one(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program that shares one processor with another, which has all of it if it wants."""
    processor = {min(os.sched_getaffinity(0))}
    with contextlib.ExitStack() as stack:
        for words in (BUSY, program):
            command, pipe = [sys.executable, "-c", words], subprocess.PIPE
            child = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe))
            stack.callback(child.kill)
            os.sched_setaffinity(child.pid, processor)
        os.setpriority(os.PRIO_PROCESS, child.pid, NICEST)
        yield child


def test_who_wants_a_processor_and_has_none_is_starved() -> None:
    with beside_a_busy_one(BUSY) as child:
        starvation, began = Starvation(child.pid), time.monotonic()
        wait_until(lambda: starvation.seconds() > 0.3, what="some time that it waits")
        assert starvation.seconds() <= time.monotonic() - began


def test_who_waits_for_something_else_is_not() -> None:
    with beside_a_busy_one(READING) as child:
        assert child.stdout is not None
        child.stdout.readline()
        wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_SLEEPING, what="that it reads")
        starvation = Starvation(child.pid)
        time.sleep(1.1 * LOOK_SECONDS)
        assert starvation.seconds() == 0
