"""A registry with odd models in it, for the tests of the daemon."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from robmon.cli.acceptance import accept
from robmon.settings import load
from tests.mlflow_client import quiet_mlflow, tracking

COLUMNS = {"length": "double", "width": "double", "serial": "long"}
SIGNATURE = ModelSignature(Schema([ColSpec(kind, name) for name, kind in COLUMNS.items()]))
CODE = Path(__file__).with_name("odd_model.py")
PICTURE_CODE = Path(__file__).with_name("picture_model.py")
EMBEDDING_CODE = Path(__file__).with_name("embedding_model.py")
CLASSIFIER_CODE = Path(__file__).with_name("loud_model.py")

_numbers = itertools.count(os.getpid() * 1000)  # several processes share a registry


@dataclass(frozen=True)
class Registry:
    """A registry whose files lie below `folder`."""

    tracking_uri: str
    folder: Path

    @contextmanager
    def client(self) -> Iterator[MlflowClient]:
        """MLflow's own client."""
        with quiet_mlflow():
            yield MlflowClient(self.tracking_uri, self.tracking_uri)

    def model(self, name: str = "odd") -> RegisteredModel:
        """A new registered model without versions, whose name begins so."""
        name = f"{name}-{next(_numbers)}"
        with self.client() as client:
            client.create_registered_model(name)
        return RegisteredModel(self, name)


@dataclass(frozen=True)
class RegisteredModel:
    """One registered model, whose alias `champion` is the version served."""

    registry: Registry
    name: str

    @property
    def uri(self) -> str:
        """What the daemon follows."""
        return f"models:/{self.name}@champion"

    def add(
        self,
        weight: float = 1.0,
        *,
        on_load: str = "behaves",
        has_signature: bool = True,
        steep_above: float | None = None,
        seen: Path | None = None,
        code: Path = CODE,
    ) -> str:
        """Register the next version: an odd model with that weight. Its noise MSE grows with the weight's square.

        Args:
            weight: of the sum of a row's first two numbers.
            on_load: what it does when it is loaded.
            has_signature: whether it has one.
            steep_above: the first number of a row beyond which it is twice as steep.
            seen: a file to which it adds the serials of every row that it is asked about.
            code: another model's, which takes the same configuration.
        """
        config: dict[str, object] = {"weight": weight, "on_load": on_load}
        config |= {"steep_above": steep_above} if steep_above is not None else {}
        config |= {"seen": str(seen)} if seen is not None else {}
        return self._log(str(code), config, SIGNATURE if has_signature else None)

    def add_classifier(self, form: str, loudness: float, fragility: float = 0.0) -> str:
        """Register the next version: a classifier that returns `logits` or `softmax`, so loud, so fragile."""
        return self._log(str(CLASSIFIER_CODE), {"form": form, "loudness": loudness, "fragility": fragility})

    def add_pickled(self) -> str:
        """Register the next version: a model that is a pickle."""
        with quiet_mlflow():

            class Pickled(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
                def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                    return model_input

        return self._log(Pickled(), None)

    def add_of_pictures(self, gain: float, height: int, width: int) -> str:
        """Register the next version: a linear model of grey pictures of bytes, channels last."""
        signature = ModelSignature(Schema([TensorSpec(np.dtype(np.uint8), (-1, height, width, 1))]))
        return self._log(str(PICTURE_CODE), {"gain": gain}, signature)

    def add_of_embeddings(self, seen: Path, *, turn: bool = False, steep: float = 1.0) -> str:
        """Register the next version: an embedding of 6 numbers, which leaves what it is asked in a folder."""
        signature = ModelSignature(Schema([TensorSpec(np.dtype(np.float64), (-1, 6))]))
        return self._log(str(EMBEDDING_CODE), {"seen": str(seen), "turn": turn, "steep": steep}, signature)

    def _log(
        self, python_model: object, config: dict[str, object] | None, signature: ModelSignature | None = SIGNATURE
    ) -> str:
        with quiet_mlflow(), tracking(self.registry.tracking_uri), mlflow.start_run():
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=python_model,
                model_config=config,
                signature=signature,
                pip_requirements=[],
                registered_model_name=self.name,
            )
        return str(info.registered_model_version)

    def serve(self, version: str, alias: str = "champion") -> None:
        """Move the alias."""
        with self.registry.client() as client:
            client.set_registered_model_alias(self.name, alias, version)

    def accept(self, version: str) -> None:
        """Accept a version before any daemon has run, as a release pipeline would."""
        given = {"model.uri": self.uri, "mlflow.tracking_uri": self.registry.tracking_uri}
        settings = load(given | {"data_dir": str(self.registry.folder / "nowhere")}).settings
        with quiet_mlflow():
            accept(f"models:/{self.name}/{version}", settings, is_daemons=True)

    def memory(self, scope: str = "champion") -> list[dict[str, Any]]:
        """What the registry remembers of the versions."""
        with self.registry.client() as client:
            text = client.get_registered_model(self.name).tags.get(f"robmon.memory.{scope}", "[]")
        entries: list[dict[str, Any]] = json.loads(text)
        return entries

    def files(self, version: str) -> Path:
        """The folder in which the registry keeps the files of a version."""
        with self.registry.client() as client:
            source = client.get_model_version(self.name, version).source
        return next(self.registry.folder.rglob(source.rpartition("/")[2])) / "artifacts"
