"""How long a command takes is said soon after it begins, and a budget that is too short is not overrun to say so."""

from __future__ import annotations

import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from robmon.cli.main import main
from tests.mlflow_client import quiet_mlflow

ROW_SECONDS = 0.02


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes its time for each row, and inputs."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    folder = tmp_path_factory.mktemp("slow")
    signature = ModelSignature(Schema([TensorSpec(np.dtype("float64"), (-1, 2))]), None)
    with quiet_mlflow(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow wants type hints, and would obey them

        class Slow(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                time.sleep(ROW_SECONDS * len(model_input))
                return np.asarray(model_input).sum(axis=1)

        mlflow.pyfunc.save_model(folder / "model", python_model=Slow(), signature=signature, pip_requirements=[])
    np.save(folder / "inputs.npy", np.random.default_rng(0).normal(size=(40, 2)))
    return folder


def assess(slow: Path, *words: Any) -> Result:
    given = ["assess", "--model", slow / "model", "--inputs", slow / "inputs.npy", "--no-picture", *words]
    return CliRunner().invoke(main, list(map(str, [*given, "--json", slow / "result.json"])))


def test_how_long_it_takes_is_said_after_the_first_batch(slow: Path) -> None:
    began = time.monotonic()
    done = assess(slow, "--levels", "0.1", "--trials", "19", "--confidence", "0.9")
    took_seconds = time.monotonic() - began
    assert done.exit_code == 0, done.output
    told = re.search(r"assessing: this takes about ([\d.]+) s\n", done.stderr)
    assert told is not None, done.stderr
    passes = 2 + 19
    # By few batches, each of which may have met a moment in which the machine did something else.
    assert passes * 40 * ROW_SECONDS <= float(told[1]) * 1.05 and float(told[1]) < 10 * took_seconds


def test_a_model_that_is_too_slow_is_found_out_within_the_budget(slow: Path) -> None:
    began = time.monotonic()
    done = assess(slow, "--max-seconds", "2")
    assert done.exit_code == 2
    told = re.search(
        r"needs ([\d.]+) s, the budget is 2 s: raise max_seconds, or lower confidence or levels", done.stderr
    )
    assert told is not None, done.stderr
    smallest_seconds = 32 * (2 + 19 * 4) * ROW_SECONDS / 0.8
    assert 0.95 * smallest_seconds <= float(told[1]) < 20 * smallest_seconds
    assert time.monotonic() - began < smallest_seconds
