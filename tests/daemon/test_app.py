"""The end of the daemon, whatever its jobs are just beginning."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from robmon.daemon.app import Daemon
from robmon.settings import load
from tests.patience import PATIENCE_SECONDS

STOPPING = """
import asyncio, subprocess, sys
import psutil, uvloop
from robmon.daemon.app import Daemon
from robmon.processes.strays import strays
from robmon.settings import load

folder, steps, meanwhile = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
given = {"model.uri": "models:/m@served", "data_dir": folder, "inputs.files": folder}

async def stop_after(step):
    daemon = Daemon(load(given | {"mlflow.tracking_uri": "sqlite:////nowhere/m.db"}).settings)
    async with daemon._scheduled():
        for _ in range(step):
            await asyncio.sleep(0)
        if meanwhile:
            subprocess.run(meanwhile, check=True)
    left = [(each.cmdline(), each.status()) for each in psutil.Process().children(recursive=True)]
    tasks = {task for task in asyncio.all_tasks() if not task.cancelling()} - {asyncio.current_task()}
    assert (left, daemon._jobs.running, tasks) == ([], set(), set()), (step, left, daemon._jobs.running, tasks)

async def stop_all():
    strays.adopt()
    for step in range(steps):
        await stop_after(step)

uvloop.run(stop_all())
"""


def stop(folder: Path, steps: int, *meanwhile: str) -> None:
    command = [sys.executable, "-c", STOPPING, str(folder), str(steps), *meanwhile]
    with (folder / "errors").open("w+") as errors:
        done = subprocess.run(command, stdout=errors, stderr=errors, check=False, timeout=PATIENCE_SECONDS)
        errors.seek(0)
        assert done.returncode == 0, errors.read()


def test_no_process_and_no_job_that_begins_while_it_stops_is_left(tmp_path: Path) -> None:
    """It looks which version is served, and for files of inputs, both in processes of their own: at whatever step."""
    stop(tmp_path, 32)


def test_what_any_of_its_processes_left_behind_is_ended(tmp_path: Path) -> None:
    """Also where there is no worker with which it would be ended."""
    stop(tmp_path, 1, "sh", "-c", "sleep 120 & true")


async def test_a_registry_that_takes_long_keeps_nothing_else_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written to it may take minutes; that a state file was damaged is told meanwhile."""
    given = {"model.uri": "models:/m@served", "mlflow.tracking_uri": "http://127.0.0.1:1", "data_dir": tmp_path}
    daemon, begun, told = Daemon(load(given).settings), asyncio.Event(), asyncio.Event()

    async def write() -> bool:
        begun.set()
        return await asyncio.Future()

    monkeypatch.setattr(daemon._memory, "write", write)
    monkeypatch.setattr(daemon._chronicle, "_count_damage", told.set)
    async with asyncio.timeout(PATIENCE_SECONDS), daemon._scheduled():
        await begun.wait()
        daemon._chronicle._asides.append("m.sqlite.damaged-1")
        await told.wait()
