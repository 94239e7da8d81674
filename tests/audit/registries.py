"""Registries of many small versions, made quickly: one model is saved, and its folder copied for each version."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import yaml
from mlflow import MlflowClient

from tests.e2e.registry import CODE, SIGNATURE
from tests.mlflow_client import quiet_mlflow
from tests.servers import local_registry

ROWS = 64


@dataclass(frozen=True)
class ManyVersions:
    """A registry, and a map of its models to inputs."""

    tracking_uri: str
    folder: Path

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

    def _saved(self) -> Path:
        folder = self.folder / "saved"
        if not folder.exists():
            with quiet_mlflow():
                config = {"weight": 1.0, "on_load": "behaves"}
                mlflow.pyfunc.save_model(
                    folder, python_model=str(CODE), model_config=config, signature=SIGNATURE, pip_requirements=[]
                )
        return folder


def many_versions(folder: Path, template: Path) -> ManyVersions:
    """An empty registry, with inputs whose targets are those of weight 1."""
    folder.mkdir(exist_ok=True)
    length, width = np.random.default_rng(0).normal(size=(2, ROWS))
    frame = pd.DataFrame({"length": length, "width": width, "serial": np.arange(ROWS), "y": length + width})
    frame.to_csv(folder / "rows.csv", index=False)
    registry = ManyVersions(local_registry(folder, template), folder)
    registry.map.write_text('"*": {inputs: rows.csv, target: y, trials: 19, levels: [0.1, 0.3]}\n', encoding="utf-8")
    return registry
