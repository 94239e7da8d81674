"""Anything MLflow can load, called as its model server calls it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc

from robmon.models import mlmodel


def load(folder: Path, device: str) -> tuple[str, Callable[[Any], Any]]:
    """Load the model of a folder by its python_function flavour.

    Returns:
        The device used, and the predictor: DataFrame, array or dict of arrays -> the model's own output.

    Raises:
        ModelLoadError: the device is not there.
    """
    loader = mlmodel.read(folder).flavors.get(mlmodel.PYFUNC, {}).get("loader_module")
    used, config = "cpu", None
    if loader == "mlflow.pytorch":
        from robmon.models.torch_predictor import resolve_device

        used = str(resolve_device(device))
        config = {"device": used}
    model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True, model_config=config)

    def call(model_input: Any) -> Any:
        outputs = model.predict(model_input)
        return _to_numpy(outputs)

    return used, call


def _to_numpy(outputs: Any) -> Any:
    """A tensor as an array on the CPU, where this predictor's inputs are; NumPy has no bfloat16."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(outputs, torch.Tensor):
        return outputs
    outputs = outputs.detach().cpu()
    return (outputs.float() if outputs.dtype == torch.bfloat16 else outputs).numpy()
