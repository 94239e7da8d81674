"""Between which two lines a function of each cell lies while what it is of lies in a box: exact, or a little wider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from robmon.robustness.probes.certificate.graph import Node, called, unknown
from robmon.robustness.probes.certificate.interval import ROUNDING, Box
from robmon.robustness.probes.certificate.operators import MOST_JUMP

CELLS: Final = 16
"""Parts of a box at whose ends a function that bends is asked."""


@dataclass(frozen=True)
class Line:
    """`slope * x + at`, cell by cell, `(rows, ...)` both."""

    slope: torch.Tensor
    at: torch.Tensor


@dataclass(frozen=True)
class Bend:
    """What is known of the second derivative of a function of each cell.

    Attributes:
        kinks: of its arguments, the places where it has none.
        curvature: of its arguments, the largest size that it has elsewhere, rounded up.
        jump: by which values beside a kink may differ.
    """

    kinks: Callable[[Mapping[str, Any]], list[Any]] = lambda _: []
    curvature: Callable[[Mapping[str, Any]], float] = lambda _: 0.0
    jump: float = 0.0


def _at(*places: float) -> Callable[[Mapping[str, Any]], list[Any]]:
    return lambda _: list(places)


def _bounds(*names: str) -> Callable[[Mapping[str, Any]], list[Any]]:
    return lambda arguments: [arguments[name] for name in names if arguments[name] is not None]


def _most(curvature: float) -> Callable[[Mapping[str, Any]], float]:
    return lambda _: curvature


def _elu(arguments: Mapping[str, Any]) -> float:
    return abs(float(arguments["scale"]) * float(arguments["alpha"])) * float(arguments["input_scale"]) ** 2


BENDS: Final = {
    **dict.fromkeys(("relu", "leaky_relu", "prelu", "abs"), Bend(_at(0.0))),
    "relu6": Bend(_at(0.0, 6.0)),
    "hardtanh": Bend(_bounds("min_val", "max_val")),
    "clamp": Bend(_bounds("min", "max")),
    "clamp_min": Bend(_bounds("min")),
    "clamp_max": Bend(_bounds("max")),
    "hardsigmoid": Bend(_at(-3.0, 3.0)),
    "hardswish": Bend(_at(-3.0, 3.0), _most(1.0 / 3.0 + 1e-9)),
    "elu": Bend(_at(0.0), _elu),
    "celu": Bend(_at(0.0), lambda arguments: 1.0 / abs(float(arguments["alpha"]))),
    "selu": Bend(_at(0.0), _most(1.7580993408473769)),
    "tanh": Bend(curvature=_most(0.7698004)),
    "sigmoid": Bend(curvature=_most(0.0962251)),
    "log_sigmoid": Bend(curvature=_most(0.25)),
    "softplus": Bend(
        lambda arguments: [float(arguments["threshold"]) / float(arguments["beta"])],
        lambda arguments: 0.25 * float(arguments["beta"]),
        MOST_JUMP,
    ),
    "gelu": Bend(curvature=_most(0.7978846)),
    "gelu of tanh": Bend(curvature=_most(0.7978846)),
    "silu": Bend(curvature=_most(0.5)),
}
"""Of functions of each cell; `tests/robustness/test_crown.py` looks for steeper changes of slope."""


def lines(node: Node, box: Box, values: Box) -> tuple[Line, Line]:
    """One line below a function of each cell, and one above it, on a box.

    Each is the nearest in the middle of three: through both ends, along the function there, and level. Of ReLU that is
    CROWN's own choice (Zhang et al., NeurIPS 2018, section 3.3). How far a line must be moved to be on its side is
    asked of the function at its kinks and at places between which it is off a straight line by its curvature times
    their distance squared, over 8, at most.

    Args:
        node: the function, one of `BENDS`.
        box: where what it is of lies.
        values: where it lies itself.

    Raises:
        UnreadableError: of the function no lines are known.
    """
    if node.name not in BENDS:
        raise unknown(f"{node.name} between lines")
    bend, low, high = BENDS[node.name], box.low, box.high
    width = high - low
    curvature = bend.curvature(node.arguments)
    parts = CELLS if curvature else 1
    places = [low + width * (part / parts) for part in range(parts + 1)]
    places += [torch.as_tensor(kink, dtype=torch.float64).clamp(low, high) for kink in bend.kinks(node.arguments)]
    asked = [(place, called(node, place)) for place in places]
    slack = curvature * (width / parts) ** 2 / 8.0 + bend.jump
    chord = torch.where(width > 0, (called(node, high) - called(node, low)) / width, 0.0)
    level = torch.zeros_like(width)
    below, above = Line(level, values.low), Line(level, values.high)
    for slope in (chord, _slope(node, box.centre)):
        beyond = [value - slope * place for place, value in asked]
        rounding = slack + ROUNDING * torch.stack([each.abs() for each in beyond]).amax(dim=0)
        below = _nearer(Line(slope, torch.stack(beyond).amin(dim=0) - rounding), below, box.centre, side=1.0)
        above = _nearer(Line(slope, torch.stack(beyond).amax(dim=0) + rounding), above, box.centre, side=-1.0)
    return below, above


def bends_in(node: Node, box: Box) -> torch.Tensor:
    """In which cells of a box a function may be no straight line; of what is none of `BENDS`, in all."""
    bend = BENDS.get(node.name)
    if bend is None or bend.curvature(node.arguments):
        return torch.ones_like(box.centre, dtype=torch.bool)
    kinks = [torch.as_tensor(kink, dtype=torch.float64) for kink in bend.kinks(node.arguments)]
    return torch.stack([(box.low < kink) & (kink < box.high) for kink in kinks]).any(dim=0)


def _slope(node: Node, place: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        given = place.detach().requires_grad_()
        (slope,) = torch.autograd.grad(called(node, given).sum(), given)
    return slope


def _nearer(line: Line, other: Line, place: torch.Tensor, *, side: float) -> Line:
    """Cell by cell the line that is higher at a place; by a side of -1 the lower one."""
    is_first = side * (line.slope * place + line.at) > side * (other.slope * place + other.at)
    return Line(torch.where(is_first, line.slope, other.slope), torch.where(is_first, line.at, other.at))
