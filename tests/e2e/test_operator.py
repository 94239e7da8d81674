"""What a person on call does about a regression that a daemon has found, in order and as the runbook says, although one
step fails: bundle, rollback, candidate."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import mlflow.pytorch
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import infer_signature
from numpy.typing import NDArray

from tests import commands
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.registry import RegisteredModel, Registry
from tests.mlflow_client import quiet_mlflow, tracking

RUNBOOK = Path(__file__).parents[2] / "docs/operate/runbooks/RobmonRobustnessRegression.md"
FIRST_WEIGHTS = {"good": 0.7, "fragile": 1.0}
"""Of the first of eight columns, which all hold the truth; the others share the rest."""


def labelled(rows: int = 600) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Eight sensors of one quantity, and the quantity."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=rows)
    return (truth[:, None] + 0.01 * generator.normal(size=(rows, 8))).astype(np.float32), truth


def add(model: RegisteredModel, first: float, rows: NDArray[np.float32]) -> str:
    """Register the next version: one torch layer that leans on the first column so much."""
    module = torch.nn.Sequential(torch.nn.Linear(8, 1)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[first, *[(1 - first) / 7] * 7]]))
        module[0].bias.zero_()
    with quiet_mlflow(), tracking(model.registry.tracking_uri), mlflow.start_run():
        logged = mlflow.pytorch.log_model(
            module,
            name="model",
            signature=infer_signature(rows[:2], rows[:2, :1]),
            serialization_format="pickle",
            pip_requirements=["torch"],
            registered_model_name=model.name,
        )
    return str(logged.registered_model_version)


def alias_of(model: RegisteredModel) -> str:
    with model.registry.client() as client:
        return str(client.get_model_version_by_alias(model.name, "champion").version)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # MLflow's and torch's, of pickles
def test_bundle_rollback_and_candidate_although_somebody_else_moves_the_alias(tmp_path: Path, served: Registry) -> None:
    rows, truth = labelled()
    columns = [f"sensor {index}" for index in range(8)]
    pd.DataFrame(rows, columns=columns).assign(truth=truth).to_csv(tmp_path / "labelled.csv", index=False)
    model = served.model("sensors")
    good, fragile, third = (add(model, FIRST_WEIGHTS[kind], rows) for kind in ("good", "fragile", "fragile"))
    model.serve(good)
    with running_daemon(tmp_path / "daemon", model.uri, served.tracking_uri, assess__max_seconds=60) as daemon:

        def operator(*words: str) -> subprocess.CompletedProcess[str]:
            own = daemon.environment | {"MLFLOW_TRACKING_URI": served.tracking_uri}
            return commands.run(words, cwd=tmp_path, environment=own)

        for row in rows[:60].tolist():
            assert daemon.post(json.dumps({"inputs": [row]}).encode()) == 202
        daemon.wait_for_assessments()
        model.serve(fragile)
        daemon.wait_for(lambda: daemon.regression_stands, "the regression")

        kept = operator("incident", f"http://127.0.0.1:{daemon.port('http_port')}", "-o", "incident.tar.gz")
        assert f"version {fragile} is worse than version {good}" in kept.stdout, kept.stderr

        model.serve(third)  # somebody else, who hopes for the best
        refused = operator("rollback", f"{model.name}@champion", "--yes")
        said = "has no verdict yet, the regression that stands is that of version"
        assert refused.returncode == 2 and f"{said} {fragile}: wait for it" in refused.stderr, refused.stderr
        assert said in RUNBOOK.read_text(encoding="utf-8") and alias_of(model) == third
        daemon.wait_for(lambda: third in rejected(model), "its verdict, as the runbook says")
        done = operator("rollback", f"{model.name}@champion", "--yes")
        assert done.returncode == 0 and alias_of(model) == good, done.stderr
        daemon.wait_for(lambda: daemon.assessed_version == good and not daemon.regression_stands, "the end of it")

        words = ["--data", "labelled.csv", "--labels", "truth", "--levels", "0.5", "--alpha", "1", "--epochs", "6"]
        words += ["--learning-rate", "0.02", "--tolerance", "0.02", "--no-picture", "--device", "cpu", "--register"]
        made = operator("stabilise", f"models:/{model.name}/{fragile}", *words)
        assert made.returncode == 0, made.stdout + made.stderr
        candidate = str(int(third) + 1)
        assert f"registered: models:/{model.name}/{candidate}. No alias was moved" in made.stdout
        assert alias_of(model) == good
        hold_to_its_verdict(daemon, model, candidate)


def hold_to_its_verdict(daemon: Daemon, model: RegisteredModel, candidate: str) -> None:
    """Once it is served it is compared with the version that the rollback brought back, and passes."""
    model.serve(candidate)
    daemon.wait_for(lambda: candidate in {each["version"] for each in model.memory()}, "its verdict")
    entry = next(each for each in model.memory() if each["version"] == candidate)
    assert entry["accepted"] and entry["by"] == "verdict" and entry["pooled_ratio"] < 1
    assert daemon.assessed_version == candidate and not daemon.regression_stands


def rejected(model: RegisteredModel) -> set[str]:
    return {each["version"] for each in model.memory() if not each["accepted"]}
