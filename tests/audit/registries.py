"""Registries of many small versions, made quickly: one model is saved, and its folder copied for each version."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import yaml
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.linear_model import LinearRegression

from tests.e2e.registry import CODE, SIGNATURE
from tests.mlflow_client import quiet_mlflow
from tests.servers import local_registry

ROWS = 64
SIGNATURE_OF_TWO = ModelSignature(Schema([ColSpec("double", name) for name in ("length", "width")]))


@dataclass(frozen=True)
class ManyVersions:
    """A registry, and a map of its models to inputs."""

    tracking_uri: str
    folder: Path
    code: Path = CODE

    @property
    def map(self) -> Path:
        """The map."""
        return self.folder / "map.yaml"

    def client(self) -> MlflowClient:
        """MLflow's own client."""
        return MlflowClient(self.tracking_uri, self.tracking_uri)

    def add(self, name: str, versions: Sequence[tuple[float, str]]) -> None:
        """Register linear models with these weights, each with what it does when it is loaded."""
        with quiet_mlflow():
            client = self.client()
            client.create_registered_model(name)
        for place, (weight, on_load) in enumerate(versions):
            folder = self.folder / "models" / name / str(place)
            shutil.copytree(self._saved(), folder)
            description = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
            description["flavors"]["python_function"]["config"] |= {"weight": weight, "on_load": on_load}
            (folder / "MLmodel").write_text(yaml.safe_dump(description), encoding="utf-8")
            client.create_model_version(name, folder.as_uri(), tags={"stage": "even" if place % 2 else "odd"})

    def add_linear(self, name: str, count: int) -> None:
        """Register so many small models of scikit-learn's, each with weights of its own."""
        folder = self.folder / "saved-linear"
        features = ["length", "width"]
        rows = pd.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 2)), columns=features)
        model = LinearRegression().fit(rows, rows.sum(axis=1))
        with quiet_mlflow():
            mlflow.sklearn.save_model(
                model, folder, signature=SIGNATURE_OF_TWO, pip_requirements=[], serialization_format="cloudpickle"
            )
            client = self.client()
            client.create_registered_model(name)
        for place in range(count):
            version = self.folder / "models" / name / str(place)
            shutil.copytree(folder, version)
            model.coef_ = np.array([1.0 + place / count, 1.0 - place / count])
            (version / "model.pkl").write_bytes(pickle.dumps(model))
            client.create_model_version(name, version.as_uri())

    def _saved(self) -> Path:
        folder = self.folder / "saved"
        if not folder.exists():
            with quiet_mlflow():
                config = {"weight": 1.0, "on_load": "behaves"}
                mlflow.pyfunc.save_model(
                    folder, python_model=str(self.code), model_config=config, signature=SIGNATURE, pip_requirements=[]
                )
        return folder


def many_versions(folder: Path, template: Path, code: Path = CODE) -> ManyVersions:
    """An empty registry of models with that code, with inputs whose targets are those of weight 1."""
    folder.mkdir(exist_ok=True)
    length, width = np.random.default_rng(0).normal(size=(2, ROWS))
    frame = pd.DataFrame({"length": length, "width": width, "serial": np.arange(ROWS), "y": length + width})
    frame.to_csv(folder / "rows.csv", index=False)
    registry = ManyVersions(local_registry(folder, template), folder, code)
    registry.map.write_text('"*": {inputs: rows.csv, target: y, trials: 19, levels: [0.1, 0.3]}\n', encoding="utf-8")
    return registry
