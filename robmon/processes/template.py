"""A process that has imported what a task takes, and is copied for each: an import costs seconds, a copy none.

The copy leaves the template at once, and is given to the driver, which has adopted what is orphaned (`strays`): the
driver waits for it, kills it, and takes it along when it dies, as any process that it starts itself. It has a session,
an environment and a socket of its own. What a copy does reaches neither the template nor other copies.

A process is copied only as long as it has one thread: of others a copy would have the locks, and nobody to open them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from robmon.errors import RobmonError
from robmon.processes.strays import strays

MAX_BYTES: Final = 2**20
"""Of an environment."""
START_SECONDS: Final = 300.0
COPY_SECONDS: Final = 60.0
_READY: Final = b"ready"
_LOOK_SECONDS: Final = 0.001


class NoTemplateError(RobmonError):
    """There is nothing to copy, or it cannot be copied: processes are started anew."""


class Copy:
    """A process that is a copy of a template, as `asyncio.subprocess.Process` has it."""

    stdout = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._over = asyncio.Event()
        self._descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._end)

    async def wait(self) -> int | None:
        """The process's exit status, once it has ended."""
        await self._over.wait()
        return self.returncode

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._over.set()


class Template:
    """The driver's handle: `start`, `copy` as often as wanted, `end`."""

    def __init__(self, arguments: Callable[[int], Sequence[str]], environment: Mapping[str, str]) -> None:
        """Start the process; it is ready only later.

        Args:
            arguments: its command line, by the descriptor that it gets; its module calls `serve`.
            environment: all that it sees.
        """
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self._is_ready = self._is_over = False
        self._one_at_a_time = asyncio.Lock()
        with theirs, strays.starting():
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                arguments(theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=dict(environment),
            )
            strays.know(self._process.pid)

    async def ready(self) -> None:
        """Wait until it can be copied.

        Raises:
            NoTemplateError: it has died, hangs, or has threads.
        """
        async with self._one_at_a_time:
            if self._is_over:
                raise NoTemplateError("the template has been ended")
            if not self._is_ready and await self._answer(START_SECONDS) != _READY:
                raise self._ended("it cannot be copied")
            self._is_ready = True

    async def copy(self, environment: Mapping[str, str], theirs: socket.socket) -> Copy:
        """A copy, to which that end of a socket belongs.

        Args:
            environment: all that it sees.
            theirs: it serves there.

        Raises:
            NoTemplateError: there is none.
        """
        async with self._one_at_a_time:
            try:
                socket.send_fds(self._control, [json.dumps(dict(environment)).encode()], [theirs.fileno()])
            except (OSError, ValueError):
                raise self._ended("it takes no question") from None
            pid = int(await self._answer(COPY_SECONDS) or 0)
            if not pid or not _is_ours(pid):
                raise self._ended("it made no copy that is ours")
            return Copy(pid)

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for it."""
        return self._one_at_a_time.locked()

    async def _answer(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().sock_recv(self._control, MAX_BYTES)
        except (OSError, TimeoutError):
            raise self._ended("it does not answer") from None

    def _ended(self, why: str) -> NoTemplateError:
        self.end()
        return NoTemplateError(f"no template: {why}")

    def end(self) -> None:
        """Kill it; its copies live on."""
        if self._is_over:
            return
        self._is_over = True
        self._control.close()
        self._process.kill()
        self._process.wait()
        strays.forget(self._process.pid)


def can_be_used() -> bool:
    """Whether this process gets the copies, and hears of their end."""
    return strays.is_adopting and hasattr(os, "pidfd_open")


def _is_ours(pid: int) -> bool:
    """Whether a process has been given to this one; one that has ended is still there until it is waited for."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1]) == os.getpid()
    return False


def serve(fd: int, answer: Callable[[int], None]) -> None:
    """In the template, when all is imported: make a copy for each question at this descriptor; in each copy: answer.

    Args:
        fd: of the socket to the driver.
        answer: with the descriptor of the copy's own socket.
    """
    control = socket.socket(fileno=fd)
    control.set_inheritable(False)
    gc.collect()
    gc.freeze()  # else each copy would look through, and so copy, all that was imported
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        return
    control.send(_READY)
    while True:
        question, descriptors, _, _ = socket.recv_fds(control, MAX_BYTES, 1)
        if not question:
            return
        pid = _copy(descriptors[0])
        if pid is None:
            break
        control.send(str(pid).encode())
    control.close()
    os.environ.clear()
    os.environ.update(json.loads(question))
    tempfile.tempdir = None
    answer(descriptors[0])


def _copy(descriptor: int) -> int | None:
    """The copy's number, 0 where there is none; None in the copy itself, once it has been given to the driver."""
    read, write = os.pipe()
    between = os.fork()
    if between:
        os.close(write)
        os.close(descriptor)
        with os.fdopen(read, "rb") as told:
            pid = int(told.read() or 0)
        os.waitpid(between, 0)
        return pid
    between = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        os.write(write, str(pid).encode())
        os._exit(0)
    os.close(read)
    os.close(write)
    os.setsid()
    while os.getppid() == between:
        time.sleep(_LOOK_SECONDS)
    return None
