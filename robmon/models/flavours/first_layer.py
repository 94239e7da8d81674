"""Which axis of its inputs a torch module takes for features: seen in the operators that it calls, whatever its form.

So a module that turns its inputs round before its first layer is read as its inputs are, and functions count as layers
do. Pickled modules, TorchScript and exported programs all end in the same operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

CHANNELS_FIRST: Final = (
    "convolution", "_convolution", "mkldnn_convolution", "cudnn_convolution", "miopen_convolution", "native_batch_norm",
    "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_group_norm",
)  # fmt: skip
"""Operators that take axis 1 of their first argument for channels."""
FEATURES_LAST: Final = ("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn", "lstm", "gru", "rnn_tanh", "rnn_relu")
"""Operators that take its last axis for features."""
PRODUCTS: Final = {"mm": 0, "bmm": 0, "linear": 0, "matmul": 0, "addmm": 1, "baddbmm": 1}
"""Products of matrices, and which argument's last axis they sum over."""


def axes_read(module: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> list[int | None]:
    """The axis of each input that the first layer it comes to takes for channels, or features; None: not known.

    Args:
        module: called once, without gradients, as far as is needed; what it raises counts as nothing known.
        inputs: its arguments, `(rows, ...)` each.

    >>> axes_read(torch.nn.Conv1d(3, 8, 5), [torch.zeros(4, 3, 20)])
    [1]
    >>> axes_read(torch.nn.LSTM(3, 8, batch_first=True), [torch.zeros(4, 20, 3)])
    [2]
    """
    seen = _FirstLayers(inputs)
    try:
        with torch.no_grad(), seen:
            module(*inputs)
    except Exception:  # whatever is wrong shows again, and is told, when the model is called for its outputs
        return seen.axes if seen.is_done else [None] * len(inputs)
    return seen.axes


class _AllKnownError(Exception):
    """All is known: the rest of the module need not run."""


class _FirstLayers(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Follows inputs through operators that move their cells, or change them one by one, to the first that sums."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.axes: list[int | None] = [None] * len(inputs)
        self._places: dict[int, tuple[torch.Tensor, int, tuple[int | None, ...]]] = {}
        for index, tensor in enumerate(inputs):
            self._follow(tensor, index, tuple(range(tensor.ndim)))

    def _follow(self, tensor: torch.Tensor, index: int, places: tuple[int | None, ...]) -> None:
        """Note which axis of an input each axis of a tensor is; the tensor is held, so that its id stays its own."""
        self._places[id(tensor)] = (tensor, index, places)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = function(*args, **(kwargs or {}))
        self._see(function.overloadpacket.__name__, args, outputs)
        if self.is_done:
            raise _AllKnownError
        return outputs

    @property
    def is_done(self) -> bool:
        """Whether the axis of every input is known."""
        return None not in self.axes

    def _see(self, name: str, args: Sequence[Any], outputs: Any) -> None:
        known = [self._places.get(id(each)) for each in args]
        if name in PRODUCTS and len(known) > PRODUCTS[name]:
            self._decide(known[PRODUCTS[name]], -1)
        elif name in CHANNELS_FIRST and known:
            self._decide(known[0], 1)
        elif name in FEATURES_LAST and known:
            self._decide(known[0], -1)
        elif isinstance(outputs, torch.Tensor):
            first = next((each for each in known if each is not None), None)
            if first is not None:
                tensor, index, places = first
                moved = _moved(name, args, places, tensor, outputs)
                if moved is not None:
                    self._follow(outputs, index, moved)

    def _decide(self, known: tuple[torch.Tensor, int, tuple[int | None, ...]] | None, at: int) -> None:
        if known is not None and self.axes[known[1]] is None and len(known[2]) > 1:
            self.axes[known[1]] = known[2][at] or None  # axis 0 are the rows


def _moved(
    name: str, args: Sequence[Any], places: tuple[int | None, ...], before: torch.Tensor, after: torch.Tensor
) -> tuple[int | None, ...] | None:
    """Where the axes went; None where they are lost."""
    rank = before.ndim
    if name in ("transpose", "transpose_", "swapaxes"):
        order = list(range(rank))
        one, other = args[1] % rank, args[2] % rank
        order[one], order[other] = other, one
        return tuple(places[axis] for axis in order)
    if name == "t":
        return places[::-1]
    if name == "permute":
        return tuple(places[axis % rank] for axis in args[1])
    if after.shape == before.shape:
        return places
    if after.ndim and rank and after.shape[-1] == before.shape[-1] and after.numel() == before.numel():
        return (*(None for _ in after.shape[:-1]), places[-1])
    return None
