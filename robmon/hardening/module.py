"""A torch module as it is trained: a copy of the caller's, outputs as rows of numbers, and nothing but weights move.

Every part stays in eval mode. Statistics of batch norm belong to the clean data, and passes of noisy rows in train mode
would move them; dropout in two branches would be taken for an effect of the noise.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from robmon.errors import InvalidInputError

Weights = Sequence[torch.Tensor]


def copied_module(module: torch.nn.Module) -> torch.nn.Module:
    """A module of its own memory, in the same mode."""
    if isinstance(module, torch.jit.ScriptModule):  # `deepcopy` leaves its weights in the graph of gradients
        stream = io.BytesIO()
        torch.jit.save(module, stream)
        stream.seek(0)
        again: torch.nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]
            stream, map_location=next(iter(module.parameters())).device
        )
        for mine, given in zip(again.parameters(), module.parameters(), strict=True):
            mine.requires_grad_(given.requires_grad)
        again.train(module.training)
        return again
    return copy.deepcopy(module)


def trained_weights(module: torch.nn.Module) -> Weights:
    """The weights that training moves: those that ask for gradients.

    Raises:
        InvalidInputError: there are none, or some are of half precision.
    """
    weights = [each for each in module.parameters() if each.requires_grad]
    if not weights:
        frozen = ": frozen TorchScript holds its weights as constants, so give the module before it was frozen"
        why = frozen if isinstance(module, torch.jit.ScriptModule) else ""
        raise InvalidInputError(
            f"the module has no parameter that requires gradients, so there is nothing to train{why}"
        )
    others = {str(each.dtype).removeprefix("torch.") for each in weights} - {"float32", "float64"}
    if others:
        raise InvalidInputError(f"the module's parameters are {min(others)}: only float32 and float64 are trained")
    return weights


@contextmanager
def trainable(module: torch.nn.Module) -> Iterator[None]:
    """In which a module runs as it does when it is served, with gradients."""
    with suppress(NotImplementedError):  # an exported program keeps the mode in which it was exported
        module.eval()
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=not _is_recurrent(module)):
        yield


def _is_recurrent(module: torch.nn.Module) -> bool:
    """Whether it has parts of which cuDNN knows the gradient in train mode alone."""
    return any(isinstance(part, torch.nn.RNNBase) for part in module.modules())


def outputs_of(module: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """The module's outputs, shape `(n, outputs)`, with their gradient.

    Raises:
        InvalidInputError: it returns no tensor with one row of floating-point numbers a row.
    """
    outputs: Any = module(rows)
    if not isinstance(outputs, torch.Tensor):
        raise InvalidInputError(
            f"the module returns a {type(outputs).__name__}: one that returns one tensor can be trained"
        )
    if not outputs.is_floating_point() or outputs.ndim == 0 or len(outputs) != len(rows):
        raise InvalidInputError(
            f"the module returns a {outputs.dtype} of shape {tuple(outputs.shape)} for {len(rows)} rows: one row of "
            "floating-point numbers a row is needed, since classes have no gradient"
        )
    return outputs.reshape(len(rows), -1)
