"""The worker in another environment than the daemon's, such as the model server's: `worker.python`."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from robmon.processes.command import Command, worker_environment
from robmon.processes.messages.model import Load, LoadedModel, ModelVersion
from robmon.processes.supervisor import Child
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def foreign(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """An interpreter with all libraries and without robmon: it reads no .pth files, and so no editable install."""
    python = tmp_path / "python"
    python.symlink_to(Path(sys.executable).resolve())
    environment = worker_environment(threads=1) | {"PYTHONPATH": sysconfig.get_path("purelib")}
    return python, environment


def test_a_foreign_interpreter_has_no_robmon(foreign: tuple[Path, dict[str, str]]) -> None:
    python, environment = foreign
    command = [str(python), "-c", "import numpy, robmon"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "No module named 'robmon'" in done.stderr


async def test_a_foreign_interpreter_is_lent_robmon(foreign: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    python, environment = foreign
    rows = np.random.default_rng(0).normal(size=(20, 2))
    folder = tmp_path / "model"
    mlflow.sklearn.save_model(
        LinearRegression().fit(rows, rows.sum(axis=1)),
        folder,
        pip_requirements=["scikit-learn", "torch==1.0.0"],
        serialization_format="cloudpickle",
    )
    child = await Child.start(Command(str(python), "robmon.worker", environment))
    try:
        model = ModelVersion(name="m", version="1", path=str(folder), flavors=["sklearn"])
        answer, _ = await child.ask(Load(model=model, threads=1), timeout_seconds=PATIENCE_SECONDS)
    finally:
        await child.stop()
    assert isinstance(answer, LoadedModel), answer
    assert answer.flavor == "pyfunc"
    [mismatch] = answer.mismatches
    assert "torch" in mismatch and "==1.0.0" in mismatch


def test_a_worker_sees_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in worker_environment(threads=2).values()
    assert worker_environment(threads=2)["OMP_NUM_THREADS"] == "2"
