"""Disks that are full or slow hold up nothing; what could not be written is counted, and written when there is room."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.watch import not_run, watched
from tests.e2e.daemon import ROWS, running_daemon
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import lines, summed
from tests.endpoint import V2Model, serving

SLOW_FSYNC = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
int fsync(int descriptor) { usleep(3000000); return syscall(SYS_fsync, descriptor); }
"""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder.mkdir(parents=True)
    if os.geteuid() != 0:
        not_run("data_dir full", "mounting needs root")
        pytest.skip("mounting needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        not_run("data_dir full", "this machine lets nobody mount")
        pytest.skip("this machine lets nobody mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.campaign
def test_a_full_disk(tmp_path: Path) -> None:
    """Assessments and positions go on; when there is room again, what is written is whole."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "a.jsonl").write_text(lines(ROWS[:60]))
    settings = QUICK | {"inputs__files": str(inputs), "inputs__files_poll_seconds": 0.2}
    model = V2Model(summed, "kserve", [])
    with small_disk(tmp_path / "daemon" / "data") as disk, serving(model) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **settings) as daemon:
            daemon.wait_for_assessments()
            with watched(daemon, "data_dir full, then room"):
                with (disk / "fill").open("wb", buffering=0) as fill, contextlib.suppress(OSError):
                    while True:
                        fill.write(bytes(4096))
                with (inputs / "a.jsonl").open("a") as more:
                    more.write(lines(ROWS[60:120]))
                daemon.wait_for_assessments(10)
                assert daemon.count("robmon_history_write_failures_total") > 0
                (disk / "fill").unlink()
                with (inputs / "a.jsonl").open("a") as more:
                    more.write(lines(ROWS[120:180]))
                failures = daemon.count("robmon_history_write_failures_total")
                daemon.wait_for_assessments(10)
                assert daemon.count("robmon_history_write_failures_total") <= failures + 2
            assert daemon.count("robmon_inputs_received_total", source="file") == 180
            daemon.terminate()
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **settings) as daemon:
            daemon.wait_for(lambda: daemon.value("robmon_sample_rows") is not None, "metrics")
            time.sleep(2)
            assert daemon.count("robmon_inputs_received_total", source="file") == 0, "no line is read twice"


@pytest.mark.campaign
def test_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fsync takes three seconds, as on a network volume that is busy."""
    if shutil.which("cc") is None:
        not_run("fsync of 3 s", "there is no C compiler")
        pytest.skip("there is no C compiler")
    (tmp_path / "slow.c").write_text(SLOW_FSYNC)
    library = tmp_path / "slow.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "slow.c")], check=True)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "a.jsonl").write_text(lines(ROWS[:60]))
    settings = QUICK | {"inputs__files": str(inputs), "inputs__files_poll_seconds": 0.2}
    with serving(V2Model(summed, "kserve", [])) as server:
        monkeypatch.setenv("LD_PRELOAD", str(library))
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **settings) as daemon:
            daemon.wait_for_assessments()
            with watched(daemon, "every fsync takes 3 s") as finding:
                time.sleep(15)
            assert finding.slowest["/healthz"] < 2.5
            assert finding.refused == 0
