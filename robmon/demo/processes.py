"""The demo's processes: start, await, stop. Each leads its own group and writes to a file in the temporary folder.

Ending them is the warden's job alone, so that one piece of code does it whether the demo ends well, fails, is
interrupted or is killed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx

POLL_SECONDS = 0.1
TAIL_LINES = 25
CLEAN_UP_SECONDS = 20.0

OWN_NETWORK = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
"""Variables that keep proxies of the user's from what is on this machine."""

Result = TypeVar("Result")


class DemoFailedError(Exception):
    """A step of the demo did not come about; the message says which and why."""


@dataclass(frozen=True)
class Running:
    """One process that was started, and the file that holds what it printed."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    is_server: bool
    """A server is not to end by itself; another process may, with status 0."""

    def check(self) -> None:
        """Raise DemoFailedError if the process ended and should not have."""
        status = self.process.poll()
        if status is not None and (self.is_server or status != 0):
            raise DemoFailedError(f"{self.name} ended with status {status}.\n{self.tail()}")

    def is_done(self) -> bool:
        """Whether it ended well."""
        return self.process.poll() == 0

    def end_input(self) -> None:
        """Close its standard input."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def tail(self) -> str:
        """The last lines that it printed."""
        lines = self.output.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"The last lines of {self.name}:", *lines]) if lines else f"{self.name} printed nothing."


class Processes:
    """A temporary folder and the processes that live in it; leaving the block ends them and removes it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="robmon-demo-"))
        (self.folder / "tmp").mkdir()
        self._running: list[Running] = []
        self._warden = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "robmon.demo.warden", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the warden end all. It blocks on purpose: an interrupt must not cut it short."""
        if self._warden.stdin is not None:
            self._warden.stdin.close()
        deadline = time.monotonic() + CLEAN_UP_SECONDS
        while self._warden.poll() is None and time.monotonic() < deadline:
            for running in self._running:
                running.process.poll()
            time.sleep(POLL_SECONDS)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        is_server: bool = True,
        environment: Mapping[str, str] | None = None,
        program: str = sys.executable,
    ) -> Running:
        """Start a program, this interpreter if no other, with the arguments of `command`; standard input is a pipe."""
        output = self.folder / f"{name.replace(' ', '-')}.log"
        with output.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 - our own command lines
                [program, *command],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=_environment(self.folder) | dict(environment or {}),
                start_new_session=True,
            )
        self._tell_warden("start", process)
        running = Running(name, process, output, is_server)
        self._running.append(running)
        return running

    async def stop(self, running: Running) -> None:
        """End one process and all that it started."""
        self._running.remove(running)
        self._tell_warden("end", running.process)
        await asyncio.to_thread(running.process.wait)

    async def until(self, condition: Callable[[], Awaitable[Result]], seconds: float, what: str) -> Result:
        """Ask `condition` until it answers with something true, and return that.

        Raises:
            DemoFailedError: it did not within `seconds`, or a process ended that should not have.
        """
        deadline = time.monotonic() + seconds
        while not (result := await condition()):
            for running in self._running:
                running.check()
            if time.monotonic() > deadline:
                tails = "\n\n".join(running.tail() for running in self._running)
                raise DemoFailedError(f"Not within {seconds:g} s: {what}.\n{tails}")
            await asyncio.sleep(POLL_SECONDS)
        return result

    def _tell_warden(self, verb: str, process: subprocess.Popen[bytes]) -> None:
        if self._warden.stdin is not None:
            self._warden.stdin.write(f"{verb} {process.pid}\n".encode())
            self._warden.stdin.flush()


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def answers(client: httpx.AsyncClient, url: str) -> bool:
    """Whether a GET of `url` is answered with a status of 200."""
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


def is_of_the_user(variable: str) -> bool:
    """Whether an environment variable may point at a registry or settings of the user's own."""
    return variable.startswith(("ROBMON_", "MLFLOW_"))


def _environment(folder: Path) -> dict[str, str]:
    """What the processes see: nothing that points them at a registry, settings or proxy of the user's own."""
    theirs = {name: value for name, value in os.environ.items() if not is_of_the_user(name)}
    return (
        theirs
        | OWN_NETWORK
        | {
            "TMPDIR": str(folder / "tmp"),
            # `mlflow models serve` starts uvicorn by its bare name.
            "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "GIT_PYTHON_REFRESH": "quiet",
            # Several processes share the machine, and none of their models is worth a second thread.
            "OMP_NUM_THREADS": "1",
        }
    )
