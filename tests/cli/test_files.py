"""Files that commands write: whole, or as they were."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from robmon.cli.files import write_whole
from tests.history.example import example

MOST_BYTES = 1000


@contextmanager
def little_room() -> Iterator[None]:
    """No file may be longer: of a longer one the beginning is written, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_file_for_which_there_is_no_room_is_as_it_was(tmp_path: Path, is_there: bool) -> None:
    file = tmp_path / "report.html"
    if is_there:
        file.write_text("before")
    with little_room(), pytest.raises(OSError, match="File too large"):
        write_whole(file, "x" * (2 * MOST_BYTES))
    assert [each.read_text() for each in tmp_path.iterdir()] == (["before"] if is_there else [])


def test_a_report_for_which_there_is_no_room(tmp_path: Path) -> None:
    data_dir, output = tmp_path / "data", tmp_path / "out" / "report.html"
    data_dir.mkdir()
    output.parent.mkdir()
    example(data_dir, name="digits")
    output.write_text("before")
    command = [sys.executable, "-m", "robmon", "report", "--data-dir", str(data_dir), "-o", str(output)]
    limit = (MOST_BYTES, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    done = subprocess.run(
        [sys.executable, "-c", f"import os, resource; resource.setrlimit(resource.RLIMIT_FSIZE, {limit}); "
         f"os.execv({sys.executable!r}, {command!r})"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "robmon: what is found cannot be written: File too large\n")
    assert [each.read_text() for each in output.parent.iterdir()] == ["before"]


@pytest.mark.parametrize(("is_secret", "mode"), [(False, 0o640), (True, 0o600)])
def test_a_file_keeps_its_mode_and_a_link_remains_one(tmp_path: Path, is_secret: bool, mode: int) -> None:
    file, link = tmp_path / "a", tmp_path / "b"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file.name)
    write_whole(link, b"after", is_secret=is_secret)
    assert link.is_symlink() and file.read_text() == "after"
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_new_file_is_as_the_system_would_make_it(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "new", "ä")
    assert (tmp_path / "new").read_text(encoding="utf-8") == "ä"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "through")
    reader.join()
    assert read == ["through"] and stat.S_ISFIFO(pipe.stat().st_mode)
