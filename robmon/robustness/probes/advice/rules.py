"""The rules of arXiv 2509.20939, computed of operators: what becomes of noise, never a judgement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import singledispatch
from typing import Any, Final

import numpy as np

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.advice.operations import Convolution, Normalised, Operation, Pool, Resize, Slices
from robmon.robustness.probes.advice.result import AdviceItem

LOW_PASS: Final = 0.5
"""A filter is one where the size of the sum of its weights is at least this share of the sum of their sizes."""
HALF: Final = 0.5
"""Half of the range of pixels: the deviation by which Inception's normalisation divides."""
LARGEST_STD: Final = 5.0
"""That pixels of 0 to 1 may be divided by: what divides by more takes bytes, and is told as of pixels."""
BYTES: Final = 255.0
"""A division by it makes pixels of bytes, and is no normalisation."""


@singledispatch
def items_of(operation: Any) -> list[AdviceItem]:
    """What the rules say of an operator."""
    raise TypeError(type(operation))


@items_of.register
def _(operation: Convolution) -> list[AdviceItem]:
    items = []
    if operation.factor is not None:
        items.append(_of_stem(operation, _normalised(operation, operation.factor)))
    if max(operation.strides, default=1) > 1:
        gain = float((operation.weight**2).reshape(len(operation.weight), -1).sum(axis=1).mean())
        kernel = operation.weight.shape[2:]
        text = (
            f"{operation.where}: a convolution of {_sides(kernel)} leaves out all but every {max(operation.strides)}. "
            f"pixel, with no filter before it but its own, which lets {gain:.3g} of the noise's variance through"
        )
        read = {"kernel": list(kernel), "stride": list(operation.strides)}
        items.append(AdviceItem("downsampling", operation.where, read, gain, text))
    return items


