"""The daemon's handle on its heavy processes, with real processes that do what they should not."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog
import uvloop

from robmon import supervisor
from robmon.messages import Failure, Load, ModelVersion, Stop
from robmon.supervisor import Child, ChildDiedError, Command, memory_limit_bytes, worker_environment

QUESTION = Load(model=ModelVersion(name="m", version="1", path="nowhere", flavors=[]), device="cpu", threads=1)
PLENTY_SECONDS = 30

BEGIN = f"""#!{sys.executable}
import os, socket, subprocess, sys, time
from robmon.messages import Channel, Failure, Hello
channel = Channel.from_fd(int(sys.argv[-1]))
"""
HELLO = "channel.send(Hello(pid=os.getpid()))\n"
ASLEEP = [sys.executable, "-c", "import time; time.sleep(3600)"]

OddChild = Callable[..., Command]


@pytest.fixture
def odd_child(tmp_path: Path) -> OddChild:
    """A child process that runs these lines after its greeting, in the place of a foreign interpreter."""

    def command(
        lines: str, *, hello: str = HELLO, memory_bytes: int | None = None, log_output: bool = False
    ) -> Command:
        script = tmp_path / "python"
        script.write_text(BEGIN + hello + textwrap.dedent(lines), encoding="utf-8")
        script.chmod(0o755)
        return Command(str(script), "robmon.worker", worker_environment(1), memory_bytes, log_output)

    return command


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on the daemon's own event loop, whose handling of child processes is its own too."""

    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        uvloop.run(test(**fixtures))

    return run


async def gone(process: psutil.Process) -> bool:
    """Whether a process ends within seconds; one that nobody has waited for yet counts as ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        await asyncio.sleep(0.02)
    return False


async def death(conversation: Awaitable[object]) -> ChildDiedError:
    with pytest.raises(ChildDiedError) as caught:
        await conversation
    return caught.value


@on_uvloop
async def test_question_and_answer() -> None:
    child = await Child.start(Command(sys.executable, "robmon.worker", worker_environment(1)))
    process = psutil.Process(child.pid)
    assert os.getsid(child.pid) == child.pid, "a session of its own, so that all it starts can be killed at once"
    answer, _ = await child.ask(QUESTION, timeout_seconds=PLENTY_SECONDS)
    assert isinstance(answer, Failure)
    assert answer.reason == "not_loadable"
    await child.stop()
    assert await gone(process)


@on_uvloop
async def test_blobs_of_many_megabytes(odd_child: OddChild) -> None:
    """More than a socket holds, both ways, and empty ones among them."""
    child = await Child.start(odd_child("question, blobs = channel.receive(); channel.send(question, blobs)"))
    blobs = [os.urandom(9 * 2**20), b"", b"x"]
    answer, answered = await child.ask(QUESTION, blobs, timeout_seconds=PLENTY_SECONDS)
    assert (answer, answered) == (QUESTION, blobs)
    await child.stop()


@on_uvloop
async def test_program_that_is_not_there(tmp_path: Path) -> None:
    died = await death(Child.start(Command(str(tmp_path / "none"), "robmon.worker", {})))
    assert died.reason == "crash"
    assert str(died) == f"{tmp_path}/none cannot be started: No such file or directory"


@pytest.mark.parametrize(
    ("hello", "how"),
    [
        ("sys.exit(3)", "exited with status 3"),
        ("channel.send(Failure(reason='x'))", "did not say hello first"),
        ("channel.send(Hello(pid=1, protocol=77))", "speaks protocol 77"),
        ("channel._socket.sendall(b'Traceback (most recent call last)')", "no robmon message"),
        ("channel._socket.sendall(bytes([0, 0, 0, 2, 0, 0, 0, 0]) + b'{}')", "not valid"),
    ],
)
@on_uvloop
async def test_bad_greeting(odd_child: OddChild, hello: str, how: str) -> None:
    died = await death(Child.start(odd_child("time.sleep(3600)", hello=hello + "\n")))
    assert died.reason == "crash"
    assert how in str(died)


@on_uvloop
async def test_no_greeting(odd_child: OddChild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.2)
    died = await death(Child.start(odd_child("time.sleep(3600)", hello="")))
    assert died.reason == "timeout"


@pytest.mark.parametrize("own_session", [False, True])
@on_uvloop
async def test_silence(odd_child: OddChild, own_session: bool) -> None:
    """It is killed with all that it started, even what left its session."""
    lines = f"subprocess.Popen({ASLEEP}, start_new_session={own_session}); channel.send(channel.receive()[0])"
    child = await Child.start(odd_child(lines + "; time.sleep(3600)"))
    await child.ask(QUESTION, timeout_seconds=PLENTY_SECONDS)
    process = psutil.Process(child.pid)
    [started] = process.children()
    died = await death(child.ask(QUESTION, timeout_seconds=0.2))
    assert (died.reason, str(died)) == ("timeout", "no answer within 0.2 s")
    assert await gone(process)
    assert await gone(started)


@on_uvloop
async def test_memory(odd_child: OddChild, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the processes it started counts too."""
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.05)
    eats = [sys.executable, "-c", "import time; eaten = b'x' * 300_000_000; time.sleep(3600)"]
    lines = f"channel.receive(); subprocess.Popen({eats}); time.sleep(3600)"
    child = await Child.start(odd_child(lines, memory_bytes=200_000_000))
    process = psutil.Process(child.pid)
    died = await death(child.ask(QUESTION, timeout_seconds=PLENTY_SECONDS))
    assert died.reason == "memory"
    assert "200000000" in str(died)
    assert child.memory_bytes > 200_000_000
    assert await gone(process)


