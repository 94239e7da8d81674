"""What a torch module computes, as a graph of torch's own operators: read elsewhere, evaluated in float64 here.

Rows are axis 0 of every value, and no operator may mix them: one that does is refused, as is one of which nothing is
known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from robmon.robustness.probes.certificate.operators import AFFINE, FINAL, Operator, of_rows

EXAMPLE_ROWS: Final = 2
"""With which a module is read: one row would be taken for an axis that is not there."""


class UnreadableError(Exception):
    """The module cannot be read; its text is the reason."""


def unknown(operation: str) -> UnreadableError:
    """The reason that names an operation."""
    return UnreadableError(f"nothing is known of the operation {operation}")


@dataclass(frozen=True, eq=False)
class Node:
    """One value: an operator, of other values and of constants.

    Attributes:
        operator: its name and what it is called with, by the names of torch's schema; empty of the input.
        shape: with `EXAMPLE_ROWS` rows.
    """

    operator: Operator
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The operator's name; `input` of the input."""
        return self.operator.name

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of the operator; nodes among them are what it depends on."""
        return self.operator.arguments

    @property
    def cells(self) -> int:
        """Numbers a row."""
        return math.prod(self.shape[1:])

    @property
    def sources(self) -> tuple[Node, ...]:
        """The nodes that it is computed of."""
        return tuple(nodes_in(self.arguments.values()))


def nodes_in(values: Iterable[Any]) -> Iterator[Node]:
    """The nodes among arguments, in lists too."""
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from nodes_in(value)


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be computed."""

    nodes: tuple[Node, ...]
    output: Node

    @property
    def input(self) -> Node:
        """The module's argument."""
        return self.nodes[0]

    def to(self, output: Node) -> Graph:
        """The part of it that another node needs."""
        needed = _needed(output, ())
        return Graph(tuple(node for node in self.nodes if node in needed or node is self.input), output)

    def evaluate(self, target: Node, given: Mapping[Node, torch.Tensor]) -> torch.Tensor:
        """The value of a node where those of others are given, of which it depends alone; float64."""
        values = dict(given)
        rows = len(next(iter(given.values())))
        needed = _needed(target, given)
        for node in self.nodes:
            if node in needed and node not in values:
                values[node] = run(node, lambda argument: filled(argument, values), rows)
        return values[target]


def run(node: Node, fill: Callable[[Any], Any], rows: int, **others: Any) -> torch.Tensor:
    """Call a node's operator, each of its arguments filled in, on so many rows; `others` replace arguments."""
    arguments = {name: fill(value) for name, value in node.arguments.items()} | others
    return computed(of_rows(Operator(node.name, arguments, node.operator.overload), rows))


def called(node: Node, value: torch.Tensor) -> torch.Tensor:
    """What an operator of one value gives of another one."""
    return run(node, lambda argument: value if isinstance(argument, Node) else argument, len(value))


def computed(operator: Operator) -> torch.Tensor:
    """What a call of tensors gives.

    Raises:
        UnreadableError: torch refuses it.
    """
    try:
        result: torch.Tensor = operator.call()
    except (RuntimeError, TypeError, ValueError, IndexError) as error:  # whose text may hold inputs
        raise UnreadableError(f"what was read of it cannot be computed ({operator.name})") from error
    return result


def filled(argument: Any, values: Mapping[Node, torch.Tensor]) -> Any:
    """An argument with the values of the nodes in it."""
    if isinstance(argument, Node):
        return values[argument]
    if isinstance(argument, (list, tuple)):
        return [filled(each, values) for each in argument]
    return argument


def _needed(target: Node, given: Iterable[Node]) -> set[Node]:
    found, open_nodes, stops = set(), [target], set(given)
    while open_nodes:
        node = open_nodes.pop()
        if node not in found:
            found.add(node)
            open_nodes += () if node in stops else node.sources
    return found


def is_affine(node: Node) -> bool:
    """Whether it is a linear map of its sources and a constant."""
    return node.name in AFFINE


def refuse_inner(graph: Graph) -> None:
    """Raise where an operation that is understood as a module's last one alone is not its last.

    Raises:
        UnreadableError: that is so.
    """
    for node in graph.nodes:
        if node.name in FINAL:
            raise unknown(node.name)
