"""The daemon's handle on its heavy processes, with real processes that do what they should not."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog
import uvloop

from robmon.processes import supervisor
from robmon.processes.command import Command, worker_environment
from robmon.processes.messages.every_process import Failure, Stop
from robmon.processes.messages.model import Load, ModelVersion
from robmon.processes.strays import descendants
from robmon.processes.supervisor import Child, ChildDiedError
from tests.patience import PATIENCE_SECONDS

QUESTION = Load(model=ModelVersion(name="m", version="1", path="nowhere", flavors=[]), threads=1)

BEGIN = f"""#!{sys.executable}
import os, socket, subprocess, sys, time
from robmon.processes.messages.every_process import Failure, Hello
from robmon.processes.channel import Channel
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
    deadline = time.monotonic() + 60
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
    answer, _ = await child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS)
    assert isinstance(answer, Failure)
    assert answer.reason == "not_loadable"
    await child.stop()
    assert await gone(process)


@on_uvloop
async def test_two_answers_to_one_question(odd_child: OddChild) -> None:
    """The second would be taken for the answer to the next question, and so on for ever."""
    child = await Child.start(
        odd_child("question, _ = channel.receive(); channel.send(question); channel.send(question); channel.receive()")
    )
    await child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS)
    await asyncio.sleep(0.2)  # it comes a moment later
    died = await death(child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS))
    assert (died.reason, str(died)) == ("crash", "the process answered without being asked")


@on_uvloop
async def test_what_a_process_forks_does_not_answer_in_its_place(tmp_path: Path) -> None:
    """Model code may fork, and let both go on; or do it on a thread, while the next question is waited for."""
    script = tmp_path / "python"
    script.write_text(
        f"""#!{sys.executable}
import os, sys, threading, time
from robmon.processes import heavy
from robmon.processes.messages.every_process import Failure
def fork():
    while True:
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        time.sleep(0.01)
def answer(channel):
    threading.Thread(target=fork, daemon=True).start()
    while True:
        channel.receive()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        channel.send(Failure(reason=str(os.getpid())))
heavy.serve(int(sys.argv[-1]), lambda: None, answer)
""",
        encoding="utf-8",
    )
    script.chmod(0o755)
    child = await Child.start(Command(str(script), "robmon.worker", worker_environment(1)))
    try:
        answers = [(await child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS))[0] for _ in range(3)]
    finally:
        await child.stop()
    assert answers == [Failure(reason=str(child.pid))] * 3


@on_uvloop
async def test_blobs_of_many_megabytes(odd_child: OddChild) -> None:
    """More than a socket holds, both ways, and empty ones among them."""
    child = await Child.start(odd_child("question, blobs = channel.receive(); channel.send(question, blobs)"))
    blobs = [os.urandom(9 * 2**20), b"", b"x"]
    answer, answered = await child.ask(QUESTION, blobs, timeout_seconds=PATIENCE_SECONDS)
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
        ("channel._socket.sendall(b'Traceback (most recent call last)')", "not a robmon message"),
        ("channel._socket.sendall(bytes([1, 0, 0, 1, 0, 0, 0, 0]))", "not a robmon message"),
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


