"""Limits of the container, reached: memory, processes, descriptors. What cannot be had costs some assessments."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.test_models import CODE
from tests.campaign.test_ports import held
from tests.campaign.watch import not_run, watched
from tests.e2e.daemon import INTERPRETER, running_daemon
from tests.e2e.registry import Registry
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving

pytestmark = pytest.mark.campaign
GROUPS = Path("/sys/fs/cgroup")
MEMORY_BYTES = 700 * 2**20


@contextlib.contextmanager
def cgroup(fault: str, controller: str) -> Iterator[Path]:
    """A group of processes under limits of its own."""
    parent = GROUPS if (GROUPS / "cgroup.controllers").exists() else GROUPS / controller
    group = parent / f"robmon-campaign-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        not_run(fault, "this machine lets nobody make a cgroup")
        pytest.skip("this machine lets nobody make a cgroup")
    try:
        if not list(group.glob(f"{controller}.*")):
            not_run(fault, f"cgroups have no {controller} here")
            pytest.skip(f"cgroups have no {controller} here")
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        group.rmdir()


def test_memory(local: Registry, tmp_path: Path) -> None:
    """A model that wants more than the container has: the kernel, or robmon, ends the worker, never the daemon."""
    fault = "cgroup of 700 MiB, the model wants 3 GB"
    model = local.model("hostile")
    uri = f"models:/{model.name}/{model.add(code=CODE)}"
    with cgroup(fault, "memory") as group:
        limit = next(group / name for name in ("memory.max", "memory.limit_in_bytes") if (group / name).exists())
        limit.write_text(str(MEMORY_BYTES))
        with running_daemon(tmp_path, uri, local.tracking_uri, model__poll_seconds=60) as daemon:
            (group / "cgroup.procs").write_text(str(daemon.process.pid))
            daemon.send()
            daemon.wait_for_assessments()
            with watched(daemon, fault):
                failed = daemon.count("robmon_assessments_total", outcome="failed")
                daemon.model("wants 3 GB for a moment")
                daemon.wait_for(
                    lambda: daemon.count("robmon_assessments_total", outcome="failed") > failed, "a failure", 120
                )
                daemon.model("behaves")
                daemon.wait_for_assessments()


def test_processes(local: Registry, tmp_path: Path) -> None:
    """No process can be started for a while, not the worker that was killed either."""
    fault = "cgroup in which no process can be started"
    model = local.model()
    uri = f"models:/{model.name}/{model.add()}"
    with cgroup(fault, "pids") as group, running_daemon(tmp_path, uri, local.tracking_uri) as daemon:
        (group / "cgroup.procs").write_text(str(daemon.process.pid))
        daemon.send()
        daemon.wait_for_assessments()
        with watched(daemon, fault):
            (group / "pids.max").write_text("1")
            daemon.worker().kill()
            time.sleep(5)
            (group / "pids.max").write_text("max")
            daemon.wait_for_assessments(2)


def test_descriptors(tmp_path: Path) -> None:
    """64 for all; whoever reaches one port takes what it can get, and the other is answered."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nulimit -n 64\nexec {INTERPRETER} "$@"\n')
    python.chmod(0o755)
    with serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, python=python, **QUICK) as daemon:
            daemon.send()
            daemon.wait_for_assessments()
            with watched(daemon, "64 descriptors, 300 half heads on inputs_port"):
                with held(daemon.port("inputs_port"), 300):
                    time.sleep(6)
                daemon.send()
                daemon.wait_for_assessments(2)
