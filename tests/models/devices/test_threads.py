"""A process held to some threads computes with no more, whatever the model asks of its libraries."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from robmon.models.devices.threads import VARIABLES, cgroup_processors, default_threads
from robmon.processes.command import Command, worker_environment
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.model import Load, LoadedModel, ModelVersion
from robmon.processes.supervisor import Child
from tests.patience import PATIENCE_SECONDS
from tests.worker.test_evaluation import NAMES, bodies, question, saved

ESTIMATORS = ("forest", "trees", "nested")


@pytest.fixture(autouse=True)
def as_users_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what all other tests are told."""
    monkeypatch.delenv("OMP_NUM_THREADS")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that ask joblib for all processors, for 4 whatever there are, and for 4 within a Parallel of their own."""
    from joblib import Parallel, delayed
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    class Nested(RandomForestClassifier):  # type: ignore[misc]
        def predict(self, x: Any) -> Any:
            one = super().predict
            return Parallel(n_jobs=4, backend="threading")(delayed(one)(x) for _ in range(8))[0]

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=NAMES)
    folder = tmp_path_factory.mktemp("parallel")
    estimators = {
        "forest": RandomForestClassifier(60, n_jobs=-1),
        "trees": ExtraTreesClassifier(60, n_jobs=4),
        "nested": Nested(10, n_jobs=4),
    }
    for name, estimator in estimators.items():
        saved(folder / name, estimator.fit(rows, rows["a"] > 0))
    return {name: folder / name for name in estimators}


def most_threads(process: psutil.Process, over: threading.Event) -> int:
    most = 0
    while not over.wait(0.001):
        most = max(most, process.num_threads())
    return most


async def threads_of_a_worker(folder: Path, threads: int) -> tuple[int, int]:
    """How many a worker has when the model is loaded, and how many at most while it assesses."""
    child = await Child.start(Command(sys.executable, "robmon.worker", worker_environment(threads)))
    try:
        model = ModelVersion(name="m", version="1", path=str(folder))
        answer, _ = await child.ask(Load(model=model, threads=threads), timeout_seconds=PATIENCE_SECONDS)
        assert isinstance(answer, LoadedModel)
        process, over = psutil.Process(child.pid), threading.Event()
        before = process.num_threads()
        counting = asyncio.create_task(asyncio.to_thread(most_threads, process, over))
        asked = question(64, task="classification", trials=19)
        result, _ = await child.ask(asked, bodies(64), timeout_seconds=PATIENCE_SECONDS)
        over.set()
        assert isinstance(result, Assessed)
        return before, await counting
    finally:
        await child.stop()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_worker_of_one_thread_starts_no_other(folders: dict[str, Path], name: str) -> None:
    before, most = asyncio.run(threads_of_a_worker(folders[name], 1))
    assert most <= before


def test_more_threads_are_used_where_they_are_given(folders: dict[str, Path]) -> None:
    """So that the test above counts what it says."""
    before, most = asyncio.run(threads_of_a_worker(folders["trees"], 2))
    assert most > before + 1


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("inputs") / "inputs.csv"  # Parquet is read by threads that are no model's
    pd.DataFrame(np.random.default_rng(1).normal(size=(64, 3)), columns=NAMES).to_csv(file, index=False)
    yield file


def test_the_command_line_holds_a_model_to_its_threads(folders: dict[str, Path], inputs: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(folders["trees"]), "--inputs", str(inputs), "--task", "classification"]
    outputs = ["--json", str(tmp_path / "a.json"), "--png", str(tmp_path / "a.png")]
    command = [sys.executable, "-m", "robmon", "assess", *arguments, *outputs, "--threads", "1", "--trials", "19"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        process, most = psutil.Process(child.pid), 0
        while child.poll() is None:
            most = max(most, process.num_threads() if process.is_running() else 0)
            time.sleep(0.001)
    assert child.returncode == 0
    assert most <= 3, "its own, the one that tells the progress, and one of Arrow: the model asks for 4 more"


def test_every_library_is_told_and_the_default_is_what_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = worker_environment(3)
    assert {seen[name] for name in VARIABLES} == {"3"}
    assert {"LOKY_MAX_CPU_COUNT", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS"} <= set(VARIABLES)
    assert 1 <= default_threads() <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert default_threads() == 1


HOLD_TORCH = """
import os, torch
from robmon.models.devices.threads import held, hold, hold_loaded
hold(1)
assert (torch.get_num_threads(), torch.get_num_interop_threads(), held()) == (1, 1, 1)
assert os.environ["OMP_THREAD_LIMIT"] == "1"
hold_loaded()
"""


def test_torch_is_held_within_and_between_operations() -> None:
    subprocess.run([sys.executable, "-c", HOLD_TORCH], check=True)


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_cgroups_quota_counts(files: dict[str, str], processors: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup_processors(tmp_path) == processors