@on_uvloop
async def test_what_it_has_started_is_never_looked_at_on_the_event_loop(
    odd_child: OddChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of processes, such as children that nobody waits for, take seconds."""
    looked: set[threading.Thread] = set()

    def noting(pid: int, parents: Mapping[int, int]) -> list[psutil.Process]:
        looked.add(threading.current_thread())
        return descendants(pid, parents)

    monkeypatch.setattr(supervisor, "descendants", noting)
    child = await Child.start(odd_child("channel.send(channel.receive()[0]); time.sleep(3600)"))
    await child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS)
    await child.kill("crash")
    assert looked and threading.main_thread() not in looked


@pytest.mark.parametrize("own_session", [False, True])
@on_uvloop
async def test_silence(odd_child: OddChild, own_session: bool) -> None:
    """It is killed with all that it started, even what left its session."""
    lines = f"subprocess.Popen({ASLEEP}, start_new_session={own_session}); channel.send(channel.receive()[0])"
    child = await Child.start(odd_child(lines + "; time.sleep(3600)"))
    await child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS)
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
    died = await death(child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS))
    assert died.reason == "memory"
    assert "200000000" in str(died)
    assert child.memory_bytes > 200_000_000
    assert await gone(process)


@on_uvloop
async def test_memory_while_nobody_asks(odd_child: OddChild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.05)
    child = await Child.start(odd_child("eaten = b'x' * 300_000_000; time.sleep(3600)", memory_bytes=200_000_000))
    assert await gone(psutil.Process(child.pid))
    died = await death(child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS))
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
    died = await death(child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS))
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
async def test_stop_of_one_that_is_killed_already(odd_child: OddChild) -> None:
    """As when the daemon ends while it waits for an answer: its jobs are cancelled, and then all is closed."""
    child = await Child.start(odd_child("time.sleep(3600)"))
    question = asyncio.create_task(child.ask(Stop(), timeout_seconds=PATIENCE_SECONDS))
    await asyncio.sleep(0)
    question.cancel()
    await asyncio.sleep(0)
    await child.stop()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert (await death(child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS))).reason == "crash"


@on_uvloop
async def test_cancelled_question(odd_child: OddChild) -> None:
    """As when the daemon ends in the midst of an assessment."""
    child = await Child.start(odd_child("time.sleep(3600)"))
    process = psutil.Process(child.pid)
    question = asyncio.create_task(child.ask(Stop(), timeout_seconds=PATIENCE_SECONDS))
    await asyncio.sleep(0)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert await gone(process)


@on_uvloop
async def test_cancelled_start(odd_child: OddChild) -> None:
    """As when the daemon ends just after it has begun: at whatever step, no process is left to end later."""
    others = psutil.Process().children()  # those of other tests, such as a registry that many share
    for steps in range(32):
        starting = asyncio.create_task(Child.start(odd_child("time.sleep(3600)")))
        for _ in range(steps):
            await asyncio.sleep(0)
        await cancelled(starting)
        assert starting.cancelled()
        assert left(others) == [], steps


def left(others: list[psutil.Process]) -> list[str]:
    """The children besides these, and what becomes of them; they are killed, that no test waits for them."""
    found = [process for process in psutil.Process().children() if process not in others]
    states = [process.status() for process in found]
    for process in found:
        process.kill()
    return states


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel it, and once more before it had its turn, and wait for its end."""
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize("way", ["stop", "kill"])
@on_uvloop
async def test_cancelled_end(odd_child: OddChild, way: str) -> None:
    """As when the daemon ends while one worker is replaced by another: the first has ended when all is closed."""
    others = psutil.Process().children()
    for steps in range(1, 8):
        child = await Child.start(odd_child("time.sleep(3600)"))
        ending = asyncio.create_task(child.stop() if way == "stop" else child.kill("crash"))
        for _ in range(steps):
            await asyncio.sleep(0)
        await cancelled(ending)
        assert left(others) == [], steps


@on_uvloop
async def test_cancelled_while_it_looks_how_the_process_ended(
    odd_child: OddChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives, in spite of the channel that it has closed."""
    others = psutil.Process().children()
    looking = asyncio.Event()

    async def look(_: Child) -> str:
        looking.set()
        await asyncio.sleep(PATIENCE_SECONDS)
        return ""

    monkeypatch.setattr(Child, "_exit_text", look)
    closes = "channel._socket.shutdown(socket.SHUT_RDWR)\n"
    starting = asyncio.create_task(Child.start(odd_child("time.sleep(3600)", hello=closes)))
    await looking.wait()
    await cancelled(starting)
    assert left(others) == []


@pytest.mark.parametrize("log_output", [False, True])
@on_uvloop
async def test_output(odd_child: OddChild, log_output: bool, capfd: pytest.CaptureFixture[str]) -> None:
    lines = "print('to stdout'); print('to stderr', file=sys.stderr); channel.receive()"
    with structlog.testing.capture_logs() as logged:
        child = await Child.start(odd_child(lines, log_output=log_output))
        await death(child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS))
    assert sorted(line["line"] for line in logged) == (["to stderr", "to stdout"] if log_output else [])
    assert capfd.readouterr() == ("", "")


@on_uvloop
async def test_output_without_end(odd_child: OddChild) -> None:
    """It is read, so that the child goes on, but only so much of it is logged, and how much is not."""
    lines = "for _ in range(20_000): print('x' * 1000)\nchannel.receive(); print('the end'); channel.send(Failure())"
    with structlog.testing.capture_logs() as logged:
        child = await Child.start(odd_child(lines.replace("Failure()", "Failure(reason='x')"), log_output=True))
        ticks = 0
        answering = asyncio.ensure_future(child.ask(QUESTION, timeout_seconds=PATIENCE_SECONDS))
        while not answering.done():
            await asyncio.sleep(0)
            ticks += 1
        await child.stop()
    assert ticks > 100, "others have their turn"
    told = sum(len(line["line"]) for line in logged if line["event"] == "worker output")
    left_out = sum(line["bytes"] for line in logged if line["event"] == "worker output left out")
    assert 50_000 < told < 10_000_000
    assert 20_000_000 <= told + left_out + 100 < 20_021_000, (told, left_out)


@on_uvloop
async def test_an_answer_that_was_ready_in_time_is_taken(odd_child: OddChild) -> None:
    """As when the daemon was stopped beyond its deadline, while the worker was not."""
    child = await Child.start(odd_child("channel.send(channel.receive()[0])"))
    asking = asyncio.ensure_future(child.ask(QUESTION, timeout_seconds=1))
    await asyncio.sleep(0)
    time.sleep(2)  # noqa: ASYNC251 - the loop is stopped, as by SIGSTOP
    answer, _ = await asking
    assert answer == QUESTION
    await child.stop()


ORPHAN = "os.fork() or (os.setsid(), os.fork() and os._exit(0), "
LEAVE_BEHIND = {
    "session": "subprocess.Popen(asleep, start_new_session=True)",
    "orphan": ORPHAN + "os.execv(asleep[0], asleep))",
    "orphan without environment": ORPHAN + "os.execve(asleep[0], asleep, {}))",
    "family of an orphan": ORPHAN + "os.fork() or os.setsid(), time.sleep(3600))",
    "orphan that ends": ORPHAN + "os._exit(0))",
}
ADOPTING = """
import asyncio, os, sys, time
import psutil, uvloop
from robmon.processes.strays import strays
from robmon.processes.command import Command, worker_environment
from robmon.processes.messages.model import Load, ModelVersion
from robmon.processes.supervisor import Child, ChildDiedError

QUESTION = Load(model=ModelVersion(name="m", version="1", path="nowhere", flavors=[]), threads=1)

async def main(script):
    strays.adopt()
    for how in ("stopped", "ends itself"):
        await leave(script, how)

async def leave(script, how):
    other = await Child.start(Command(script + ".other", "robmon.fetch", worker_environment(1)))
    child = await Child.start(Command(script, "robmon.worker", worker_environment(1)))
    await child.ask(QUESTION, timeout_seconds=300)
    if how == "stopped":
        await child.stop()
    else:
        try:
            await child.ask(QUESTION, timeout_seconds=300)
        except ChildDiedError as error:
            assert error.reason == "crash", error
    left = [each for each in psutil.Process().children(recursive=True) if each.pid != other.pid]
    assert left == [], [(each, each.status()) for each in left]
    assert psutil.Process(other.pid).status() != psutil.STATUS_ZOMBIE
    await other.stop()
    assert psutil.Process().children(recursive=True) == []

uvloop.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("left_behind", LEAVE_BEHIND)
def test_what_a_worker_left_behind_ends_with_it(tmp_path: Path, left_behind: str) -> None:
    """Also in sessions of their own, and without a parent; the daemon's other processes go on.

    Once of a worker that is stopped, and once of one that ends itself.
    """
    script = f"""{BEGIN}{HELLO}
asleep = {ASLEEP}
{LEAVE_BEHIND[left_behind]}
channel.send(channel.receive()[0])
channel.receive()
os._exit(7)
"""
    (tmp_path / "worker").write_text(script, encoding="utf-8")
    (tmp_path / "worker.other").write_text(BEGIN + HELLO + "time.sleep(3600)", encoding="utf-8")
    for file in ("worker", "worker.other"):
        (tmp_path / file).chmod(0o755)
    command = [sys.executable, "-c", ADOPTING, str(tmp_path / "worker")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr


ENDING_MEANWHILE = """
import asyncio, os, time
import psutil
from robmon.processes import strays

strays.strays.adopt()
if os.fork() == 0:
    os.fork() and os._exit(0)
    os.fork()
    time.sleep(60)
    os._exit(0)
daemon = psutil.Process()
while [len(daemon.children()), len(daemon.children(recursive=True))] != [2, 3]:
    time.sleep(0.01)
head = next(each for each in daemon.children() if each.status() != psutil.STATUS_ZOMBIE)
look = strays.all_parents

def look_then_lose_the_head():
    parents = look()
    strays.all_parents = look
    head.kill()
    while head.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    return parents

strays.all_parents = look_then_lose_the_head
asyncio.run(strays.strays.end())
assert daemon.children() == []
"""


def test_what_ends_during_the_look_leaves_nobody_behind() -> None:
    """Its children are the daemon's from then on, while the look still has them below it."""
    done = subprocess.run(
        [sys.executable, "-c", ENDING_MEANWHILE], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stderr
