"""The affine end of a graph: outputs, and values between, as linear maps of the values before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from robmon.robustness.probes.certificate.graph import Graph, Node, is_affine

MOST_NUMBERS: Final = 1 << 25
"""Of a matrix that is made to be exact: a larger one is bounded layer by layer."""
MOST_VALUES: Final = 1 << 28
"""Numbers that may be held while it is made."""


@dataclass(frozen=True)
class Tail:
    """A value as the sum of linear maps of other values, and a constant.

    Attributes:
        target: the value.
        maps: of each of the others its matrix, shape `(cells of target, cells of the other)`.
    """

    target: Node
    maps: dict[Node, torch.Tensor]

    def rows(self, functions: torch.Tensor) -> dict[Node, torch.Tensor]:
        """Linear functions of the target, shape `(m, cells of target)`, as ones of the others."""
        return {node: functions @ matrix for node, matrix in self.maps.items()}


def bases(graph: Graph, target: Node) -> list[Node]:
    """The values of which a value is an affine map: the input, and what functions that are none give."""
    found: dict[Node, None] = {}
    seen, open_nodes = set(), [target]
    while open_nodes:
        node = open_nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if is_affine(node) and node is not graph.input:
            open_nodes += node.sources
        else:
            found[node] = None
    return list(found)


def tail_of(graph: Graph, target: Node, most: int = MOST_NUMBERS) -> Tail:
    """A value as an affine map of its bases; of itself, where the matrices would be too large."""
    known = bases(graph, target)
    widest = max(node.cells for node in graph.nodes)
    if (
        known == [target]
        or target.cells * sum(node.cells for node in known) > most
        or target.cells * widest > MOST_VALUES
    ):
        return Tail(target, {target: torch.eye(target.cells, dtype=torch.float64)})
    return Tail(target, dict(zip(known, _matrices(graph, target, known), strict=True)))


def _matrices(graph: Graph, target: Node, known: Sequence[Node]) -> list[torch.Tensor]:
    """By the gradients of the outputs, each of a row of its own: exact, but for the rounding of float64."""
    count = target.cells
    with torch.enable_grad():
        given = {node: torch.zeros(count, *node.shape[1:], dtype=torch.float64, requires_grad=True) for node in known}
        outputs = graph.evaluate(target, given).reshape(count, count)
        found = torch.autograd.grad(
            outputs, list(given.values()), torch.eye(count, dtype=torch.float64), allow_unused=True
        )
    return [
        torch.zeros(count, node.cells, dtype=torch.float64) if rows is None else rows.reshape(count, -1)
        for node, rows in zip(known, found, strict=True)
    ]
