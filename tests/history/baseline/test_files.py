"""Baselines as files of the data folder, which several daemons may share."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from robmon.history.baseline.checksum import with_checksum
from robmon.history.baseline.files import BaselineFiles
from robmon.history.folder import DamagedStateError


def test_each_version_has_its_own_inside_the_data_folder(tmp_path: Path) -> None:
    files = BaselineFiles(tmp_path, "team/digits model")
    files.write("2", {"format": 1})
    again = BaselineFiles(tmp_path, "team/digits model")
    assert again.read("2") == {"format": 1} and again.read("3") is None
    assert BaselineFiles(tmp_path, "other").read("2") is None
    assert tmp_path in again.path("../../x").parents and ".." not in again.path("../../x").parts


def _write_baselines(folder: Path, writer: int) -> None:
    for number in range(15):
        BaselineFiles(folder, "m").write("1", with_checksum({"of": writer, "numbers": [number] * (20_000 // writer)}))


def test_processes_that_write_a_baseline_at_the_same_time_spoil_none(tmp_path: Path) -> None:
    """As daemons do that share a data folder: none fails, and what can be read is always one's, whole."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_baselines, args=(tmp_path, 1 + number)) for number in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        BaselineFiles(tmp_path, "m").read("1")
    assert [writer.exitcode for writer in writers] == [0] * 3
    assert BaselineFiles(tmp_path, "m").read("1") is not None
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["1.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"format":2,"rows":1}', b'{"rows":1}'])
def test_a_damaged_baseline_is_set_aside_and_told(content: bytes, tmp_path: Path) -> None:
    files = BaselineFiles(tmp_path, "m")
    file = files.path("1")
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(DamagedStateError, match=r"1\.json\.damaged-"):
        files.read("1")
    assert files.read("1") is None
    (aside,) = file.parent.glob("1.json.damaged-*")
    assert aside.read_bytes() == content


def test_a_baseline_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    BaselineFiles(tmp_path, "m").path("1").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        BaselineFiles(tmp_path, "m").read("1")
