"""Models of MLflow's pytorch flavour: pickled modules, TorchScript, and exported programs (pt2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pytorch
import numpy as np
import torch
from numpy.typing import NDArray

from robmon.errors import ModelLoadError
from robmon.models import mlmodel
from robmon.models.first_layer import axes_read


def load(
    folder: Path, device: str
) -> tuple[
    str, Callable[[Any], Any], Callable[[NDArray[Any]], Any], Callable[[Any], list[int | None]], torch.nn.Module
]:
    """Load the module of a model folder.

    Returns:
        The device used, the predictor (tensor, array or dict of them -> the module's own output), `put`, which makes an
        array a tensor on that device, what tells which axis of its inputs the module takes for features, and
        the module.

    Raises:
        ModelLoadError: the device is not there.
    """
    place = resolve_device(device)
    module = _load_module(folder, place)

    def put(array: NDArray[Any]) -> torch.Tensor:
        # A tensor shares the array's memory and may be written to.
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(place)

    def on_device(value: Any) -> torch.Tensor:
        return value.to(place) if isinstance(value, torch.Tensor) else put(np.asarray(value))

    def arguments(model_input: Any) -> list[torch.Tensor]:
        # The signature's order is that of the module's arguments.
        given = model_input.values() if isinstance(model_input, dict) else [model_input]
        return [on_device(value) for value in given]

    def call(model_input: Any) -> Any:
        with torch.inference_mode():
            return module(*arguments(model_input))

    return str(place), call, put, lambda model_input: axes_read(module, arguments(model_input)), module


def resolve_device(name: str) -> torch.device:
    """The device of that name, with its number; `auto` is cuda where there is one.

    Raises:
        ModelLoadError: it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    number = torch.device(name).index or 0
    if number >= torch.cuda.device_count():
        raise ModelLoadError(f"device.name is {name}, and there are {torch.cuda.device_count()} CUDA devices")
    return torch.device("cuda", number)


def _load_module(folder: Path, device: torch.device) -> torch.nn.Module:
    data = mlmodel.read(folder).flavors[mlmodel.TORCH].get("model_data", "data")
    if (folder / data / "model.pth").exists():
        module: torch.nn.Module = mlflow.pytorch.load_model(str(folder), map_location=device, weights_only=False)
        return module.to(device).eval()
    # An exported program is in the mode in which it was exported, and refuses to be told another. It also stays on the
    # device on which it was exported, or MLflow raises.
    exported: torch.nn.Module = mlflow.pytorch.load_model(str(folder), device=device.type)
    return exported
