"""A model of a registry as it is trained: its module, and rows as that takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robmon.errors import InvalidInputError, ModelError
from robmon.library.fitting import fit
from robmon.models.served.served import ServedModel


def module_of(model: ServedModel, uri: str) -> torch.nn.Module:
    """The torch module of a model that was loaded.

    Raises:
        ModelError: it has none.
    """
    if model.module is None:
        raise ModelError(
            f"{uri} is not a torch model of tensors (MLflow's pytorch flavour), so it has no weights to train"
        )
    module: torch.nn.Module = model.module
    return module


def rows_of(model: ServedModel, inputs: Any, targets: Any) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Inputs in the form and type that a model takes, the targets of these rows, and notes on what was left out.

    Raises:
        InvalidInputError: the model takes several tensors, or does not take these rows, or targets are not theirs.
    """
    fitted = fit(model, inputs if hasattr(inputs, "columns") or isinstance(inputs, dict) else np.asarray(inputs))
    parts = fitted.inputs
    given = parts.assemble(parts.array[:1], slice(0, 1))
    tensor = next(iter(given.values())) if isinstance(given, dict) and len(given) == 1 else given
    if not isinstance(tensor, np.ndarray) or tensor.shape != parts.array[:1].shape:
        raise InvalidInputError("the model takes more than one tensor: only models of one can be trained here")
    targets = np.asarray(targets)
    if len(targets) != fitted.of_rows:
        raise InvalidInputError(f"{len(targets)} labels were given for {fitted.of_rows} rows")
    kept = targets if fitted.kept is None else targets[list(fitted.kept)]
    return parts.array.astype(tensor.dtype, copy=False), kept, list(fitted.notes)
