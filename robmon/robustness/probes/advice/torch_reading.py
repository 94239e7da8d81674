"""Operators of a torch module, seen while it runs: functions count as layers do, exported and scripted modules too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.advice.operations import Convolution, Normalised, Operation, Pool, Resize, Seen, Slices
from robmon.robustness.probes.advice.rules import gain_of_weights, is_low_pass

CONVOLUTIONS: Final = {"convolution", "mkldnn_convolution", "cudnn_convolution", "miopen_convolution"}
MEANS: Final = {"avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3}
MAXIMA: Final = {
    "max_pool1d": 1,
    "max_pool1d_with_indices": 1,
    "max_pool2d": 2,
    "max_pool2d_with_indices": 2,
    "mkldnn_max_pool2d": 2,
    "max_pool3d": 3,
    "max_pool3d_with_indices": 3,
}
NORMS: Final = {"native_batch_norm", "native_batch_norm_legit_no_training", "cudnn_batch_norm", "miopen_batch_norm"}
SHIFTS: Final = {"add", "sub", "rsub", "clone", "to_copy", "detach", "alias", "constant_pad_nd", "reflection_pad2d"}
"""After which a cell still is the input's, times a constant, plus another."""
SHAPING: Final = {"view", "unsafe_view", "reshape", "unsqueeze", "squeeze"}
"""After which cells are the same ones under another shape."""
MOST_CONSTANTS: Final = 4096
"""Most cells of what an input is multiplied by, one a channel."""


class _Known:
    """What is known of tensors, as long as nothing changes them in place, through a view of theirs either.

    Torch counts the changes of a tensor, and says it of a new one or of one that was changed once the operator is
    through: by `settle`, before the next one.
    """

    def __init__(self) -> None:
        self._of: dict[int, tuple[torch.Tensor, int, Any]] = {}  # a tensor is held, so that its id stays its own
        self._new: list[int] = []

    def __contains__(self, tensor: torch.Tensor) -> bool:
        """Whether anything was known of it, ever."""
        return id(tensor) in self._of

    def add(self, tensor: torch.Tensor, what: Any) -> None:
        """Hold it."""
        self._of[id(tensor)] = (tensor, 0, what)
        self._new.append(id(tensor))

    def settle(self) -> None:
        """Take what is new as it is now."""
        for each in self._new:
            tensor, _, what = self._of[each]
            self._of[each] = (tensor, _changes(tensor), what)
        self._new.clear()

    def get(self, tensor: torch.Tensor) -> Any:
        """What is known of it as it is now, else None."""
        _, changes, what = self._of.get(id(tensor), (None, -1, None))
        return what if changes == _changes(tensor) else None


