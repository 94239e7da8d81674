"""What is written on a thread of its own: in order, the newest only, and without holding up the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from structlog.testing import capture_logs

from robmon import writer as writer_module
from robmon.history.folder import replace_file
from robmon.writer import MAX_WAITING, Writer


class SlowDisk:
    """Writes that wait until they are released, and what they wrote."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.written: list[object] = []

    def write(self, what: object) -> None:
        assert self.released.wait(20)
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


async def test_failures_are_told_on_the_loop_and_the_next_write_is_done() -> None:
    told: list[tuple[str | None, int]] = []
    writer = Writer(lambda error: told.append((error.strerror, threading.get_ident())))
    written: list[int] = []

    def full() -> None:
        raise OSError(28, "No space left on device")

    writer.write(full)
    writer.write(lambda: written.append(1 // 0))
    writer.write(lambda: written.append(1))
    await writer.close()
    await asyncio.sleep(0)
    here = threading.get_ident()
    assert told == [("No space left on device", here), ("ZeroDivisionError", here)]
    assert written == [1]


async def test_what_waits_is_bounded() -> None:
    told: list[str | None] = []
    disk, writer = SlowDisk(), Writer(lambda error: told.append(error.strerror))
    for number in range(MAX_WAITING + 10):
        writer.write(lambda number=number: disk.write(number))
        writer.write(lambda number=number: disk.write(-number), place="state")
    assert set(told) == {"the disk is too slow: too much waits to be written"}
    disk.released.set()
    await writer.close()
    assert len(disk.written) <= MAX_WAITING + 1


async def test_a_disk_that_hangs_does_not_keep_the_daemon_from_ending(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(writer_module.Writer.wait, "__defaults__", (0.05,))
    disk, writer = SlowDisk(), Writer()
    writer.write(lambda: disk.write(1))
    began = time.monotonic()
    with capture_logs() as lines:
        await writer.close()
    assert time.monotonic() - began < 10
    assert [line["error"] for line in lines] == ["the disk does not answer"]
    disk.released.set()
    assert writer.wait(20)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "file.json"
    replace_file(file, b"one")
    replace_file(file, b"two")
    assert file.read_bytes() == b"two"
    assert list(file.parent.iterdir()) == [file]
