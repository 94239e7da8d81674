"""The variant `cpu`: MLflow and torch, 1 GiB; the model comes from a registry that robmon may only read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import mlflow.pytorch
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from tests.e2e.daemon import PASSWORD, ROWS
from tests.e2e.test_memory import pending
from tests.image import checks
from tests.image.container import HEALTHY_SECONDS, Container, running
from tests.image.pod import standalone_pod
from tests.image.store import Image, Store
from tests.mlflow_client import quiet_mlflow, tracking
from tests.servers import mlflow_server

MEMORY_BYTES = 2**30
ADMIN = ("admin", "rule-all-of-it-3")
READER = ("robmon", PASSWORD)
SIGNATURE = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2))]))


@pytest.fixture(scope="module")
def image(build: Callable[[str], Image]) -> Image:
    return build("cpu")


@pytest.fixture(scope="module")
def root(store: Store, image: Image) -> Iterator[Path]:
    with store.mounted(image) as root:
        yield root


@pytest.fixture
def registry(tmp_path: Path, mlflow_template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an MLflow server where READER may read; whoever writes here is ADMIN."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN[1])
    with mlflow_server(tmp_path / "registry", mlflow_template, admin_password=ADMIN[1]) as url:
        user = {"username": READER[0], "password": READER[1]}
        answer = httpx.post(f"{url}/api/2.0/mlflow/users/create", json=user, auth=ADMIN, trust_env=False)
        assert answer.status_code == 200, answer.text
        yield url


def register(registry: str, weight: float) -> str:
    """Serve a next version of `sums`: a torch module whose noise MSE grows with the square of its weight."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Linear(16, 1))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(weight if parameter.shape == (1, 16) else 0.5)
    with quiet_mlflow(), tracking(registry), mlflow.start_run():
        info = mlflow.pytorch.log_model(
            module,
            name="model",
            signature=SIGNATURE,
            pip_requirements=["torch"],
            serialization_format="pickle",
            registered_model_name="sums",
        )
        version = str(info.registered_model_version)
        MlflowClient(registry, registry).set_registered_model_alias("sums", "champion", version)
    return version


def send(container: Container) -> None:
    for row in ROWS[:60]:
        assert container.post(json.dumps({"inputs": [row[:2]]}).encode()) == 202


def test_a_torch_model_from_a_registry_that_may_be_read_only(
    image: Image, root: Path, revision: str, registry: str, tmp_path: Path, figures: list[str]
) -> None:
    checks.hold_to_its_labels(image, "cpu", revision)
    checks.hold_to_no_rights(root)
    before = checks.contents(root)
    first = register(registry, 1.0)
    pod = standalone_pod(
        "cpu",
        {
            "model": {"uri": "models:/sums@champion", "follow": "alias", "poll_seconds": 5},
            "mlflow": {"tracking_uri": registry},
        },
        tmp_path / "chart",
        {"registry": {"MLFLOW_TRACKING_USERNAME": READER[0], "MLFLOW_TRACKING_PASSWORD": READER[1]}},
    )
    with running(image, root, pod, tmp_path / "pod") as container:
        assert container.healthy_seconds < HEALTHY_SECONDS
        container.wait_until_ready()
        send(container)
        container.wait_for_assessments(2)
        assert container.value("robmon_model_info", flavor="torch", model_version=first) == 1
        # The folder was empty and the registry writes nothing down: a person has to say which version is good.
        container.wait_for(lambda: pending(container) == {"no_reference", "memory_not_kept"}, "what is not kept")
        assert f"sums/{first} (scope " in container.run_printed_command()
        container.wait_for(lambda: pending(container) == {"memory_not_kept"}, "that a person has accepted it")

        second = register(registry, 2.0)
        container.wait_for(lambda: container.regression_stands, "the regression")
        assert container.assessed_version == second
        assert f"accepted: sums/{second} (scope release.models.champion, in /data)" in container.run_printed_command()
        container.wait_for(lambda: not container.regression_stands, "the end of the regression")
        container.wait_for_assessments()
        checks.hold_confined(container, MEMORY_BYTES)
        checks.hold_nothing_written(container, root, before)
        measured = checks.measured("cpu", root, container)
        container.terminate()
        figures.append(f"{measured}, SIGTERM to the end {container.end_seconds:.1f} s")
    assert checks.contents(root) == before
    assert MlflowClient(registry, registry).get_registered_model("sums").tags == {}
