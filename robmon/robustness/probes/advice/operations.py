"""Operators of which a rule speaks, as they were read of a model, whatever it was read of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from robmon.robustness.arrays import Float64


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution.

    Attributes:
        where: the part of the model, and the operator.
        weight: shape `(filters, channels a group, *kernel)`.
        strides: along each axis of the kernel.
        groups: of channels.
        factor: what each channel of the input was multiplied by before, shape `(channels,)`, where nothing else
            happened to it; None: more did.
    """

    where: str
    weight: Float64
    strides: tuple[int, ...]
    groups: int = 1
    factor: Float64 | None = None


@dataclass(frozen=True)
class Pool:
    """A mean or a maximum of so many cells along each axis."""

    where: str
    kind: Literal["mean", "max"]
    kernel: tuple[int, ...]


@dataclass(frozen=True)
class Resize:
    """A picture made smaller.

    Attributes:
        where: the part of the model, and the operator.
        kind: how, in words.
        before, after: height and width.
        gain: the variance of white noise behind over that before.
        has_filter: whether a low-pass stands before pixels are left out.
    """

    where: str
    kind: str
    before: tuple[int, int]
    after: tuple[int, int]
    gain: float
    has_filter: bool


@dataclass(eq=False)
class Slices:
    """A strided slice.

    Attributes:
        where: the part of the model, and the operator.
        steps: by axis, more than 1.
        starts: by axis.
        source: what it was cut out of: other slices of it may have what this one leaves out.
        filter_gain: the variance that a low-pass before it leaves of noise; None: there is none.
    """

    where: str
    steps: dict[int, int]
    starts: dict[int, int]
    source: Any = field(repr=False)
    filter_gain: float | None = None


@dataclass(frozen=True, eq=False)
class Normalised:
    """An input whose channels were multiplied by a constant each, before anything else.

    Attributes:
        where: the part of the model, and the operator that takes it.
        factor: shape `(channels,)`, or one for all.
    """

    where: str
    factor: Float64


Operation = Convolution | Pool | Resize | Slices | Normalised


@dataclass(eq=False)
class Seen:
    """An operator in one pass, with what went in and what came out of it, where that was kept."""

    operation: Operation
    before: Any = None
    after: Any = None