@on_uvloop
async def test_memory_while_nobody_asks(odd_child: OddChild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.05)
    child = await Child.start(odd_child("eaten = b'x' * 300_000_000; time.sleep(3600)", memory_bytes=200_000_000))
    assert await gone(psutil.Process(child.pid))
    died = await death(child.ask(QUESTION, timeout_seconds=PLENTY_SECONDS))
    assert died.reason == "memory"


@pytest.mark.parametrize(
    ("lines", "how"),
    [
        ("os.kill(os.getpid(), 9)", "the process was ended by SIGKILL"),
        ("os._exit(5)", "it exited with status 5"),
        ("channel._socket.shutdown(socket.SHUT_RDWR); time.sleep(3600)", "the process closed its channel"),
    ],
)
@on_uvloop
async def test_death_while_answering(odd_child: OddChild, lines: str, how: str) -> None:
    child = await Child.start(odd_child(f"channel.receive(); {lines}"))
    process = psutil.Process(child.pid)
    died = await death(child.ask(QUESTION, timeout_seconds=PLENTY_SECONDS))
    assert (died.reason, str(died)) == ("crash", how)
    assert await gone(process)


@on_uvloop
async def test_stop_of_one_that_does_not_listen(odd_child: OddChild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    child = await Child.start(odd_child("import signal; signal.signal(15, signal.SIG_IGN); time.sleep(3600)"))
    process = psutil.Process(child.pid)
    await child.stop()
    assert await gone(process)


@on_uvloop
async def test_cancelled_question(odd_child: OddChild) -> None:
    """As when the daemon ends in the midst of an assessment."""
    child = await Child.start(odd_child("time.sleep(3600)"))
    process = psutil.Process(child.pid)
    question = asyncio.create_task(child.ask(Stop(), timeout_seconds=PLENTY_SECONDS))
    await asyncio.sleep(0)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert await gone(process)


@pytest.mark.parametrize("log_output", [False, True])
@on_uvloop
async def test_output(odd_child: OddChild, log_output: bool, capfd: pytest.CaptureFixture[str]) -> None:
    lines = "print('to stdout'); print('to stderr', file=sys.stderr); channel.receive()"
    with structlog.testing.capture_logs() as logged:
        child = await Child.start(odd_child(lines, log_output=log_output))
        await death(child.ask(QUESTION, timeout_seconds=PLENTY_SECONDS))
    assert sorted(line["line"] for line in logged) == (["to stderr", "to stdout"] if log_output else [])
    assert capfd.readouterr() == ("", "")


def test_memory_limit() -> None:
    assert memory_limit_bytes(5) == 5
    found = memory_limit_bytes("auto")
    assert found is None or 0 < found < psutil.virtual_memory().total
