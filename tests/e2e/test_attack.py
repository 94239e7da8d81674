"""A daemon that attacks the model it watches: real models, real requests, a real worker that dies of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robmon
from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.registry import Registry
from tests.e2e.test_endpoint import AS_FAST, NO_REGISTRY
from tests.endpoint import Arrays, Reply, Request, V2Model, serving
from tests.mlflow_client import quiet_mlflow, tracking
from tests.models.conftest import tensor

RADII = (0.2, 0.6)
ATTACKED: dict[str, Any] = {"attack__enabled": True, "attack__radii": "0.2 0.6", "assess__task": "classification"}


def shares(daemon: Daemon, attack: str = "worst") -> list[float | None]:
    labels = {"attack": attack, "norm": "inf"}
    return [daemon.value("robmon_attack_agreement_ratio", **labels, radius=f"{radius:g}") for radius in RADII]


def classifier() -> torch.nn.Module:
    """Two classes, which rows leave exactly where the dual norm says."""
    module = torch.nn.Linear(3, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, -2.0, 0.5], [-1.0, 2.0, -0.5]]))
        module.bias.zero_()
    return module.eval()


def test_a_torch_module_by_mirrored_bytes_has_the_numbers_of_the_library(local: Registry, tmp_path: Path) -> None:
    """As MLflow saves it by default, an exported program: along its gradient."""
    import mlflow.pytorch

    inputs = np.random.default_rng(5).normal(size=(40, 3)).astype(np.float32)
    model, module = local.model("attacked"), classifier()
    with quiet_mlflow(), tracking(local.tracking_uri), mlflow.start_run():
        mlflow.pytorch.log_model(
            module, name="model", signature=tensor("float32", (-1, 3)), input_example=inputs[:2],
            pip_requirements=["torch"], registered_model_name=model.name,
        )  # fmt: skip
    settings = ATTACKED | {"inputs__sample_rows": 40, "assess__min_rows": 40, "assess__output": "logit"}
    with running_daemon(tmp_path, f"models:/{model.name}/1", local.tracking_uri, **settings) as daemon:
        for row in inputs:
            assert daemon.post(json.dumps({"inputs": [row.tolist()]}).encode()) == 202
        daemon.wait_for(lambda: None not in shares(daemon), "an attack")
        assert daemon.value("robmon_attack_rows") == 40 and daemon.value("robmon_attack_gradient_ok") == 1
        told = {attack: shares(daemon, attack) for attack in ("worst", "pgd", "square", "random")}
        page = daemon.get("/").text
        assert "Under attack" in page and "The gradient can be believed." in page
        assert daemon.count("robmon_attacks_total", outcome="ok") == 1
        assert (daemon.value("robmon_last_attack_timestamp_seconds") or 0) > 1e9
    scale = inputs.std(axis=0, dtype=np.float64)
    own = robmon.attack(module, inputs, scale=scale, radii=RADII, output="logit", seed=1)
    margins = np.abs(2 * inputs.astype(np.float64) @ np.array([1.0, -2.0, 0.5]))
    exact = [float(np.mean(margins > radius * 2 * scale @ np.array([1.0, 2.0, 0.5]))) for radius in RADII]
    assert told["worst"] == told["pgd"] == own.agreement.tolist() == exact
    assert 0.1 < exact[1] < exact[0] < 0.95


@pytest.mark.long
def test_whatever_becomes_of_the_worker_costs_that_attack_only(tmp_path: Path) -> None:
    """At an endpoint that may be attacked, because it takes no time to load: by its answers alone, within the budget. A
    worker that is killed in an attack is counted, and no row is anywhere at the end."""
    calls: list[str | None] = []

    def predict(arrays: Arrays) -> Arrays:
        margins = (arrays["x"].sum(axis=1) - 110_000) / 26_000
        return {"y": np.stack([-margins, margins], axis=1)}

    model = V2Model(predict, "triton", [("x", "FP64", [-1, 2])], "1")

    def noting(request: Request) -> Reply:
        calls.append(request.headers.get("x-robmon-probe"))
        return model(request)

    settings = ATTACKED | AS_FAST | {"attack__interval_seconds": 1, "attack__max_seconds": 3}
    settings |= {"attack__allow_remote": True, "inputs__sample_rows": 40, "assess__min_rows": 40}
    settings |= {"assess__max_seconds": 60, "model__batch_rows": 100}  # a busy machine is slow
    with (
        serving(noting) as server,
        running_daemon(tmp_path, f"{server.url}/v2/models/digits/infer", NO_REGISTRY, **settings) as daemon,
    ):
        for row in ROWS[:40]:
            assert daemon.post(json.dumps({"inputs": [row[:2]]}).encode()) == 202
        daemon.wait_for(lambda: daemon.count("robmon_attacks_total", outcome="ok") >= 1, "an attack")
        found, numbers = shares(daemon), np.array([row[:2] for row in ROWS[:40]])
        margins, scale = np.abs(numbers.sum(axis=1) - 110_000), numbers.std(axis=0).sum()
        for radius, share in zip(RADII, found, strict=True):
            assert share is not None and np.mean(margins > radius * scale) <= share + 1e-9 < 1, "at most, never less"
        assert daemon.value("robmon_attack_gradient_ok") is None and set(calls) == {"1"}
        begun = len(daemon.log("attack begins"))
        daemon.wait_for(lambda: len(daemon.log("attack begins")) > begun, "another attack")
        daemon.worker().kill()
        daemon.wait_for(lambda: daemon.count("robmon_attacks_total", outcome="failed", reason="crash") >= 1, "its end")
        assert daemon.count("robmon_worker_restarts_total", reason="crash") == 1
        daemon.wait_for_assessments()
        attacks = daemon.count("robmon_attacks_total", outcome="ok")
        daemon.wait_for(lambda: daemon.count("robmon_attacks_total", outcome="ok") > attacks, "an attack again")
        assert daemon.assessments("failed", "crash") == 0 == daemon.assessments("skipped", "worker_backoff")
        told = [line for line in daemon.log("attack") if line["outcome"] == "ok"]
        assert len(told) >= 2 and all(line["seconds"] < 3 + 30 for line in told)
        assert "asked for its answers alone" in daemon.get("/").text
