"""A baseline as an artifact beside the model version that it belongs to.

MLflow's registered versions hold no files of their own, and one run may make several of them, so the baseline is an
artifact of the version's run, under the model's name and version: `robmon/<name>/<version>/baseline.json`.
"""

from __future__ import annotations

from typing import Any

from robmon.errors import ModelError
from robmon.models.registry.path_safe import path_safe
from robmon.models.registry.registry import Registry
from robmon.models.registry.resolved import Resolved


def log_baseline(uri: str, tracking_uri: str | None, baseline: dict[str, Any]) -> str:
    """Record the baseline of the version that `uri` stands for; returns where, as `runs:/run_id/path`.

    Raises:
        ModelError: the version was made without a run, so there is no place for it.
        RegistryError, ModelNotFoundError: as `Registry.resolve`.
    """
    registry = Registry(tracking_uri)
    model = registry.resolve(uri)
    if model.run_id is None:
        raise ModelError(
            f"{uri} was made without a run, so it has no place for a baseline: without --log it is kept in the "
            "daemon's data folder"
        )
    path = artifact_path(model)
    registry.write_artifact(model.run_id, path, baseline)
    return f"runs:/{model.run_id}/{path}"


def read_baseline(registry: Registry, model: Resolved) -> dict[str, Any] | None:
    """The recorded baseline of a version, else that of its run (see `run_path`); None where there is none."""
    if model.run_id is None:
        return None
    own = registry.read_artifact(model.run_id, artifact_path(model))
    return own or registry.read_artifact(model.run_id, run_path(model.name))


def read_learnt(registry: Registry, model: Resolved) -> dict[str, Any] | None:
    """What pods of a version have learnt and shared; None where there is nothing that can be understood."""
    if model.run_id is None:
        return None
    try:
        return registry.read_artifact(model.run_id, learnt_path(model))
    except ModelError:
        return None


def write_learnt(registry: Registry, model: Resolved, baseline: dict[str, Any]) -> None:
    """Replace it.

    Raises:
        ModelError: the version was made without a run, so there is no place for it.
        RegistryError: it cannot be written.
    """
    if model.run_id is None:
        raise ModelError(f"version {model.version} was made without a run, so it has no place for a learnt baseline")
    registry.write_artifact(model.run_id, learnt_path(model), baseline)


def learnt_path(model: Resolved) -> str:
    """Where it lies in the artifacts of the version's run."""
    return f"robmon/{path_safe(model.name)}/{path_safe(model.version)}/learnt.json"


def artifact_path(model: Resolved) -> str:
    """Where a version's baseline lies in its run's artifacts."""
    return f"robmon/{path_safe(model.name)}/{path_safe(model.version)}/baseline.json"


def run_path(name: str) -> str:
    """Where the baseline of a run's only model lies before that is a version, which has no number yet."""
    return f"robmon/{path_safe(name)}/baseline.json"
