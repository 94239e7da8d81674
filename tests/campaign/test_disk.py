"""Disks that are full or slow hold up nothing; what could not be written is counted, and written when there is room."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.campaign.watch import not_run, watched
from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.registry import Registry
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import lines, received, summed
from tests.endpoint import V2Model, serving
from tests.servers import wait_until

SLOW_FSYNC = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>
int fsync(int descriptor) { usleep(3000000); return syscall(SYS_fsync, descriptor); }
int fdatasync(int descriptor) { usleep(3000000); return syscall(SYS_fdatasync, descriptor); }
"""


@contextlib.contextmanager
def small_disk(folder: Path, fault: str, options: str = "size=2m") -> Iterator[Path]:
    """A file system of its own, of 2 MiB where nothing else is asked for; `fault` is what is to be tried on it."""
    folder.mkdir(parents=True)
    if os.geteuid() != 0:
        not_run(fault, "mounting needs root")
        pytest.skip("mounting needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        not_run(fault, "this machine lets nobody mount")
        pytest.skip("this machine lets nobody mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no room, in a file called `fill`."""
    with (disk / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.campaign
def test_a_full_disk(tmp_path: Path) -> None:
    """Assessments and positions go on; when there is room again, what is written is whole."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "a.jsonl").write_text(lines(ROWS[:60]))
    settings = QUICK | {"inputs__files": str(inputs), "inputs__files_poll_seconds": 0.2}
    model = V2Model(summed, "kserve", [])
    fault = "data_dir full, then room"
    with small_disk(tmp_path / "daemon" / "data", fault) as disk, serving(model) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **settings) as daemon:
            daemon.wait_for_assessments()
            with watched(daemon, fault):
                fill(disk)
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
@pytest.mark.red
def test_numbers_after_a_full_disk(tmp_path: Path) -> None:
    """Killed while the disk was full, with a line torn: numbers and seeds go on in the next life."""
    fault = "data_dir full, kill -9, then room"
    with small_disk(tmp_path / "daemon" / "data", fault) as disk, serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        told = []
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **QUICK) as daemon, watched(daemon, fault):
            daemon.send()
            daemon.wait_for_assessments(3)
            fill(disk)
            daemon.wait_for_assessments(30)  # a page of the last file has room for some of them
            told += good(daemon)
            daemon.kill()
        (disk / "fill").unlink()
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **QUICK) as daemon:
            daemon.send()
            daemon.wait_for_assessments(3)
            told += good(daemon)
    for key in ("number", "seed"):
        assert len({line[key] for line in told}) == len(told), f"a {key} came twice"


def good(daemon: Daemon) -> list[dict[str, Any]]:
    """What it told of its good assessments."""
    return [line for line in daemon.log("assessment") if line["outcome"] == "ok"]


@pytest.mark.campaign
@pytest.mark.red
def test_a_baseline_that_could_not_be_written(tmp_path: Path) -> None:
    """It is learnt while the disk is full, and written when there is room, though it does not change any more."""
    fault = "data_dir full while the baseline is learnt"
    settings = QUICK | {"baseline__min_rows": 120}
    with small_disk(tmp_path / "daemon" / "data", fault) as disk, serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **settings) as daemon:
            daemon.send(ROWS[:25])
            daemon.wait_for_assessments()
            with watched(daemon, fault):
                fill(disk)
                for start in range(25, 185, 20):
                    daemon.send(ROWS[start : start + 20])
                    daemon.wait_for_assessments(2)
                assert daemon.value("robmon_model_info", baseline="learnt") == 1
                (disk / "fill").unlink()
                daemon.wait_for_assessments(5)
            daemon.terminate()
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **settings) as daemon:
            daemon.send(ROWS[:25])
            daemon.wait_for_assessments()
            assert daemon.value("robmon_model_info", baseline="learnt") == 1, "it is remembered"


@pytest.mark.campaign
def test_no_inode_left(tmp_path: Path) -> None:
    fault = "data_dir without inodes"
    disk_options = "size=8m,nr_inodes=64"
    model = V2Model(summed, "kserve", [])
    with small_disk(tmp_path / "daemon" / "data", fault, disk_options) as disk, serving(model) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **QUICK) as daemon:
            daemon.send()
            daemon.wait_for_assessments()
            with watched(daemon, fault):
                with contextlib.suppress(OSError):
                    for number in range(100):
                        (disk / f"fill-{number}").touch()
                daemon.send(ROWS[60:])
                daemon.wait_for_assessments(5)
                for file in disk.glob("fill-*"):
                    file.unlink()
                daemon.wait_for_assessments(2)
                failures = daemon.count("robmon_history_write_failures_total")
                daemon.wait_for_assessments(3)
            assert daemon.count("robmon_history_write_failures_total") == failures


@pytest.mark.campaign
def test_a_disk_that_becomes_read_only(served: Registry, tmp_path: Path) -> None:
    """As a file system does after an error; the alias moves meanwhile."""
    fault = "data_dir read-only, the alias moved, then writable"
    model = served.model()
    versions = [model.add(), model.add(1.01)]
    model.serve(versions[0])
    with (
        small_disk(tmp_path / "daemon" / "data", fault, "size=64m") as disk,
        running_daemon(tmp_path / "daemon", model.uri, served.tracking_uri) as daemon,
    ):
        daemon.send()
        daemon.wait_for_assessments()
        with watched(daemon, fault):
            # Whoever has a file open for writing keeps the file system from being remounted.
            wait_until(lambda: remounted(disk, "ro"), 30, "a read-only file system")
            model.serve(versions[1])
            (told, *_) = daemon.told("served version unknown")
            daemon.wait_for_assessments(2)
            assert daemon.assessed_version == versions[0]
            assert "Read-only" in told["error"]
            assert remounted(disk, "rw")
            daemon.wait_for(lambda: daemon.assessed_version == versions[1], "the other version")
            daemon.wait_for_assessments(2)


def remounted(disk: Path, how: str) -> bool:
    command = ["mount", "-o", f"remount,{how}", str(disk)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.campaign
@pytest.mark.red
@pytest.mark.parametrize("place", ["data", "tmp"])
def test_no_room_for_a_version(place: str, served: Registry, tmp_path: Path) -> None:
    """It is told as that, not as a registry that is silent; when there is room it is fetched, if it was not before."""
    fault = f"{place} full while a version is fetched"
    model = served.model()
    versions = [model.add(), model.add(1.01)]
    model.serve(versions[0])
    with (
        small_disk(tmp_path / "daemon" / place, fault, "size=4m") as disk,
        running_daemon(tmp_path / "daemon", model.uri, served.tracking_uri) as daemon,
    ):
        daemon.send()
        daemon.wait_for_assessments()
        with watched(daemon, fault):
            fill(disk)
            model.serve(versions[1])
            daemon.wait_for(
                lambda: daemon.log("served version unknown") or daemon.assessed_version == versions[1],
                "a word of it, or the other version",
            )
            daemon.wait_for_assessments(2)
            words = [line["error"] for line in daemon.log("served version unknown")]
            assert words or place == "tmp", "what needs room there"
            assert all("No space left on device" in word for word in words)
            (disk / "fill").unlink()
            daemon.wait_for(lambda: daemon.assessed_version == versions[1], "the other version")
            daemon.wait_for_assessments(2)


@pytest.mark.campaign
@pytest.mark.red
def test_the_reader_is_killed_while_it_reads(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As by the kernel, which chooses it first: that says nothing about the file; no line is lost or read twice."""
    inputs, random, kills, files = tmp_path_factory.mktemp("inputs"), Random(3), 0, 8
    text = lines(random.choices(ROWS, k=1000)) * 60
    for number in range(files):
        (inputs / f"{number}.jsonl").write_text(text)
    settings = QUICK | {"inputs__files": str(inputs), "inputs__files_poll_seconds": 0.2}
    with serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            daemon.worker()
            daemon.wait_for(lambda: daemon.children("robmon.reader"), "the reader")
            with watched(daemon, "kill -9 of the reader while it reads") as finding:
                while (count := received(daemon)) < files * 60_000 and kills < 40:
                    if count:
                        for reader in daemon.children("robmon.reader"):
                            reader.kill()
                            kills += 1
                    daemon.wait_for(lambda count=count: received(daemon) > count, "some more lines")
                finding.times = kills
                daemon.wait_for(lambda: received(daemon) >= files * 60_000, "all lines")
                daemon.wait_for_assessments(2)
            assert received(daemon) == files * 60_000
            assert daemon.count("robmon_inputs_rejected_total", source="file") == 0
            daemon.terminate()
        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            daemon.told("assessment")
            assert received(daemon) == 0, "no line is read twice"


@pytest.mark.campaign
@pytest.mark.red
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
