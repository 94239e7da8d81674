"""Images with their channels last in memory, as the tensor cores of a CUDA device take convolutions."""

from __future__ import annotations

from typing import Any, Final

import torch

TENSOR_CORES: Final = {torch.float16: (7, 0), torch.bfloat16: (8, 0), torch.float32: (8, 0)}
"""From which compute capability on convolutions of a dtype run on them, float32 as TF32."""
IMAGE_RANK: Final = 4
SAME: Final = 0.01
"""Of the largest output: outputs that differ by less are the same in TF32, whose mantissa has 10 bits."""
SAME_SHARE: Final = 0.99
"""Of the outputs that must be the same: a class may change where two are as likely."""


class ChannelsLast:
    """A module that computes with channels last, if it can: its first call shows.

    A module may view memory, or read strides, in ways that want channels first. So it is called both ways once, and
    keeps channels first where it raises otherwise or its outputs are not the same.

    Args:
        module: whose parameters of rank 4 may get another layout; it is to be its own.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self.is_on: bool | None = None
        """Whether it computes so; None before its first call."""

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """The module's outputs."""
        if self.is_on is None:
            return self._first(inputs)
        return self._module(*(map(_with_channels_last, inputs) if self.is_on else inputs))

    def _first(self, inputs: tuple[torch.Tensor, ...]) -> Any:
        # The module may write into its inputs.
        usual = self._module(*(each.clone() for each in inputs))
        self._lay_out(torch.channels_last)
        try:
            outputs = self._module(*map(_with_channels_last, inputs))
            self.is_on = _are_same(usual, outputs)
        except RuntimeError:
            self.is_on = False
        if self.is_on:
            return outputs
        self._lay_out(torch.contiguous_format)
        return usual

    def _lay_out(self, layout: torch.memory_format) -> None:
        with torch.inference_mode(False):  # else gradients could no longer be asked of the module
            for parameter in self._module.parameters():
                if parameter.ndim == IMAGE_RANK:
                    parameter.data = parameter.data.contiguous(memory_format=layout)


def gains(module: torch.nn.Module, device: torch.device) -> bool:
    """Whether a module may be faster with channels last: it convolves images on tensor cores.

    The graph of an exported program is left alone: it was written down with channels first.
    """
    if device.type != "cuda" or isinstance(module, torch.fx.GraphModule):
        return False
    dtypes = {each.dtype for each in module.parameters() if each.ndim == IMAGE_RANK and each.is_floating_point()}
    capability = torch.cuda.get_device_capability(device)
    return any(dtype in TENSOR_CORES and capability >= TENSOR_CORES[dtype] for dtype in dtypes)


def _with_channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == IMAGE_RANK else tensor


def _are_same(one: Any, other: Any) -> bool:
    """Whether two outputs of a module, containers of tensors, hold the same."""
    pytree = torch.utils._pytree
    (mine, shape), (theirs, other_shape) = pytree.tree_flatten(one), pytree.tree_flatten(other)
    return shape == other_shape and all(map(_is_same, mine, theirs))


def _is_same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor):
        return True  # the numbers beside the outputs
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.numel():
        return True
    one, other = one.double(), other.double()
    largest = float(one.abs().nan_to_num(0.0, 0.0).max())
    close = torch.isclose(one, other, rtol=SAME, atol=SAME * largest, equal_nan=True)
    return float(close.double().mean()) >= SAME_SHARE
