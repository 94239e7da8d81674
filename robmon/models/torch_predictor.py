"""Models of MLflow's pytorch flavour, called as torch modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robmon.models.channels_last import with_channels_last
from robmon.models.device import DeviceUse
from robmon.models.first_layer import axes_read
from robmon.models.served import Claim, LoadedCode
from robmon.models.torch_device import autocast, precise, resolve, tensor_on
from robmon.models.torch_module import load_module


def load(folder: Path, use: DeviceUse, claim: Claim) -> LoadedCode:
    """Load the module of a model folder.

    The predictor takes a tensor, an array or a dict of them, and returns the module's own output; `put` makes an array
    a tensor on the device. The stream is torch's own: its priority, 0, is the lowest that CUDA has, and priorities
    order the kernels of one process only. Between processes only MPS knows any, see `processes.guest`.

    Raises:
        ModelLoadError: the device is not there, or does not compute in the precision asked for, or the model cannot be
            moved to it.
    """
    place, remarks = resolve(use.name)
    claim(str(place))
    module = load_module(folder, place)
    precision, more = precise(use, place, module)
    run = with_channels_last(module, place)

    def put(array: NDArray[Any]) -> torch.Tensor:
        return tensor_on(place, array)

    def on_device(value: Any) -> torch.Tensor:
        return value.to(place) if isinstance(value, torch.Tensor) else put(np.asarray(value))

    def arguments(model_input: Any) -> list[torch.Tensor]:
        # The signature's order is that of the module's arguments.
        given = model_input.values() if isinstance(model_input, dict) else [model_input]
        return [on_device(value) for value in given]

    def call(model_input: Any) -> Any:
        with torch.inference_mode(), autocast(precision, place):
            return run(*arguments(model_input))

    return LoadedCode(
        use.on(str(place), precision),
        call,
        put,
        axes=lambda model_input: axes_read(module, arguments(model_input)),
        module=module,
        remarks=(*remarks, *more),
    )
