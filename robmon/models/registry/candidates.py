"""A run in which a candidate version is made ready, and the version, which comes last."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from robmon.errors import ModelError
from robmon.models.registry.asking import without_bars
from robmon.models.registry.registry import Registry
from robmon.models.registry.resolved import Resolved


@dataclass(frozen=True)
class CandidateRun:
    """A run that is open.

    Attributes:
        registry: it is in.
        name: of the registered model that the candidate is to be a version of.
        run_id: of the run.
    """

    registry: Registry
    name: str
    run_id: str

    def log_model(self, log: Callable[[], Any]) -> tuple[str, str]:
        """Log a model to the run by a function that returns MLflow's description of it; returns its URI and its id.

        Raises:
            ModelError: the model cannot be saved.
            RegistryError: the registry did not answer, or refused the credentials.
        """
        with self.registry.asking(), without_bars(), mlflow.start_run(run_id=self.run_id):
            try:
                info = log()
            except (MlflowException, OSError):
                raise
            except Exception as error:  # the model's own code, or what exports it
                raise ModelError(f"the candidate cannot be saved as its source was: {type(error).__name__}") from error
        return info.model_uri, info.model_id

    def write(self, folder: Path, path: str) -> None:
        """Write the files of a folder as artifacts of the run."""
        with self.registry.asking(), without_bars():
            self.registry.client.log_artifacts(self.run_id, str(folder), path)

    def write_json(self, path: str, content: dict[str, Any]) -> None:
        """Write a JSON object as an artifact of the run."""
        self.registry.write_artifact(self.run_id, path, content)

    def create_version(self, uri: str, model_id: str, tags: Mapping[str, str], description: str) -> str:
        """The version, with its tags from its first moment on; returns its number.

        Raises:
            RegistryError: the registry did not answer, or refused the credentials.
        """
        with self.registry.asking(f"the model {self.name} does not exist in the registry at {self.registry.place}"):
            made = self.registry.client.create_model_version(
                self.name, uri, run_id=self.run_id, tags=dict(tags), description=description, model_id=model_id
            )
        return str(made.version)


@dataclass(frozen=True)
class Candidates:
    """Candidates for the versions of a registry."""

    registry: Registry

    @contextmanager
    def run(self, of: Resolved, tags: Mapping[str, str]) -> Iterator[CandidateRun]:
        """A run beside that of a version, in its experiment; it is failed where the block raises.

        Raises:
            RegistryError: the registry did not answer, or refused the credentials.
        """
        client = self.registry.client
        with self.registry.asking():
            experiment = client.get_run(of.run_id).info.experiment_id if of.run_id else "0"
            made = client.create_run(experiment, tags=dict(tags), run_name=f"robmon-stabilise-{of.name}")
        run = CandidateRun(self.registry, of.name, made.info.run_id)
        status = "FAILED"
        try:
            with _logging_to(self.registry.tracking_uri):
                yield run
            status = "FINISHED"
        finally:
            with self.registry.asking():
                client.set_terminated(run.run_id, status)


@contextmanager
def _logging_to(tracking_uri: str) -> Iterator[None]:
    """MLflow logs models to the URI that is set for the whole process, which it writes into the environment too."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # that unsets it, also in the environment
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before
