"""Images with their channels last in memory: so convolve tensor cores, and so convolve and pool processors' kernels."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch

from robmon.models.devices.same_outputs import SAME, are_same, tolerance

TENSOR_CORES: Final = {torch.float16: (7, 0), torch.bfloat16: (8, 0), torch.float32: (8, 0)}
"""From which compute capability on convolutions of a dtype run on them, float32 as TF32."""
IMAGE_RANK: Final = 4

_known: MutableMapping[torch.nn.Module, dict[str, bool]] = WeakKeyDictionary()
"""Whether a module computes the same with channels last, by its device."""


def with_channels_last(module: torch.nn.Module, device: torch.device) -> Callable[..., Any]:
    """The module, called on images with channels last where that may be faster and its outputs stay the same.

    A module may view memory, or read strides, in ways that want channels first. So it is called both ways once, and
    gets its images as they are where it raises otherwise or its outputs are not the same; that is remembered with it.
    The module itself is left as it is.

    Args:
        module: on the device.
        device: which.
    """
    allowed = _tolerance(module, device)
    if allowed is None:
        return module
    known = _known.setdefault(module, {})

    def call(*inputs: torch.Tensor) -> Any:
        if str(device) in known:
            return module(*(map(_with_channels_last, inputs) if known[str(device)] else inputs))
        # The module may write into its inputs.
        usual = module(*(each.clone() for each in inputs))
        try:
            outputs = module(*map(_with_channels_last, inputs))
        except RuntimeError:
            known[str(device)] = False
            return usual
        known[str(device)] = are_same(usual, outputs, allowed)
        return outputs if known[str(device)] else usual

    return call


def _tolerance(module: torch.nn.Module, device: torch.device) -> float | None:
    """How far apart the same outputs may be; None for a module that gains nothing: it convolves no images.

    The graph of an exported program is left alone: it was written down with channels first. So is a module that its
    owner had compiled: the compiler chooses layouts, and would be called again for another.
    """
    if is_compiled(module) or isinstance(module, torch.fx.GraphModule):
        return None
    dtypes = {each.dtype for each in module.parameters() if each.ndim == IMAGE_RANK} & SAME.keys()
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        dtypes = {dtype for dtype in dtypes if capability >= TENSOR_CORES[dtype]}
    elif device.type != "cpu" or not torch._C._has_mkldnn:
        return None
    return tolerance(dtypes, device) if dtypes else None


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether its owner had a module compiled."""
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


def _with_channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == IMAGE_RANK else tensor
