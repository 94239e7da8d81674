"""Images with their channels last in memory: so convolve tensor cores, and so convolve and pool processors' kernels."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch

TENSOR_CORES: Final = {torch.float16: (7, 0), torch.bfloat16: (8, 0), torch.float32: (8, 0)}
"""From which compute capability on convolutions of a dtype run on them, float32 as TF32."""
IMAGE_RANK: Final = 4
SAME: Final = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}
"""Of the largest output, for parameters of a dtype: outputs that differ by less are the same."""
SAME_IN_TF32: Final = 0.01
"""Likewise where float32 is computed in TF32, whose mantissa has 10 bits."""
SAME_SHARE: Final = 0.99
"""Of the outputs that must be the same: a class may change where two are as likely."""

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
    tolerance = _tolerance(module, device)
    if tolerance is None:
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
        known[str(device)] = _are_same(usual, outputs, tolerance)
        return outputs if known[str(device)] else usual

    return call


def _tolerance(module: torch.nn.Module, device: torch.device) -> float | None:
    """How far apart the same outputs may be; None for a module that gains nothing: it convolves no images.

    The graph of an exported program is left alone: it was written down with channels first. So is a module that its
    owner had compiled: the compiler chooses layouts, and would be called again for another.
    """
    is_compiled = hasattr(module, "_orig_mod") or module._compiled_call_impl is not None
    if is_compiled or isinstance(module, torch.fx.GraphModule):
        return None
    dtypes = {each.dtype for each in module.parameters() if each.ndim == IMAGE_RANK} & SAME.keys()
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        dtypes = {dtype for dtype in dtypes if capability >= TENSOR_CORES[dtype]}
        return max((SAME_IN_TF32, *(SAME[dtype] for dtype in dtypes))) if dtypes else None
    if device.type != "cpu" or not torch._C._has_mkldnn:
        return None
    return max((SAME[dtype] for dtype in dtypes), default=None)


def _with_channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == IMAGE_RANK else tensor


def _are_same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two outputs of a module, containers of tensors, hold the same."""
    pytree = torch.utils._pytree
    (mine, shape), (theirs, other_shape) = pytree.tree_flatten(one), pytree.tree_flatten(other)
    return shape == other_shape and all(_is_same(*pair, tolerance) for pair in zip(mine, theirs, strict=True))


def _is_same(one: Any, other: Any, tolerance: float) -> bool:
    if not isinstance(one, torch.Tensor):
        return True  # the numbers beside the outputs
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.numel():
        return True
    one, other = one.double(), other.double()
    largest = float(one.abs().nan_to_num(0.0, 0.0).max())
    close = torch.isclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True)
    return float(close.double().mean()) >= SAME_SHARE
