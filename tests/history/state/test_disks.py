"""The state file on disks that are full, read-only, held by others, or bear no write-ahead log."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robmon.history.state import connection
from robmon.history.state.connection import bears_wal
from robmon.history.store import History
from tests.history.state.filled import NOW, entry, filled, versions


def limited(history: History, do: Callable[[History], object], size: int) -> int:
    """What `do` raises where no file may grow beyond so many bytes, as on a full disk."""
    child = os.fork()
    if child == 0:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            do(History(history.data_dir, history.key))
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_damaged_file_waits_for_room_and_is_not_given_up(tmp_path: Path) -> None:
    """To set it aside with nothing in its place would lose verdicts that can be read."""
    history = filled(tmp_path)
    for number in range(100, 160):
        history.past.add({"at": NOW + number, "number": number, "text": "lost" if number == 130 else "x" * 300})
    content = history.state_file.read_bytes()
    page = content.index(b'"text":"lost"') // 4096 * 4096
    history.state_file.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    assert limited(history, lambda each: each.past.assessments(), 5000) in (errno.EIO, errno.ENOSPC)
    assert not list(tmp_path.rglob("*damaged*")) and versions(History(tmp_path, "m")) == ["1", "2"]
    assert len(history.past.assessments()) > 60 and versions(history) == ["1", "2"]
    names = [path.name for path in tmp_path.rglob("m.sqlite.records-damaged-*")]
    assert len({name.removesuffix("-wal").removesuffix("-shm").removesuffix("-journal") for name in names}) == 1


@pytest.mark.parametrize("size", [0, 1000, 5000])
def test_where_there_is_no_room_nothing_is_lost_and_all_can_be_read(tmp_path: Path, size: int) -> None:
    history = filled(tmp_path)
    assert limited(history, lambda each: each.write_scope("s", [entry("3", at=3)]), size) in (errno.EIO, errno.ENOSPC)
    assert limited(history, lambda each: each.past.add({"at": NOW, "number": 99}), size) in (errno.EIO, errno.ENOSPC)
    assert limited(history, lambda each: os._exit(len(each.past.assessments())), size) == 30
    assert limited(history, lambda each: os._exit(len(each.read_scope("s").entries)), size) == 2
    assert versions(history) == ["1", "2"] and history.set_aside() is None
    history.write_scope("s", [entry("3", at=3)])
    assert versions(History(tmp_path, "m")) == ["1", "2", "3"]


def test_a_folder_that_is_read_only() -> None:
    """It is read without writing anything beside it, and what cannot be written is told."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history = filled(folder)
        folder.chmod(0o755)
        history.state_file.chmod(0o444)
        history.state_file.parent.chmod(0o555)
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                mine = History(folder, "m")
                if len(mine.read_scope("s").entries) == 2:
                    mine.write_scope("s", [entry("3", at=3)])
            except OSError as error:
                os._exit(error.errno or 255)
            finally:
                os._exit(254)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        history.state_file.parent.chmod(0o755)
        assert status in (errno.EACCES, errno.EROFS, errno.EIO)
        assert history.set_aside() is None


def journal_mode(history: History) -> str:
    connection = sqlite3.connect(history.state_file)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    return str(mode)


def test_a_volume_that_bears_no_write_ahead_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file moves there, is written, and moves back."""
    if not bears_wal(tmp_path):
        pytest.skip("the tests run on such a volume")
    history = filled(tmp_path)
    assert journal_mode(history) == "wal"
    monkeypatch.setattr(connection, "bears_wal", lambda folder: False)
    there = History(tmp_path, "m")
    there.write_scope("s", [entry("3", at=3)])
    assert journal_mode(there) == "delete" and versions(there) == ["1", "2", "3"]
    assert History(tmp_path, "new").write_scope("s", [entry("1")]).entries == (entry("1"),)
    monkeypatch.undo()
    back = History(tmp_path, "m")
    back.write_scope("s", [entry("4", at=4)])
    assert journal_mode(back) == "wal" and versions(back) == ["1", "2", "3", "4"]


def test_a_lock_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon reads several things before it answers probes: it would be restarted before it had waited for each."""
    monkeypatch.setattr(connection, "BUSY_SECONDS", 2.0)
    monkeypatch.setattr(connection, "BUSY_AGAIN_SECONDS", 0.01)
    history = filled(tmp_path)
    holder = sqlite3.connect(history.state_file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    took = []
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(OSError, match="another process holds the state file"):
            history.reserve_numbers(1)
        took.append(time.monotonic() - began)
    assert took[0] >= 2 and sum(took[1:]) < 2
    holder.execute("ROLLBACK")
    assert history.reserve_numbers(1) == range(101, 102)


def test_a_lock_that_is_not_given_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    history = filled(tmp_path)
    holder = sqlite3.connect(history.state_file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(OSError, match="another process holds the state file"):
        history.past.add({"at": NOW, "number": 1})
    assert versions(history) == ["1", "2"], "it can be read"
    holder.close()
    assert history.set_aside() is None