def _normalised(operation: Convolution, factor: Float64) -> Float64:
    """The weights by the input as it was before it was normalised."""
    filters, channels = operation.weight.shape[:2]
    factors = np.broadcast_to(factor, (channels * operation.groups,)).reshape(operation.groups, channels)
    of_filter = np.repeat(factors, filters // operation.groups, axis=0)
    return operation.weight * of_filter.reshape(filters, channels, *[1] * (operation.weight.ndim - 2))


def is_low_pass(weight: Float64) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which filters pass a flat picture on rather than edges, shape `(filters,)`.

    >>> is_low_pass(np.array([[1.0, 1.0], [1.0, -1.0]]))
    array([ True, False])
    """
    filters = weight.reshape(len(weight), -1)
    sizes = np.abs(filters).sum(axis=1)
    return np.asarray((np.abs(filters.sum(axis=1)) >= LOW_PASS * sizes) & (sizes > 0))


def _of_stem(operation: Convolution, weight: Float64) -> AdviceItem:
    filters = weight.reshape(len(weight), -1)
    powers, sums = (filters**2).sum(axis=1), np.abs(filters.sum(axis=1))
    is_low = is_low_pass(weight)
    gain, count = float(powers.mean()), int(is_low.sum())
    low = f"{count} of {len(filters)} filters are low-pass"
    read: dict[str, Any] = {"kernel": list(weight.shape[2:]), "filters": len(filters), "low_pass": count}
    if count:
        read["low_pass_gain"] = float((powers[is_low] / sums[is_low] ** 2).mean())
        low += f", and those keep {read['low_pass_gain']:.3g} of the noise's variance where they keep a flat picture"
    text = (
        f"{operation.where}: filters of {_sides(weight.shape[2:])} make the noise's variance {gain:.3g} of the "
        f"input's; {low}"
    )
    return AdviceItem("stem_noise", operation.where, read, gain, text)


@items_of.register
def _(operation: Normalised) -> list[AdviceItem]:
    factors = np.abs(operation.factor)
    if np.all(factors == 1) or np.allclose(factors, 1 / BYTES) or not np.all(np.isfinite(factors) & (factors > 0)):
        return []
    as_pixels = factors * BYTES if float(factors.max()) < 1 / LARGEST_STD else factors
    deviations = (1.0 / as_pixels).tolist()
    gain = HALF / min(deviations)
    text = (
        f"{operation.where}: the input is divided by {min(deviations):.4g} at least, so that noise grows {gain:.4g} "
        f"times as much as by {HALF:g}, half of the range"
    )
    return [AdviceItem("normalisation", operation.where, {"std": deviations}, gain, text)]


@items_of.register
def _(operation: Pool) -> list[AdviceItem]:
    cells, what = math.prod(operation.kernel), _sides(operation.kernel)
    if operation.kind == "mean":
        gain = 1.0 / cells
        text = f"{operation.where}: the mean of {what} keeps {gain:.3g} of the noise's variance"
    else:
        gain = largest_square(cells)
        text = (
            f"{operation.where}: of a flat picture the largest of {what} is off by {gain:.3g} times the noise's "
            f"variance, where the mean is by {1 / cells:.3g}"
        )
    return [
        AdviceItem("pooling", operation.where, {"kernel": list(operation.kernel), "kind": operation.kind}, gain, text)
    ]


def largest_square(count: int) -> float:
    """The mean square of the largest of so many independent standard normal numbers.

    >>> [round(largest_square(count), 2) for count in (1, 4, 9, 16)]
    [1.0, 1.55, 2.56, 3.42]
    """
    places = np.linspace(-10, 10, 20_001)
    density = np.exp(-(places**2) / 2) / math.sqrt(2 * math.pi)
    below = np.cumsum(density) * (places[1] - places[0])
    return float(np.sum(places**2 * count * density * np.clip(below, 0, 1) ** (count - 1)) * (places[1] - places[0]))


@items_of.register
def _(operation: Resize) -> list[AdviceItem]:
    area = math.prod(operation.after) / math.prod(operation.before)
    how = "with" if operation.has_filter else "without"
    text = (
        f"{operation.where}: {operation.kind} {how} a filter keeps {operation.gain:.3g} of the noise's variance from "
        f"{_sides(operation.before)} to {_sides(operation.after)}, where the mean of an area keeps {area:.3g}"
    )
    read = {
        "kind": operation.kind,
        "from": list(operation.before),
        "to": list(operation.after),
        "filter": operation.has_filter,
    }
    return [AdviceItem("downsampling", operation.where, read, operation.gain, text)]


def gain_of_weights(*along: Float64) -> float:
    """What is left of white noise of variance 1 where pixels are made of others by weights, one axis after another.

    Args:
        along: of each axis the weights, shape `(pixels after, pixels before)`.

    >>> gain_of_weights(np.full((1, 2), 0.5), np.full((3, 4), 0.25))
    0.125
    """
    return math.prod(float((weights**2).sum(axis=1).mean()) for weights in along)


@items_of.register
def _(operation: Slices) -> list[AdviceItem]:
    gain = 1.0 if operation.filter_gain is None else operation.filter_gain
    steps = sorted(operation.steps.items())
    kept = 1.0 / math.prod(step for _, step in steps)
    filtered = "without a filter before it" if operation.filter_gain is None else "behind a filter"
    text = (
        f"{operation.where}: a slice of every {_sides([step for _, step in steps])}. pixel, {filtered}, keeps "
        f"{gain:.3g} of the noise's variance, where the mean of an area keeps {kept:.3g}"
    )
    read = {"axes": [axis for axis, _ in steps], "step": [step for _, step in steps]}
    return [AdviceItem("downsampling", operation.where, read, gain, text)]


def without_shared(operations: Sequence[Operation]) -> list[bool]:
    """Which operators stand: all but slices that together keep every pixel, as those from space to depth do."""
    slices = [each for each in operations if isinstance(each, Slices)]

    def keeps_all(one: Slices) -> bool:
        alike = [each for each in slices if each.source is one.source and each.steps == one.steps]
        starts = {tuple(each.starts[axis] % step for axis, step in one.steps.items()) for each in alike}
        return len(starts) == math.prod(one.steps.values())

    return [not (isinstance(each, Slices) and keeps_all(each)) for each in operations]


def of_resolutions(own: tuple[int, int], others: Iterable[tuple[str, tuple[int, int]]]) -> list[AdviceItem]:
    """What other versions say whose pictures have another size.

    Args:
        own: height and width of the model's pictures.
        others: versions by name, with theirs.

    >>> [(item.gain, item.read) for item in of_resolutions((224, 224), [("2", (112, 112)), ("3", (224, 224))])]
    [(0.25, {'own': [224, 224], 'version': '2', 'other': [112, 112]})]
    """
    items = []
    for version, other in others:
        if other == own:
            continue
        gain = math.prod(other) / math.prod(own)
        left = (
            f"brought to that by the mean of an area, {gain:.3g} of the noise's variance is left"
            if gain < 1
            else f"brought from that to this by the mean of an area, {1 / gain:.3g} of the noise's variance is left"
        )
        text = f"the input is of {_sides(own)}, and version {version} takes {_sides(other)}: {left}"
        read = {"own": list(own), "version": version, "other": list(other)}
        items.append(AdviceItem("resolution", "input", read, gain, text))
    return items


def _sides(sides: Iterable[int]) -> str:
    return " x ".join(map(str, sides))