def _changes(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


class _Looking(TorchDispatchMode):
    """Notes operators of which a rule speaks, and follows the input through constants that it is multiplied by.

    A name of an operator is taken without the underscores around it, by which torch marks those that work in place.
    """

    def __init__(self, given: Sequence[torch.Tensor], factor: Float64 | None, *, keeps: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.seen: list[Seen] = []
        self.path: list[str] = [""]
        self._keeps = keeps
        self._factors, self._of_input, self._filtered, self._slices = (_Known() for _ in range(4))
        self._normalised: set[tuple[float, ...]] = set()
        self._count = 0
        for each in given:
            one = torch.ones(1, dtype=torch.float64) if factor is None else torch.as_tensor(factor)
            self._factors.add(each, (one, self._copy(each)))

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for known in (self._factors, self._filtered, self._slices):
            known.settle()
        outputs = function(*args, **kwargs)
        first = outputs[0] if isinstance(outputs, tuple | list) and outputs else outputs
        if args and isinstance(args[0], torch.Tensor) and isinstance(first, torch.Tensor):
            given = {
                argument.name: args[index] if index < len(args) else kwargs.get(argument.name, argument.default_value)
                for index, argument in enumerate(function._schema.arguments)
            }
            self._see(function, function.overloadpacket.__name__.strip("_"), given, args, first)
        return outputs

    def _see(self, function: Any, name: str, given: dict[str, Any], args: Sequence[Any], after: torch.Tensor) -> None:
        before = args[0]
        followed = self._factors.get(before)
        moved = None if followed is None else self._moved(name, given, args, followed[0], after)
        if followed is not None and moved is None:
            self._note_normalised(name, before, *followed)
        operation = self._operation(function, name, given, before, after)
        if operation is not None:
            self.seen.append(Seen(operation, self._copy(before), self._copy(after)))
        self._see_slice(name, given, before, after)
        if followed is not None and moved is not None:
            self._factors.add(after, (moved, followed[1]))
        elif after.numel() <= MOST_CONSTANTS and any(self._is_of_input(each) for each in args):
            self._of_input.add(after, True)

    def _copy(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """What it holds now: what comes next may work in place."""
        return tensor.detach().clone() if self._keeps else None

    def _where(self, name: str) -> str:
        """By the part that runs, the operator, and how many of which a rule speaks were before it."""
        self._count += 1
        return f"{self._named(name)}, operation {self._count - 1}"

    def _named(self, name: str) -> str:
        return f"{self.path[-1] or 'forward'}: {name}"

    # --- constants that the input is multiplied by --------------------------------------------------------------------

    def _is_of_input(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and (value in self._factors or value in self._of_input)

    def _moved(
        self, name: str, given: dict[str, Any], args: Sequence[Any], factor: torch.Tensor, after: torch.Tensor
    ) -> torch.Tensor | None:
        """The factor behind an operator; None where more happens to the input there than a constant."""
        others = [each for each in args[1:] if isinstance(each, torch.Tensor)]
        if any(self._is_of_input(each) or each.numel() > MOST_CONSTANTS for each in others):
            return None
        if name in ("mul", "div"):
            by = torch.as_tensor(args[1]).detach().double().cpu()
            return factor * (by if name == "mul" else 1.0 / by)
        if name in NORMS:
            return _spread(factor, after.ndim) * _of_batch_norm(given, after.ndim)
        if name in SHIFTS or (name == "slice" and _is_alike(factor, given["dim"], after.ndim)):
            return factor
        if name in SHAPING and factor.numel() == 1:
            return factor.reshape(1)
        if name == "permute":
            return _spread(factor, after.ndim).permute(given["dims"])
        return _spread(factor, after.ndim).transpose(given["dim0"], given["dim1"]) if name == "transpose" else None

    def _note_normalised(self, name: str, before: torch.Tensor, by: torch.Tensor, raw: torch.Tensor | None) -> None:
        factor = by.flatten().numpy()
        if before.ndim != 4 or factor.size > MOST_CONSTANTS or tuple(factor) in self._normalised:
            return
        self._normalised.add(tuple(factor))
        self.seen.append(Seen(Normalised(self._named(name), factor), raw, self._copy(before)))

    # --- operators ----------------------------------------------------------------------------------------------------

    def _operation(
        self, function: Any, name: str, given: dict[str, Any], before: torch.Tensor, after: torch.Tensor
    ) -> Operation | None:
        if name in CONVOLUTIONS:
            return None if given.get("transposed") else self._convolution(name, given, before, after)
        if name in MEANS or name in MAXIMA:
            count = (MEANS | MAXIMA)[name]
            kernel = tuple(map(int, given["kernel_size"]))
            pool = Pool(self._where(name), "mean" if name in MEANS else "max", kernel * (count // len(kernel)))
            if pool.kind == "mean":
                self._filtered.add(after, 1.0 / math.prod(pool.kernel))
            return pool
        if name.startswith("adaptive_") and after.ndim >= 4:
            return self._adaptive(name, before, after)
        return self._resize(function, name, given, before, after) if name.startswith("upsample_") else None

    def _convolution(
        self, name: str, given: dict[str, Any], before: torch.Tensor, after: torch.Tensor
    ) -> Convolution | None:
        weight = given["weight"].detach().double().cpu().numpy()
        groups = int(given["groups"])
        followed = self._factors.get(before)
        factor = None if followed is None else followed[0].flatten().numpy()
        if factor is not None and factor.size not in (1, weight.shape[1] * groups):
            factor = None
        if groups == before.shape[1] and is_low_pass(weight).all():
            self._filtered.add(after, float((weight**2).sum(axis=(1, *range(2, weight.ndim))).mean()))
        return Convolution(self._where(name), weight, tuple(map(int, given["stride"])), groups, factor)

    def _adaptive(self, name: str, before: torch.Tensor, after: torch.Tensor) -> Pool | None:
        """A pool whose kernel follows from the sizes; None where none is the same for all cells."""
        sizes = list(zip(before.shape[2:], after.shape[2:], strict=True))
        if any(large % small for large, small in sizes):
            return None
        kernel = tuple(large // small for large, small in sizes)
        return Pool(self._where(name), "max" if "max" in name else "mean", kernel)

    def _resize(
        self, function: Any, name: str, given: dict[str, Any], before: torch.Tensor, after: torch.Tensor
    ) -> Resize | None:
        sizes = [(int(side), int(small)) for side, small in zip(before.shape[2:], after.shape[2:], strict=True)]
        if len(sizes) != 2 or all(small >= side for side, small in sizes):
            return None
        along = [_weights(function, given, axis, *size) for axis, size in enumerate(sizes)]
        has_filter = name.endswith("_aa")
        kind = name.removeprefix("upsample_").removesuffix("_aa").removesuffix("2d").replace("_", " ")
        (height, high), (width, wide) = sizes
        gain = gain_of_weights(*along)
        return Resize(self._where(name), kind, (height, width), (high, wide), gain, has_filter)

    def _see_slice(self, name: str, given: dict[str, Any], before: torch.Tensor, after: torch.Tensor) -> None:
        """Slices of slices are one, which cuts along several axes."""
        if name != "slice" or before.ndim < 3 or given["step"] == 1:
            return
        axis = int(given["dim"]) % before.ndim
        source, first, seen = self._slices.get(before) or (before, None, None)
        begin = int(given["start"] or 0) % before.shape[axis]
        steps, starts = ({}, {}) if first is None else (first.steps, first.starts)
        if axis == 0 or axis in steps:
            return
        is_next = seen is not None and self.seen[-1] is seen
        where = seen.operation.where if is_next and seen is not None else self._where(name)
        cut = Slices(
            where, steps | {axis: int(given["step"])}, starts | {axis: begin}, source, self._filtered.get(source)
        )
        if seen is not None and is_next:
            seen.operation, seen.after = cut, self._copy(after)
        else:
            seen = Seen(cut, self._copy(source), self._copy(after))
            self.seen.append(seen)
        self._slices.add(after, (source, cut, seen))
        self._of_input.add(after, True)


def _spread(factor: torch.Tensor, rank: int) -> torch.Tensor:
    """A factor with as many axes as what it multiplies."""
    return factor.reshape(*[1] * (rank - factor.ndim), *factor.shape)


def _is_alike(factor: torch.Tensor, axis: int, rank: int) -> bool:
    return _spread(factor, rank).shape[axis] == 1


def _of_batch_norm(given: dict[str, Any], rank: int) -> torch.Tensor:
    variance: torch.Tensor = given["running_var"].detach().double().cpu()
    by: torch.Tensor = (variance + given.get("eps", given.get("epsilon", 0.0))).rsqrt()
    weight: torch.Tensor | None = given["weight"]
    if weight is not None:
        by = by * weight.detach().double().cpu()
    return by.reshape(-1, *[1] * (rank - 2))


def _weights(function: Any, given: dict[str, Any], axis: int, before: int, after: int) -> Float64:
    """How pixels are made of those before along one axis, shape `(after, before)`: by the operator itself."""
    if before == after:
        return np.eye(before)
    # A picture for each pixel, which alone is bright; two pixels wide, since torch filters nothing of pictures of one.
    pictures = torch.eye(before, dtype=torch.float64).reshape(before, 1, before, 1).repeat(1, 1, 1, 2)
    size, scale = [after, 2], given.get(f"scales_{'hw'[axis]}", given.get("scales"))
    if axis == 1:
        pictures, size = pictures.transpose(2, 3), [2, after]
    own = {next(iter(given)): pictures, "output_size": size, "scales_h": None, "scales_w": None}
    own[f"scales_{'hw'[axis]}"] = scale
    made = function(*(own.get(name, value) for name, value in given.items()))
    return np.asarray(made.select(3 - axis, 0).reshape(before, after).numpy().T)


def look_at(
    module: torch.nn.Module, arguments: Callable[[Any], Sequence[torch.Tensor]], factor: Float64 | None = None
) -> Callable[[Any, bool], list[Seen]]:
    """What runs a module on rows and tells its operators, see `advise.Look`.

    Args:
        module: in eval mode.
        arguments: what it is called with, of rows.
        factor: what the client has multiplied each channel by, shaped to be multiplied with the rows.
    """

    def look(rows: Any, keeps: bool) -> list[Seen]:
        given = [each.clone() for each in arguments(rows)]  # some modules work in place
        looking = _Looking(given, factor, keeps=keeps)
        with torch.no_grad(), _paths(module, looking.path), looking:
            module(*given)
        return looking.seen

    return look


@contextmanager
def _paths(module: torch.nn.Module, path: list[str]) -> Iterator[None]:
    """Keeps the name of the part that runs on top of the path."""
    hooks: list[Any] = []
    if not isinstance(module, torch.jit.ScriptModule):
        for name, part in module.named_modules():
            hooks.append(part.register_forward_pre_hook(lambda *_, name=name: path.append(name)))
            hooks.append(part.register_forward_hook(lambda *_: _left(path)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _left(path: list[str]) -> None:
    path.pop()
