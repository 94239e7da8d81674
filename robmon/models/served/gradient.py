"""The gradient of a served torch module by what is perturbed of its inputs, where it has one that can be asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.signature.forms import Parts
from robmon.robustness.arrays import Array, is_floating, lone, to_numpy
from robmon.robustness.probes.attack.attack import SlopeOf
from robmon.robustness.probes.attack.gradient import Call, slope_of
from robmon.robustness.probes.attack.target import Slope


def gradient_of(module: Any, parts: ModelInputs | None, array: Array) -> SlopeOf | None:
    """What makes the gradient of a module.

    Args:
        module: in eval mode; None: the model is none.
        parts: the inputs taken apart, where they were.
        array: what is perturbed of them.

    Returns:
        None where there is no gradient, or the module is called with more than numbers; what is made is None where
        asking for it fails, as of a fixed number of rows, of several outputs, or of code that leaves torch.
    """
    if module is None:
        return None
    call: Call = lambda x, of_rows: module(x)  # noqa: E731
    if parts is not None:
        given = parts.assemble(array[:2], slice(0, min(2, parts.rows)))
        if isinstance(given, Parts) or (hasattr(given, "columns") and parts.left_alone):
            return None
        if isinstance(given, dict):
            if parts.whole is not None:
                return None
            call = lambda x, of_rows: module(*parts.take(of_rows).assemble(x, slice(0, len(x))).values())  # noqa: E731

    def of(classes: NDArray[Any], kind: Any, batch_rows: int) -> Slope | None:
        slope = slope_of(module, classes, kind, as_taken(module, array), batch_rows, call=_accompanied(call))
        first = np.arange(min(2, len(classes)))
        try:
            slope(to_numpy(array[: len(first)]).reshape(len(first), -1), first, True)
        except Exception:  # model code may raise anything
            return None
        return slope

    return of


def as_taken(module: Any, array: Array) -> Any:
    """The array as a tensor where the module lies, in the type of its parameters unless it has one by itself."""
    import torch

    first = next((each for each in module.parameters() if each.dtype.is_floating_point), None)
    is_own = isinstance(array, torch.Tensor) and is_floating(array) and array.dtype != torch.float64
    dtype = array.dtype if is_own else torch.float32 if first is None else first.dtype
    return torch.as_tensor(array, dtype=dtype, device=None if first is None else first.device)


def _accompanied(call: Call) -> Call:
    """The same, never of one row on its own: beside it stands itself. An exported program may not take one."""
    import torch

    def of(x: Any, rows: NDArray[np.int64]) -> Any:
        if len(x) != 1:
            return call(x, rows)
        return lone(call(torch.cat([x, x]), np.resize(rows, 2)))[:1]

    return of
