"""What a model's `MLmodel` file says: its flavours, and which of them robmon would load."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from robmon.errors import ModelLoadError

MLMODEL_FILE = "MLmodel"
TORCH = "pytorch"
PYFUNC = "python_function"


@dataclass(frozen=True)
class MLmodel:
    """The parsed file. `inputs` is the signature's list of input specifications, None without a signature."""

    flavors: dict[str, dict[str, Any]]
    inputs: list[dict[str, Any]] | None

    @property
    def kind(self) -> Literal["torch", "pyfunc"]:
        """How robmon loads it: torch where it can, for a model of tensors; else as the model server does, by pyfunc."""
        if TORCH not in self.flavors:
            return "pyfunc"
        takes_columns = self.inputs is not None and any(spec.get("type") != "tensor" for spec in self.inputs)
        return "pyfunc" if takes_columns and PYFUNC in self.flavors else "torch"

    @property
    def loaded_flavor(self) -> str:
        """The flavour whose code loads the model: of a pyfunc model the one behind it (`sklearn`), if there is one."""
        if self.kind == "torch":
            return TORCH
        name = str(self.flavors.get(PYFUNC, {}).get("loader_module", "")).removeprefix("mlflow.")
        return name if name in self.flavors else PYFUNC


def read(folder: Path) -> MLmodel:
    """Read the `MLmodel` file of a model folder.

    Raises:
        ModelLoadError: there is none, or it is no such file.
    """
    try:
        content = yaml.safe_load((folder / MLMODEL_FILE).read_text(encoding="utf-8"))
        signature = content.get("signature") or {}
        inputs = signature.get("inputs")
        return MLmodel(
            flavors={str(name): dict(flavor or {}) for name, flavor in content["flavors"].items()},
            inputs=json.loads(inputs) if inputs else None,
        )
    except OSError as error:
        raise ModelLoadError(f"the model has no readable {MLMODEL_FILE} file: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError):
        raise ModelLoadError(f"the model's {MLMODEL_FILE} file is not what MLflow writes") from None
