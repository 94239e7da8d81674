"""What is written on a thread of its own: in order, the newest only, and without holding up the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from robmon.daemon.memory import writer as writer_module
from robmon.daemon.memory.writer import MAX_ADDITIONS, Writer
from robmon.history.folder import replace_file
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until


class SlowDisk:
    """Writes that wait until they are released, and what they wrote."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.written: list[object] = []

    def write(self, what: object) -> None:
        assert self.released.wait(PATIENCE_SECONDS)
        self.written.append(what)


async def test_order_and_the_newest_of_each_place() -> None:
    disk, writer = SlowDisk(), Writer()
    for number in range(3):
        writer.write(lambda number=number: disk.write(("line", number)))
        writer.write(lambda number=number: disk.write(("state", number)), place="state")
    disk.released.set()
    await writer.close()
    assert disk.written == [("line", 0), ("line", 1), ("line", 2), ("state", 2)] or disk.written == [
        *(("line", 0), ("state", 0), ("line", 1), ("line", 2), ("state", 2))
    ]


async def test_the_event_loop_goes_on() -> None:
    disk, writer = SlowDisk(), Writer()
    writer.write(lambda: disk.write(1))
    for _ in range(100):
        await asyncio.sleep(0)
    assert disk.written == []
    disk.released.set()
    await writer.close()
    assert disk.written == [1]


class FullDisk:
    """Writes fail until there is room."""

    def __init__(self) -> None:
        self.is_full = True
        self.tries = 0
        self.written: list[object] = []

    def write(self, what: object) -> object:
        self.tries += 1
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.written.append(what)
        return what


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PAUSE_SECONDS", (0.01, 0.02))


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition, 30)


@pytest.mark.usefixtures("impatient")
async def test_what_could_not_be_written_is_written_when_there_is_room() -> None:
    """In its order, and of each place the newest; told when it begins and when it ends, on the event loop's thread."""
    counted: list[int] = []
    disk, writer = FullDisk(), Writer(lambda: counted.append(threading.get_ident()))
    taken: list[object] = []
    with capture_logs() as lines:
        for number in range(3):
            writer.write(lambda number=number: disk.write(("line", number)), done=taken.append)
            writer.write(lambda number=number: disk.write(("state", number)), place="state", done=taken.append)
        await until(lambda: disk.tries > 3)
        writer.write(lambda: disk.write(("state", 3)), place="state", done=taken.append)
        assert writer.failure == "No space left on device"
        disk.is_full = False
        await until(lambda: len(taken) == 4)
    assert disk.written == taken == [("line", 0), ("line", 1), ("line", 2), ("state", 3)]
    assert writer.failure == ""
    assert [line["event"] for line in lines] == ["data folder not written", "data folder written again"]
    assert set(counted) == {threading.get_ident()} and len(counted) >= 3


@pytest.mark.usefixtures("impatient")
async def test_a_write_that_fails_by_itself_is_not_tried_again() -> None:
    counted: list[int] = []
    writer, written = Writer(lambda: counted.append(1)), []
    with capture_logs() as lines:
        writer.write(lambda: written.append(1 // 0))
        writer.write(lambda: written.append(1))
        await writer.close()
        await asyncio.sleep(0)
    assert (written, counted) == ([1], [1])
    assert lines[0]["error"] == "ZeroDivisionError"


@pytest.mark.parametrize("disk", [SlowDisk(), FullDisk()])
async def test_what_waits_is_bounded_and_what_has_a_place_is_never_dropped(disk: SlowDisk | FullDisk) -> None:
    counted: list[int] = []
    writer = Writer(lambda: counted.append(1))
    writer.write(lambda: disk.write("state"), place="state")
    for number in range(MAX_ADDITIONS + 10):
        writer.write(lambda number=number: disk.write(number))
    assert len(counted) in (9, 10)
    assert writer.failure == "the disk is too slow: too much waits to be written"
    if isinstance(disk, SlowDisk):
        disk.released.set()
    else:
        disk.is_full = False
    await until(lambda: len(disk.written) >= MAX_ADDITIONS + 1)
    assert "state" in disk.written and disk.written[-MAX_ADDITIONS + 1 :] == list(range(11, MAX_ADDITIONS + 10))


async def test_questions_are_answered_before_all_that_waits() -> None:
    disk, writer = FullDisk(), Writer()
    writer.write(lambda: disk.write(1))
    await until(lambda: disk.tries > 0)
    assert await writer.ask(lambda: 7, 30) == 7
    with pytest.raises(FileNotFoundError):
        await writer.ask(lambda: Path("/nowhere").read_bytes(), 30)
    slow = SlowDisk()
    with pytest.raises(TimeoutError):
        await writer.ask(lambda: slow.write(1), 0.05)
    slow.released.set()


async def test_a_disk_that_hangs_is_told_and_does_not_keep_the_daemon_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(writer_module, "HANG_SECONDS", 0.05)
    counted: list[int] = []
    disk, writer = SlowDisk(), Writer(lambda: counted.append(1))
    writer.write(lambda: disk.write(1))
    began = time.monotonic()
    with capture_logs() as lines:
        await asyncio.sleep(0.1)
        writer.watch()
        writer.watch()
        assert writer.failure == "the disk does not answer"
        await writer.close()
    assert time.monotonic() - began < 10
    assert ([line["error"] for line in lines], counted) == (["the disk does not answer"], [1])
    disk.released.set()
    await until(lambda: writer.failure == "")


async def test_a_disk_that_is_full_does_not_keep_the_daemon_from_ending() -> None:
    disk, writer = FullDisk(), Writer()
    writer.write(lambda: disk.write(1))
    await until(lambda: disk.tries == 1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await writer.close()
    assert disk.tries == 2, "once more, although it is not time yet"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file.json"
    replace_file(file, b"one")
    replace_file(file, b"two")
    assert file.read_bytes() == b"two"
    assert list(file.parent.iterdir()) == [file]


async def test_what_is_written_together_is_one_write() -> None:
    done: list[object] = []
    disk, writer = FullDisk(), Writer()
    disk.is_full = False

    def transaction(do: Callable[[], None]) -> None:
        done.append("begin")
        do()
        done.append("commit")

    with writer.together(transaction):
        writer.write(lambda: disk.write("step"), place="detection", done=lambda _: done.append("step is written"))
        writer.write(lambda: disk.write("position"), place="positions")
        assert not writer._waiting
    with writer.together(transaction):
        pass
    await writer.close()
    await until(lambda: "step is written" in done)
    assert done == ["begin", "commit", "step is written"]
