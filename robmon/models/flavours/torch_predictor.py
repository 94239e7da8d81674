"""Models of MLflow's pytorch flavour, called as torch modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from robmon.models.devices.channels_last import is_compiled, with_channels_last
from robmon.models.devices.compilation import Compilation
from robmon.models.devices.device import DeviceUse
from robmon.models.devices.same_outputs import tolerance
from robmon.models.devices.torch_device import autocast, precise, resolve, tensor_on
from robmon.models.flavours.first_layer import axes_read
from robmon.models.flavours.torch_module import load_module
from robmon.models.served.served import Claim, LoadedCode

COMPILED_ON: Final = frozenset({"cuda"})
"""Where modules are compiled."""


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

    @contextmanager
    def computing() -> Iterator[None]:
        with torch.inference_mode(), autocast(precision, place):
            yield

    in_force, compilation = use.on(str(place), precision), None
    # Of TorchScript the compiler makes nothing.
    is_left = is_compiled(module) or isinstance(module, torch.jit.ScriptModule)
    if use.compile == "auto" and place.type in COMPILED_ON and not is_left:
        dtypes = {each.dtype for each in module.parameters()} | ({getattr(torch, precision)} if precision else set())
        compilation = Compilation(run, tolerance(dtypes, place), computing, duty_cycle=in_force.duty_cycle)

    def put(array: NDArray[Any]) -> torch.Tensor:
        return tensor_on(place, array)

    def on_device(value: Any) -> torch.Tensor:
        return value.to(place) if isinstance(value, torch.Tensor) else put(np.asarray(value))

    def arguments(model_input: Any) -> list[torch.Tensor]:
        # The signature's order is that of the module's arguments.
        given = model_input.values() if isinstance(model_input, dict) else [model_input]
        return [on_device(value) for value in given]

    def call(model_input: Any) -> Any:
        with computing():
            return (compilation or run)(*arguments(model_input))

    return LoadedCode(
        in_force,
        call,
        put,
        axes=lambda model_input: axes_read(module, arguments(model_input)),
        module=module,
        compilation=compilation,
        fixed_rows=fixed_rows(module),
        remarks=(*remarks, *more),
    )


def fixed_rows(module: torch.nn.Module) -> int | None:
    """The number of rows that every call has, where an exported program fixes it: of an example of one row it does."""
    if not isinstance(module, torch.fx.GraphModule):
        return None
    known = [node.meta.get("val") for node in module.graph.nodes if node.op == "placeholder"]
    firsts = [each.shape[0] if isinstance(each, torch.Tensor) and each.ndim else None for each in known]
    fixed = {first for first in firsts if isinstance(first, int)}  # what is open is a symbol
    return fixed.pop() if len(fixed) == 1 and all(isinstance(first, int) for first in firsts) else None
