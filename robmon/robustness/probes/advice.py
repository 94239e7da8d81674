"""What a torch module's own operators say of how it takes noise: rules of arXiv 2509.20939, computed, never judged.

Operators are seen while the module runs once, so that functions count as layers do, and exported programs and
TorchScript as modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from robmon.robustness.jsonable import jsonable

Rule = Literal["stem_noise", "normalisation", "pooling", "downsampling"]
SOURCE: Final = "arXiv 2509.20939"
CONVOLUTIONS: Final = ("convolution", "_convolution", "mkldnn_convolution", "cudnn_convolution", "miopen_convolution")
MAXIMA: Final = ("max_pool2d_with_indices", "max_pool2d", "mkldnn_max_pool2d")
INTERPOLATIONS: Final = ("upsample_bilinear2d", "upsample_nearest2d", "upsample_bicubic2d", "_upsample_nearest_exact2d")
"""Without a filter before they leave pixels out."""
LOW_PASS: Final = 0.5
"""A filter is one where the size of the sum of its weights is at least this share of the sum of their sizes."""
HALF: Final = 0.5
"""Half of the range of pixels: the deviation by which Inception's normalisation divides."""
LARGEST_STD: Final = 5.0
"""That pixels of 0 to 1 may be divided by: what divides by more takes bytes, and is told as of pixels."""
BYTES: Final = 255.0
"""A division by it makes pixels of bytes, and is no normalisation."""


