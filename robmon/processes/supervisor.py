"""The daemon's handle on its heavy processes: start, ask, time, watch, kill.

Model code is strangers' code: it may raise, leak, hang, exhaust memory or die by a signal. Whatever it does costs one
answer. A child runs in its own session so that it and all it started can be killed at once, and every question has a
deadline. This is crash isolation, not a security boundary.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import psutil

from robmon.errors import ProtocolError, RobmonError
from robmon.processes.channel import OF_A_FRAME, OF_A_WORKERS_ANSWER, Frame, decode, encode
from robmon.processes.command import Command
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.every_process import Hello, Stop
from robmon.processes.output import log_lines
from robmon.processes.strays import all_parents, descendants, strays
from robmon.processes.template import Copy, Template
from robmon.vocabulary import DeathReason

START_SECONDS = 60.0
WATCH_SECONDS = 0.5
STOP_SECONDS = 2.0
EXIT_SECONDS = 2.0
OUTPUT_SECONDS = 2.0
WAKE_SECONDS = 0.5
"""How long after its deadline an answer is still taken: when the daemon itself was stopped, it lies there already."""
WORKER = "robmon.worker"
T = TypeVar("T")


class ChildDiedError(RobmonError):
    """A child process did not answer, and is gone.

    Attributes:
        reason: `crash`, `timeout` or `memory`.
    """

    def __init__(self, reason: DeathReason, message: str) -> None:
        self.reason: DeathReason = reason
        super().__init__(message)


class Child:
    """One running child process and the socket to it. Build it with `start`, end it with `stop` or `kill`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process | Copy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        command: Command,
    ) -> None:
        self.memory_bytes = 0
        self._process = process
        self._reader = reader
        self._writer = writer
        self._memory_limit = command.memory_bytes
        self._is_worker = command.module == WORKER
        self._death: DeathReason | None = None
        self._watching = asyncio.create_task(self._watch_memory())
        self._logging = asyncio.create_task(log_lines(process.stdout)) if process.stdout is not None else None

    @classmethod
    async def start(cls, command: Command, template: Template | None = None) -> Child:
        """Start the process and wait for its first message.

        Must run on the event loop's own thread: a child of another thread dies with that thread.

        Args:
            command: how.
            template: of which it is made a copy, in the command's environment, instead of being started.

        Raises:
            ChildDiedError: it could not be started, or did not say hello.
            NoTemplateError: there is no such template.
        """
        launching = asyncio.create_task(cls._launch(command, template))
        try:
            child = await _finish(launching)
        except asyncio.CancelledError:
            if launching.exception() is None:
                await launching.result().kill("crash")
            raise
        await child._expect_hello()
        return child

    @classmethod
    async def _launch(cls, command: Command, template: Template | None) -> Child:
        """Start the process. Whoever cancels this may leave a process that nobody knows."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:  # no descriptor is left
            raise ChildDiedError("crash", f"{command.python} cannot be started: {error.strerror}") from None
        ours.setblocking(False)
        output = asyncio.subprocess.PIPE if command.log_output else asyncio.subprocess.DEVNULL
        with theirs, contextlib.ExitStack() as undo:
            reader, writer = await asyncio.open_connection(sock=ours)
            undo.callback(writer.close)
            try:
                with strays.starting():
                    process: asyncio.subprocess.Process | Copy
                    if template is not None:
                        process = await template.copy(command.environment, theirs)
                    else:
                        process = await asyncio.create_subprocess_exec(
                            *command.arguments(theirs.fileno()),
                            stdin=asyncio.subprocess.DEVNULL,
                            stdout=output,
                            stderr=asyncio.subprocess.STDOUT if command.log_output else output,
                            pass_fds=(theirs.fileno(),),
                            start_new_session=True,
                            env=dict(command.environment),
                        )
                    strays.know(process.pid)
            except OSError as error:
                raise ChildDiedError("crash", f"{command.python} cannot be started: {error.strerror}") from None
            undo.pop_all()
        return cls(process, reader, writer, command)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def ask(self, message: AnyMessage, blobs: Sequence[bytes] = (), *, timeout_seconds: float) -> Frame:
        """Send a message and wait for the answer.

        Raises:
            ChildDiedError: no answer came in time, or the process is gone; it is killed in either case.
        """

        async def conversation() -> Frame:
            if await self._has_said_something():
                raise ProtocolError("the process answered without being asked")
            await self._send(message, blobs)
            return await self._receive()

        return await self._or_kill(conversation(), timeout_seconds)

    async def stop(self) -> None:
        """End the process: ask it, then kill it and all it started. Who is cancelled meanwhile kills it at once."""
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._send(Stop(), ())
                    self._writer.close()
                    await self._process.wait()
        finally:
            await self.kill("crash")

    async def kill(self, reason: DeathReason) -> None:
        """Kill the process and all it started, and wait for its end, also where the caller is cancelled meanwhile.

        The first reason given is the one that counts.
        """
        self._death = self._death or reason
        self._watching.cancel()
        self._writer.close()
        await _finish(asyncio.create_task(self._end()))

    async def _end(self) -> None:
        """Kill it, and wait for the end of what has been killed."""
        await asyncio.to_thread(self._signal_group)
        await self._process.wait()
        strays.forget(self.pid)
        if self._is_worker:
            await strays.end()
        await self._log_rest()

    async def _log_rest(self) -> None:
        """Wait until all that was printed is logged; whoever still holds the output open is not waited for long."""
        if self._logging is not None:
            await asyncio.wait({self._logging}, timeout=OUTPUT_SECONDS)
            self._logging.cancel()
            await asyncio.wait({self._logging})

    async def _expect_hello(self) -> None:
        async def hello() -> Frame:
            frame = await self._receive()
            if not isinstance(frame[0], Hello):
                raise ProtocolError("the process did not say hello first")
            return frame

        await self._or_kill(hello(), START_SECONDS)

    async def _or_kill(self, conversation: Coroutine[Any, Any, Frame], timeout_seconds: float) -> Frame:
        """The result of a conversation with the process, which is killed if that fails in any way."""
        answering = asyncio.ensure_future(conversation)
        ending = asyncio.ensure_future(self._process.wait())  # what it left behind may hold the socket open
        try:
            await asyncio.wait({answering, ending}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if (await asyncio.wait({answering}, timeout=WAKE_SECONDS))[0]:
                return answering.result()
            answering.cancel()
            if ending.done():
                raise ConnectionResetError
            await self.kill("timeout")
            raise ChildDiedError("timeout", f"no answer within {timeout_seconds:g} s")
        except (OSError, asyncio.IncompleteReadError, ProtocolError) as error:
            try:
                how = str(error) if isinstance(error, ProtocolError) else await self._exit_text()
            finally:
                await self.kill("crash")
            raise ChildDiedError(self._death or "crash", how) from None
        except asyncio.CancelledError:
            answering.cancel()
            await self.kill("crash")
            raise
        finally:
            ending.cancel()

    async def _has_said_something(self) -> bool:
        """Whether what it said is there already: it would be taken for the answer to the next question."""
        reading = asyncio.ensure_future(self._reader.read(1))
        await asyncio.wait({reading}, timeout=0)
        reading.cancel()
        await asyncio.wait({reading})
        return not reading.cancelled() and reading.result() != b""

    async def _send(self, message: AnyMessage, blobs: Sequence[bytes]) -> None:
        if self._writer.is_closing():  # it is being killed: uvloop would raise what looks like a mistake of ours
            raise ConnectionResetError
        for piece in encode(message, blobs):
            self._writer.write(piece)
            await self._writer.drain()

    async def _receive(self) -> Frame:
        parser = decode(OF_A_WORKERS_ANSWER if self._is_worker else OF_A_FRAME)
        needed = next(parser)
        while True:
            data = await self._reader.readexactly(needed)
            try:
                needed = parser.send(data)
            except StopIteration as stop:
                frame: Frame = stop.value
                return frame

    async def _exit_text(self) -> str:
        """How the process ended; its status comes a moment after its socket is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXIT_SECONDS):
                await self._process.wait()
        code = self._process.returncode
        if self._death == "memory":
            return f"the process held more than {self._memory_limit} bytes of memory"
        if code is None:
            return "the process closed its channel"
        return f"the process was ended by {signal.Signals(-code).name}" if code < 0 else f"it exited with status {code}"

    async def _watch_memory(self) -> None:
        while True:
            self.memory_bytes = await asyncio.to_thread(lambda: _resident_bytes(self._members()))
            if self._memory_limit is not None and self.memory_bytes > self._memory_limit:
                self._death = self._death or "memory"
                await asyncio.to_thread(self._signal_group)
                return
            await asyncio.sleep(WATCH_SECONDS)

    def _members(self) -> list[psutil.Process]:
        """The process, all its descendants, and what it left behind: thousands, it may be, so call it in a thread."""
        parents = all_parents()
        members = strays.find(parents) if self._is_worker else []
        with contextlib.suppress(psutil.Error):
            members += [psutil.Process(self.pid), *descendants(self.pid, parents)]
        return members

    def _signal_group(self) -> None:
        """Kill the process, its session, and descendants that made a session of their own."""
        members = self._members()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for member in members:
            with contextlib.suppress(psutil.Error):
                member.kill()


async def _finish(task: asyncio.Task[T]) -> T:
    """The result of a task that goes on to its end where the caller is cancelled, who learns of that afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


def _resident_bytes(members: Sequence[psutil.Process]) -> int:
    total = 0
    for member in members:
        with contextlib.suppress(psutil.Error):
            total += member.memory_info().rss
    return total
