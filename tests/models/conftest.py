"""Two real registries, and model folders as MLflow writes them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from tests.mlflow_client import quiet_mlflow, tracking
from tests.servers import local_registry

_numbers = itertools.count(os.getpid() * 1000)  # several processes share a registry


def columns(*pairs: tuple[str, str], optional: Sequence[str] = ()) -> ModelSignature:
    """A signature of columns, each (name, type)."""
    return ModelSignature(Schema([ColSpec(kind, name, required=name not in optional) for name, kind in pairs]))


def tensor(dtype: str, shape: tuple[int, ...]) -> ModelSignature:
    """A signature of one unnamed tensor."""
    return ModelSignature(Schema([TensorSpec(np.dtype(dtype), shape)]))


def named_tensors(*triples: tuple[str, str, tuple[int, ...]]) -> ModelSignature:
    """A signature of named tensors, each (name, dtype, shape)."""
    return ModelSignature(Schema([TensorSpec(np.dtype(dtype), shape, name) for name, dtype, shape in triples]))


def pyfunc(predict: Callable[[Any], Any]) -> Any:
    """A model of MLflow's that calls `predict`."""

    class Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return predict(model_input)

    return Model()


def save_pyfunc(
    folder: Path, predict: Callable[[Any], Any], signature: ModelSignature | None, requirements: Sequence[str] = ()
) -> Path:
    """Save a model that calls `predict`."""
    with quiet_mlflow():
        mlflow.pyfunc.save_model(
            folder, python_model=pyfunc(predict), signature=signature, pip_requirements=list(requirements or ["mlflow"])
        )
    return folder


@dataclass(frozen=True)
class Store:
    """A registry with one logged model, of which tests register versions under names of their own."""

    tracking_uri: str
    client: MlflowClient
    run_id: str
    model_id: str

    def register(self, versions: int = 1, **tags: str) -> str:
        """Register the model as versions 1, 2, ... of a new name."""
        name = f"digits {next(_numbers)}"
        self.client.create_registered_model(name)
        for _ in range(versions):
            self.add_version(name, **tags)
        return name

    def add_version(self, name: str, **tags: str) -> None:
        """Register the model as the next version of a name."""
        with tracking(self.tracking_uri):
            self.client.create_model_version(
                name, f"models:/{self.model_id}", self.run_id, tags=tags, model_id=self.model_id
            )


def _store(tracking_uri: str) -> Store:
    """Log a model to a registry."""
    with quiet_mlflow(), tracking(tracking_uri), mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=pyfunc(lambda inputs: inputs * 2),
            signature=tensor("float64", (-1, 2)),
            pip_requirements=["mlflow"],
        )
    return Store(tracking_uri, MlflowClient(tracking_uri, tracking_uri), run.info.run_id, info.model_id)


@pytest.fixture(scope="session")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Store:
    """A local SQLite registry."""
    folder = tmp_path_factory.mktemp("sqlite-store")
    return _store(local_registry(folder, mlflow_template))


@pytest.fixture(scope="session")
def http_store(tracking_server: tuple[str, Path]) -> Store:
    """A real MLflow server."""
    return _store(tracking_server[0])


@pytest.fixture(params=["sqlite", "http"])
def store(request: pytest.FixtureRequest) -> Store:
    """Both kinds of registry, one after the other."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found