@dataclass(frozen=True)
class AdviceItem:
    """One thing that was read of a module.

    Attributes:
        rule: `stem_noise`, `normalisation`, `pooling` or `downsampling`.
        where: the part of the module, and the operator.
        read: what was read there.
        gain: of stem noise, pooling and downsampling the variance of the noise behind over that before, of white noise
            on a flat picture (of a maximum its mean square); of normalisation 0.5 over the smallest deviation.
        source: of the rule.
        measured: with inputs, noise over signal (mean squared change over variance) `before` and `after`.
        text: all of that in a sentence.
    """

    rule: Rule
    where: str
    read: dict[str, Any]
    gain: float
    text: str
    source: str = SOURCE
    measured: dict[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        names = ("rule", "where", "read", "gain", "source", "measured", "text")
        return {name: jsonable(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class Advice:
    """What was read of a module, the largest measured growth of noise first: advice, not a verdict.

    Attributes:
        items: one an operator of which a rule speaks.
        reason: why nothing was read; empty where something was.
    """

    items: tuple[AdviceItem, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"items": [item.to_dict() for item in self.items], "reason": self.reason}

    def __str__(self) -> str:
        if self.reason:
            return f"Advice, not a verdict: not readable, {self.reason}."
        lines = [
            "Advice, not a verdict: the measured curve decides.",
            *(f"{item.rule}: {item.text}" for item in self.items),
        ]
        return "\n".join(lines if self.items else [*lines, "No rule speaks of what was read."])


def advise_module(
    module: torch.nn.Module, example: torch.Tensor, noisy: tuple[torch.Tensor, torch.Tensor] | None = None
) -> Advice:
    """Read a module in eval mode.

    Args:
        module: takes one tensor.
        example: rows of it.
        noisy: rows, and the same with noise, with which what happens to noise is measured.
    """
    try:
        seen = _seen(module, example)
        measured = None if noisy is None else _measured(*(_seen(module, rows, keeps=True) for rows in noisy))
    except Exception as error:  # of the module, whose text may hold inputs
        return Advice(reason=f"the module cannot be run on the example ({type(error).__name__})")
    items = [
        item if measured is None else _with(item, measured[place])
        for place, operation in enumerate(seen)
        for item in _items(operation)
    ]
    return Advice(tuple(sorted(items, key=_growth, reverse=True)))


def _growth(item: AdviceItem) -> float:
    """How much noise over signal grows, where that was measured."""
    if item.measured is None or not item.measured["before"]:
        return 0.0
    return item.measured["after"] / item.measured["before"]


def _with(item: AdviceItem, measured: dict[str, float]) -> AdviceItem:
    told = f"{item.text}; measured: noise over signal {measured['before']:.3g} before, {measured['after']:.3g} after"
    return replace(item, measured=measured, text=told)


# --- what is seen -----------------------------------------------------------------------------------------------------


@dataclass
class _Operation:
    name: str
    where: str
    arguments: dict[str, Any]
    before: torch.Tensor
    after: torch.Tensor
    factor: torch.Tensor | None
    """What the input was multiplied by before, where nothing else happened to it."""


class _Looking(TorchDispatchMode):
    """Notes operators of which a rule speaks, and follows the input through constants that it is multiplied by."""

    def __init__(self, example: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.operations: list[_Operation] = []
        self.path: list[str] = [""]
        self._factors: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._follow(example, torch.ones(1, dtype=torch.float64))

    def _follow(self, tensor: torch.Tensor, factor: torch.Tensor) -> None:
        self._factors[id(tensor)] = (tensor, factor)  # held, so that its id stays its own

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        first = outputs[0] if isinstance(outputs, tuple) and outputs else outputs
        if args and isinstance(args[0], torch.Tensor) and isinstance(first, torch.Tensor):
            self._see(function, name, args, kwargs or {}, first)
        return outputs

    def _see(self, function: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any], after: torch.Tensor) -> None:
        known = self._factors.get(id(args[0]))
        factor = None if known is None else known[1]
        if name in (*CONVOLUTIONS, *MAXIMA, *INTERPOLATIONS, "avg_pool2d"):
            given = {
                argument.name: args[index] if index < len(args) else kwargs.get(argument.name, argument.default_value)
                for index, argument in enumerate(function._schema.arguments)
            }
            where = f"{self.path[-1] or 'forward'}: {name.lstrip('_')}, operation {len(self.operations)}"
            self.operations.append(_Operation(name, where, given, args[0], after, factor))
        elif factor is not None and name in ("mul", "div", "mul_", "div_"):
            by = torch.as_tensor(args[1]).detach().double().cpu()
            self._follow(after, factor * (by if name.startswith("mul") else 1.0 / by))
        elif factor is not None and name in (
            "sub",
            "add",
            "sub_",
            "add_",
            "clone",
            "_to_copy",
            "detach",
            "constant_pad_nd",
        ):
            self._follow(after, factor)


def _seen(module: torch.nn.Module, rows: torch.Tensor, *, keeps: bool = False) -> list[_Operation]:
    looking = _Looking(rows)
    with torch.no_grad(), _paths(module, looking.path), looking:
        module(rows)
    if not keeps:
        for operation in looking.operations:
            operation.before, operation.after = operation.before[:1], operation.after[:1]
    return looking.operations


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


def _measured(clean: Sequence[_Operation], noisy: Sequence[_Operation]) -> list[dict[str, float]]:
    def ratio(one: torch.Tensor, other: torch.Tensor) -> float:
        signal = float(one.double().var())
        return float(((other - one).double() ** 2).mean()) / signal if signal else math.inf

    return [
        {"before": ratio(one.before, other.before), "after": ratio(one.after, other.after)}
        for one, other in zip(clean, noisy, strict=True)
    ]


# --- the rules --------------------------------------------------------------------------------------------------------


def _items(operation: _Operation) -> list[AdviceItem]:
    if operation.name in CONVOLUTIONS:
        return _of_convolution(operation)
    if operation.name in INTERPOLATIONS:
        return _of_interpolation(operation)
    return _of_pool(operation)


def _of_convolution(operation: _Operation) -> list[AdviceItem]:
    weight = operation.arguments["weight"].detach().double().cpu()
    items = []
    if operation.factor is not None:
        channels = weight.shape[1]
        factor = operation.factor.flatten() if operation.factor.numel() in (1, channels) else None
        if factor is not None:
            items += _of_normalisation(operation, factor)
            items.append(_of_stem(operation, weight * factor.reshape(1, -1, *[1] * (weight.ndim - 2))))
    strides = [int(step) for step in operation.arguments["stride"]]
    if max(strides) > 1 and weight.ndim == 4:
        gain = float((weight**2).flatten(1).sum(dim=1).mean())
        kernel = " x ".join(map(str, weight.shape[2:]))
        text = (
            f"{operation.where}: a convolution of {kernel} leaves out all but every {max(strides)}. pixel, with no "
            f"filter before it but its own, which lets {gain:.3g} of the noise's variance through"
        )
        read = {"kernel": list(weight.shape[2:]), "stride": strides}
        items.append(AdviceItem("downsampling", operation.where, read, gain, text))
    return items


def _of_normalisation(operation: _Operation, factor: torch.Tensor) -> list[AdviceItem]:
    factors = factor.abs()
    if bool((factors == 1).all()) or bool(torch.isclose(factors, torch.tensor(1 / BYTES).double()).all()):
        return []
    as_pixels = factors * BYTES if float(factors.max()) < 1 / LARGEST_STD else factors
    deviations = (1.0 / as_pixels).tolist()
    gain = HALF / min(deviations)
    text = (
        f"{operation.where}: the input is divided by {min(deviations):.4g} at least, so that noise grows {gain:.4g} "
        f"times as much as by {HALF:g}, half of the range"
    )
    return [AdviceItem("normalisation", operation.where, {"std": deviations}, gain, text)]


def _of_stem(operation: _Operation, weight: torch.Tensor) -> AdviceItem:
    filters = weight.flatten(1)
    powers, sums = (filters**2).sum(dim=1), filters.sum(dim=1).abs()
    is_low = sums >= LOW_PASS * filters.abs().sum(dim=1)
    gain, count = float(powers.mean()), int(is_low.sum())
    kernel = " x ".join(map(str, weight.shape[2:]))
    low = f"{count} of {len(filters)} filters are low-pass"
    if count:
        ratio = float((powers[is_low] / sums[is_low] ** 2).mean())
        low += f", and those keep {ratio:.3g} of the noise's variance where they keep a flat picture"
    text = f"{operation.where}: filters of {kernel} make the noise's variance {gain:.3g} of the input's; {low}"
    read = {"kernel": list(weight.shape[2:]), "filters": len(filters), "low_pass": count}
    return AdviceItem("stem_noise", operation.where, read, gain, text)


def _of_pool(operation: _Operation) -> list[AdviceItem]:
    kernel = operation.arguments["kernel_size"]
    sides = [int(side) for side in kernel] * (1 if len(kernel) == 2 else 2)
    cells, what = math.prod(sides), " x ".join(map(str, sides))
    if operation.name == "avg_pool2d":
        gain = 1.0 / cells
        text = f"{operation.where}: the mean of {what} keeps {gain:.3g} of the noise's variance"
    else:
        gain = largest_square(cells)
        text = (
            f"{operation.where}: of a flat picture the largest of {what} is off by {gain:.3g} times the noise's "
            f"variance, where the mean is by {1 / cells:.3g}"
        )
    read = {"kernel": sides, "kind": "mean" if operation.name == "avg_pool2d" else "max"}
    return [AdviceItem("pooling", operation.where, read, gain, text)]


def largest_square(count: int) -> float:
    """The mean square of the largest of so many independent standard normal numbers.

    >>> [round(largest_square(count), 2) for count in (1, 4, 9, 16)]
    [1.0, 1.55, 2.56, 3.42]
    """
    places = np.linspace(-10, 10, 20_001)
    density = np.exp(-(places**2) / 2) / math.sqrt(2 * math.pi)
    below = np.cumsum(density) * (places[1] - places[0])
    return float(np.sum(places**2 * count * density * np.clip(below, 0, 1) ** (count - 1)) * (places[1] - places[0]))


def _of_interpolation(operation: _Operation) -> list[AdviceItem]:
    (height, width), (high, wide) = operation.before.shape[-2:], operation.after.shape[-2:]
    if high >= height and wide >= width:
        return []
    factor = (height / high) * (width / wide)
    noise = torch.randn(64, 1, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kind = operation.name.strip("_").removeprefix("upsample_").removesuffix("2d")
    mode: Any = {"nearest_exact": "nearest-exact"}.get(kind, kind)
    smaller = torch.nn.functional.interpolate(noise, (high, wide), mode=mode)
    gain = float(smaller.var() / noise.var())
    text = (
        f"{operation.where}: {kind} without a filter keeps {gain:.3g} of the noise's variance from {height} x {width} "
        f"to {high} x {wide}, where the mean of an area keeps {1 / factor:.3g}"
    )
    read = {"kind": kind, "from": [height, width], "to": [high, wide]}
    return [AdviceItem("downsampling", operation.where, read, gain, text)]
