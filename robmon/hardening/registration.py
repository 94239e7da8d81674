"""A candidate becomes a version of its model: all of it is in a run and was read back before the version exists.

Whatever ends this process leaves a run without a version, or the whole version. No alias is moved.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mlflow
import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import Model
from numpy.typing import NDArray

from robmon.errors import ModelError
from robmon.hardening.result import Stabilised
from robmon.library.baselines import baseline_of
from robmon.library.prepared_rows import open_predictor
from robmon.models.loading import load_uri
from robmon.models.mlmodel import TORCH
from robmon.models.registry.baseline_artifact import run_path
from robmon.models.registry.candidates import Candidates
from robmon.models.registry.download import download_version
from robmon.models.registry.registry import Registry
from robmon.models.registry.resolved import Resolved
from robmon.models.served.served import ServedModel
from robmon.robustness.specification import Specification

BASELINE_ROWS: Final = 1024
"""Most rows of the baseline that is recorded beside the candidate: with so many one is learnt by default."""
CHECKED_ROWS: Final = (1, 2, 7, 33)
"""Sizes of the batches in which what was logged must answer as the candidate does."""
AGREES: Final = 1e-4
"""Of the largest output: what two programs of the same weights may differ by."""


@dataclass(frozen=True)
class Source:
    """The version that a candidate is made of.

    Attributes:
        version: what the registry says of it.
        folder: its files.
        registry: it is in.
    """

    registry: Registry
    version: Resolved
    folder: Path

    @property
    def name(self) -> str:
        """Name of the registered model."""
        return self.version.name


def source_of(registry: Registry, uri: str, folder: Path) -> Source:
    """The registered version that a URI stands for, with its files in a folder.

    Raises:
        ModelError: it is not a registered version, or not of MLflow's pytorch flavour.
        RegistryError, ModelNotFoundError: as `Registry.resolve`.
    """
    version = registry.resolve(uri)
    source = Source(registry, version, download_version(registry, version, folder))
    if TORCH not in Model.load(str(source.folder)).flavors:
        raise ModelError(f"{uri} is not a torch model (MLflow's pytorch flavour): only those have weights to train on")
    return source


def check_registered(version: Resolved) -> None:
    """Refuse what can have no further version.

    Raises:
        ModelError: the URI names no registered version.
    """
    if version.tags is None:
        raise ModelError(
            f"{version.uri.text} is not a version of a registered model, so its candidate cannot be another: give "
            "models:/name/version or models:/name@alias, or leave --register out"
        )


def register(source: Source, result: Stabilised, inputs: NDArray[Any], specification: Specification) -> str:
    """Make a new version of the source's model, with curves, baseline and verdict; returns its number.

    Args:
        source: the version that it is a candidate for.
        result: what came of the training.
        inputs: rows, as the model takes them, of which the baseline is learnt.
        specification: of that.

    Raises:
        ModelError: what was logged does not answer as the candidate does.
        RegistryError: the registry did not answer, or refused the credentials.
    """
    check_registered(source.version)
    report = result.to_dict()
    tags = {
        "robmon.candidate_of": source.version.version,
        "robmon.stability_alpha": f"{report['alpha']:g}",
        "robmon.stability_sigma": f"{report['sigma']:g}",
        "robmon.verdict": "passed" if result.passed else "failed",
    }
    module = result.module.cpu().eval() if not _is_exported(source.folder) else result.module.cpu()
    with Candidates(source.registry).run(source.version, tags) as run:
        uri, model_id = run.log_model(lambda: _log(module, source.folder, inputs))
        served = load_uri(uri, device="cpu", tracking_uri=source.registry.tracking_uri)
        _check_agrees(served, module, inputs)
        baseline = _baseline(served, inputs, specification)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "stability.json").write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
            result.plot().savefig(folder / "stability.png", dpi=150)
            run.write(folder, "robmon")
        run.write_json(run_path(source.name), baseline)
        return run.create_version(uri, model_id, tags, _description(source, result))


def _description(source: Source, result: Stabilised) -> str:
    verdict = "passed" if result.passed else "did not pass"
    return f"Version {source.version.version} after stability training by robmon, whose verdict it {verdict}."


def _is_exported(folder: Path) -> bool:
    return (folder / "data" / "model.pt2").exists()


def _log(module: torch.nn.Module, folder: Path, inputs: NDArray[Any]) -> Any:
    """Log the module as the source was: serialisation, signature, requirements, code."""
    source = Model.load(str(folder))
    flavor = source.flavors[TORCH]
    given: dict[str, Any] = {"signature": source.signature, "metadata": source.metadata}
    if (requirements := folder / "requirements.txt").exists():
        given["pip_requirements"] = str(requirements)
    if code := flavor.get("code"):
        given["code_paths"] = [str(path) for path in sorted((folder / code).iterdir()) if path.name != "__pycache__"]
    if _is_exported(folder):
        # Neither 1 row, of which the exporter makes a constant, nor rows of production, which would be written down.
        given["input_example"] = np.zeros((2, *inputs.shape[1:]), dtype=inputs.dtype)
        return mlflow.pytorch.log_model(module, name="model", serialization_format="pt2", **given)
    told = folder / flavor.get("model_data", "data") / "pickle_module_info.txt"
    if told.exists() and not isinstance(module, torch.jit.ScriptModule):
        given["pickle_module"] = importlib.import_module(told.read_text(encoding="utf-8").strip())
    return mlflow.pytorch.log_model(module, name="model", serialization_format="pickle", **given)


def _check_agrees(served: ServedModel, module: torch.nn.Module, inputs: NDArray[Any]) -> None:
    """Refuse a model that was read back and is not the candidate: its export, or its code, is not what was trained."""
    for count in CHECKED_ROWS:
        rows = np.ascontiguousarray(inputs[:count])
        with torch.no_grad():
            wanted = module(torch.from_numpy(rows)).double().numpy()
        got = np.asarray(served.predict(served.put(rows)), dtype=np.float64)
        if got.shape != wanted.shape or not np.abs(got - wanted).max() <= AGREES * max(1.0, np.abs(wanted).max()):
            raise ModelError(
                f"what was logged does not answer as the candidate does (batch of {count}): it is not registered"
            )


def _baseline(served: ServedModel, inputs: NDArray[Any], specification: Specification) -> dict[str, Any]:
    """The candidate's baseline, of at most `BASELINE_ROWS` of the rows."""
    order = np.random.default_rng(0).permutation(len(inputs))[:BASELINE_ROWS]
    with open_predictor(served, inputs[np.sort(order)], specification) as rows:
        return baseline_of(rows, rows.assess(specification), specification, source="artifact")
