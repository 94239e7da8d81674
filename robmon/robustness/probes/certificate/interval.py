"""Between which numbers each value of a module lies while its input moves within a ball, layer by layer.

Gowal et al., 2018 (arXiv 1810.12715). The first linear layer knows the ball itself, whatever its norm; what comes after
knows the box around each value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch

from robmon.robustness.probes.certificate.graph import Graph, Node, called, run, unknown
from robmon.robustness.probes.certificate.lipschitz import normalising_factors, summands
from robmon.robustness.probes.certificate.norms import Norm, rows_norm
from robmon.robustness.probes.certificate.operators import (
    FACTORS,
    MAXIMA,
    PRODUCTS,
    RISING,
    SHAPING,
    SUMS,
    VALLEYS,
)

ROUNDING: Final = 1e-12
"""What boxes are made larger by, of their size and of their place."""


@dataclass(frozen=True)
class Box:
    """Where a value lies: within `radius` of `centre`, cell by cell, shape `(rows, ...)` both.

    Attributes:
        is_apart: whether no cell of the input moves two of its cells, so that a sum of several moves by the norm of
            their moves, where the ball is of l2.
    """

    centre: torch.Tensor
    radius: torch.Tensor
    is_apart: bool = False

    @property
    def low(self) -> torch.Tensor:
        """The lower ends."""
        return self.centre - self.radius

    @property
    def high(self) -> torch.Tensor:
        """The upper ends."""
        return self.centre + self.radius

    def widened(self) -> Box:
        """The same, made larger by what float64 may have rounded."""
        return Box(self.centre, self.radius * (1.0 + ROUNDING) + ROUNDING * self.centre.abs(), is_apart=self.is_apart)


def boxes(graph: Graph, rows: torch.Tensor, moves: torch.Tensor, norm: Norm, asked: Iterable[Node]) -> dict[Node, Box]:
    """Where some of the values lie, for rows that move within a ball.

    Args:
        graph: whose output no box is made of, but of what is asked.
        rows: float64, `(rows, *input_shape)`.
        moves: how far each cell moves at most, by itself, of that shape but for the rows.
        norm: of the ball.
        asked: which values.

    Raises:
        UnreadableError: of one of the operations nothing is known.
    """
    wanted = set(asked)
    needed = set().union(*(graph.to(node).nodes for node in wanted)) if wanted else set()
    found = {graph.input: Box(rows, moves.expand_as(rows), is_apart=True)}
    for node in graph.nodes[1:]:
        if node in needed:
            found[node] = box_of(node, found, norm)
    return {node: found[node] for node in wanted}


def radius_of(
    graph: Graph, functions: dict[Node, torch.Tensor], around: dict[Node, Box], moves: torch.Tensor, norm: Norm
) -> torch.Tensor:
    """How far linear functions of bases, such as `Tail.rows` gives, change at most, shape `(rows, m)`."""
    rows = len(around[graph.input].centre)
    total = torch.zeros(rows, len(next(iter(functions.values()))), dtype=torch.float64)
    for node, matrix in functions.items():
        if node is graph.input:
            total += rows_norm(matrix * moves.reshape(-1), norm)
        else:
            total += around[node].radius.reshape(rows, -1) @ matrix.abs().T
    return total * (1.0 + ROUNDING)


def box_of(node: Node, found: dict[Node, Box], norm: Norm) -> Box:
    """Where a value lies, by where what it is of does.

    Raises:
        UnreadableError: of its operation nothing is known.
    """
    return _box(node, found, norm).widened()


def _box(node: Node, found: dict[Node, Box], norm: Norm) -> Box:
    name, sources = node.name, [found[source] for source in node.sources]
    if name in MAXIMA or name in RISING:
        return _between(called(node, sources[0].low), called(node, sources[0].high)) if _rises(node) else _none(node)
    if name in VALLEYS:
        return _valley(node, sources[0], VALLEYS[name])
    centre = run(node, lambda argument: _centres(argument, found), len(sources[0].centre))
    if name in SUMS:
        radius: Any = sum(found[each].radius * factor for each, factor in summands(node))
        return Box(centre, radius, is_apart=len(sources) == 1 and sources[0].is_apart)
    if name in ("cat", "stack"):
        return Box(centre, run(node, lambda argument: _radii(argument, found), len(centre)))
    box = sources[0]
    if name in PRODUCTS or node.operator.is_convolution:
        return Box(centre, _sums(node, box, norm))
    return Box(centre, _spread(node, box), is_apart=box.is_apart and name in _KEEPING)


_KEEPING: Final = SHAPING | FACTORS | {"batch_norm", "neg"}
"""Operators after which no cell of the input moves two cells, if none did before."""


def _none(node: Node) -> Box:
    raise unknown(f"{node.name} with a slope below 0")


def _rises(node: Node) -> bool:
    arguments = node.arguments
    if node.name == "leaky_relu":
        return bool(arguments["negative_slope"] >= 0)
    if node.name == "prelu":
        return bool((arguments["weight"] >= 0).all())
    if node.name == "elu":
        return bool(min(arguments["alpha"] * arguments["input_scale"], arguments["scale"]) >= 0)
    return node.name != "celu" or bool(arguments["alpha"] > 0)


def _between(low: torch.Tensor, high: torch.Tensor) -> Box:
    return Box((low + high) / 2, (high - low) / 2)


def _valley(node: Node, box: Box, bottom: float) -> Box:
    """The box of a function with one lowest place."""
    at_low, at_high = called(node, box.low), called(node, box.high)
    lowest = called(node, torch.full_like(box.centre[:1], bottom))[0]
    reaches = (box.low <= bottom) & (box.high >= bottom)
    return _between(torch.where(reaches, lowest, torch.minimum(at_low, at_high)), torch.maximum(at_low, at_high))


def _centres(argument: Any, found: dict[Node, Box]) -> Any:
    if isinstance(argument, Node):
        return found[argument].centre
    return [_centres(each, found) for each in argument] if isinstance(argument, list) else argument


def _radii(argument: Any, found: dict[Node, Box]) -> Any:
    if isinstance(argument, Node):
        return found[argument].radius
    return [_radii(each, found) for each in argument] if isinstance(argument, list) else argument


def _sums(node: Node, box: Box, norm: Norm) -> torch.Tensor:
    """The radius behind a product or a convolution: the sum of what each cell adds, or its root of squares."""
    power = 2 if norm == "2" and box.is_apart else 1
    sizes = {
        name: value.abs() ** power
        for name, value in node.arguments.items()
        if isinstance(value, torch.Tensor) and name in ("weight", "mat2", "other")
    }
    without = {"bias": None} if "bias" in node.arguments else {"self": torch.zeros(1).double()}
    without = without if node.name not in ("mm", "matmul") else {}
    if node.name == "addmm":
        sizes["alpha"] = abs(node.arguments["alpha"]) ** power
    summed = run(
        node,
        lambda argument: box.radius**power if isinstance(argument, Node) else argument,
        len(box.centre),
        **{**sizes, **without},
    )
    return summed if power == 1 else summed.sqrt()


def _spread(node: Node, box: Box) -> torch.Tensor:
    """The radius behind other linear operators, none of whose factors is below 0 once it is made positive."""
    name, arguments = node.name, node.arguments
    if name == "neg":
        return box.radius
    if name == "batch_norm":
        factors = normalising_factors(node).abs()
        return box.radius * factors.reshape(-1, *[1] * (box.radius.ndim - 2))
    if name in FACTORS:
        others = {"other": torch.as_tensor(arguments["other"]).double().abs()}
        return run(
            node, lambda argument: box.radius if isinstance(argument, Node) else argument, len(box.centre), **others
        )
    without = {"value": 0.0} if name == "pad" and arguments["mode"] == "constant" else {}
    return run(
        node, lambda argument: box.radius if isinstance(argument, Node) else argument, len(box.centre), **without
    )
