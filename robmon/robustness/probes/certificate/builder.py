"""Makes the graph of a module out of the calls of operators that it does, and refuses those that may mix rows."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch

from robmon.robustness.probes.certificate.graph import (
    EXAMPLE_ROWS,
    Graph,
    Node,
    UnreadableError,
    computed,
    filled,
    nodes_in,
    unknown,
)
from robmon.robustness.probes.certificate.operators import KNOWN, TUPLES, Operator, of_rows, plain

IDENTITIES: Final = frozenset(
    {
        "alias", "clone", "contiguous", "detach", "detach_", "lift_fresh_copy", "lift_fresh", "to", "_to_copy",
        "type_as", "float", "double",
    }
)  # fmt: skip
DROPOUTS: Final = frozenset({"dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"})
SHAPES: Final[dict[str, Callable[[torch.Size], Any]]] = {
    "size": list,
    "sym_size": list,
    "dim": len,
    "numel": math.prod,
}
"""Operators that ask for the shape alone."""


@dataclass
class Builder:
    """Makes a graph, call by call, and computes it on an example along the way.

    What does not depend on the input is a constant, computed once; so is what depends on its shape alone.

    Attributes:
        example: the input, `EXAMPLE_ROWS` rows, float64.
    """

    example: torch.Tensor
    nodes: list[Node] = field(default_factory=list)
    values: dict[Node, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._add(Operator("input", {}, None), self.example)

    def _add(self, operator: Operator, value: torch.Tensor) -> Node:
        node = Node(operator, tuple(value.shape))
        self.nodes.append(node)
        self.values[node] = value
        return node

    def call(self, overload: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What an operator gives: a node, or a constant where it depends on no node.

        Raises:
            UnreadableError: nothing is known of it, or it mixes rows.
        """
        operator = Operator.of(overload, args, kwargs)
        name, sources = operator.name, list(nodes_in(operator.arguments.values()))
        if name in DROPOUTS:
            if operator.arguments["train"]:
                raise UnreadableError(f"{name} is random: the module is not in eval mode")
            return operator.arguments["input"]
        if torch.Tag.nondeterministic_seeded in overload.tags:
            raise UnreadableError(f"{name} is random") if _draws(operator.arguments) else unknown(name)
        if not sources:
            return exact(overload(*args, **kwargs))
        operator = _unrounded(operator)
        if name in SHAPES:
            asked = SHAPES[name](torch.Size(sources[0].shape))
            return asked[operator.arguments["dim"]] if operator.arguments.get("dim") is not None else asked
        if name in IDENTITIES or _is_all(operator):
            return sources[0]
        result = self._computed(plain(operator, sources[0].shape))
        return [result] if name in TUPLES else result

    def _computed(self, operator: Operator) -> Any:
        if operator.name not in KNOWN:
            raise unknown(operator.name)
        values = {name: filled(value, self.values) for name, value in operator.arguments.items()}
        value = computed(of_rows(Operator(operator.name, values, operator.overload), EXAMPLE_ROWS))
        node = self._add(operator, value)
        check_rows_apart(node)
        return node

    def graph(self, output: Any) -> Graph:
        """The graph, up to its output.

        Raises:
            UnreadableError: that is no node.
        """
        if not isinstance(output, Node):
            raise UnreadableError("its output does not depend on its input, or is none of its operators' outputs")
        return Graph(tuple(self.nodes), output)


def exact(value: Any) -> Any:
    """Floating constants on the CPU in float64, others as they are.

    Raises:
        UnreadableError: it holds less than single precision.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        check_precision(value.dtype)
        return value.double() if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return [exact(each) for each in value]
    return value


def check_precision(dtype: torch.dtype) -> None:
    """Raise where numbers are rounded to less than single precision."""
    if dtype.is_complex or (dtype.is_floating_point and torch.finfo(dtype).bits < 32):
        raise UnreadableError(f"it computes in {str(dtype).removeprefix('torch.')}, whose rounding no bound covers")


def _draws(arguments: Mapping[str, Any]) -> bool:
    """Whether an operator that may draw does: with its dropout on, where that is all it draws for."""
    is_training = bool(arguments.get("train", arguments.get("training", True)))
    return is_training and arguments.get("dropout", arguments.get("dropout_p")) != 0


DTYPES: Final = {6: torch.float32, 7: torch.float64}
"""Types of single precision and more, by the numbers that TorchScript has for them."""


def _unrounded(operator: Operator) -> Operator:
    """The same without a cast to another floating type.

    Raises:
        UnreadableError: it is to a type that rounds more than single precision does.
    """
    dtype, other = operator.arguments.get("dtype"), operator.arguments.get("other")
    if operator.name in IDENTITIES and isinstance(other, torch.Tensor):
        _check_floating(other.dtype)
    if dtype is None:
        return operator
    dtype = DTYPES.get(dtype, dtype)
    if not isinstance(dtype, torch.dtype):
        raise UnreadableError(f"it casts to another type ({operator.name}), whose rounding no bound covers")
    _check_floating(dtype)
    return replace(operator, arguments={**operator.arguments, "dtype": None})


def _check_floating(dtype: torch.dtype) -> None:
    """Raise where what depends on the input becomes other numbers than floating ones of single precision."""
    check_precision(dtype)
    if not dtype.is_floating_point:
        raise UnreadableError(f"it rounds to {str(dtype).removeprefix('torch.')}")


def check_value(value: Any, dtype: torch.dtype | None) -> None:
    """Raise where a node is, as torch says, of a type that rounds; None: torch does not say.

    Raises:
        UnreadableError: it is.
    """
    if isinstance(value, Node) and dtype is not None:
        _check_floating(dtype)


def _is_all(operator: Operator) -> bool:
    """Whether it takes all rows, as `x[:, 1:]` does before it takes columns."""
    arguments = operator.arguments
    return (
        operator.name == "slice"
        and (arguments["dim"], arguments["start"] or 0, arguments["step"]) == (0, 0, 1)
        and (arguments["end"] is None or arguments["end"] >= sys.maxsize)
    )


def check_rows_apart(node: Node) -> None:
    """Raise where an operator may mix rows, or spread one value over several cells of another.

    Raises:
        UnreadableError: it does.
    """
    mixing = UnreadableError(f"{node.name} mixes rows, or may")
    if not node.shape or node.shape[0] != EXAMPLE_ROWS:
        raise mixing
    arguments, rank = node.arguments, len(node.sources[0].shape)
    if not _keeps_rows(node, rank):
        raise mixing
    if node.operator.spatial_axes and rank < node.operator.spatial_axes + 1 + node.operator.is_convolution:
        raise mixing
    if not all(isinstance(part, Node) for part in arguments.get("tensors", ())):
        raise mixing
    if node.operator.is_elementwise:
        _check_broadcast(node, mixing)


def _keeps_rows(node: Node, rank: int) -> bool:
    """Whether what an operator does along an axis, it does along another one than that of rows."""
    arguments = node.arguments
    if node.name == "permute":
        return bool(arguments["dims"][0] % rank == 0)
    if node.name == "transpose":
        return 0 not in (arguments["dim0"] % rank, arguments["dim1"] % rank)
    if "dim" not in arguments:
        return True
    reach = rank + (node.name in ("unsqueeze", "stack"))
    along = [arguments["dim"]] if isinstance(arguments["dim"], int) else arguments["dim"]
    return bool(along) and 0 not in [axis % reach for axis in along]


def _check_broadcast(node: Node, mixing: UnreadableError) -> None:
    """Refuse sums and products with other values, unless these have the same shape or are alike for all rows."""
    for value in node.arguments.values():
        if isinstance(value, Node):
            if value.shape != node.shape:
                raise mixing
        elif isinstance(value, torch.Tensor) and (
            value.ndim > len(node.shape) or (value.ndim == len(node.shape) and value.shape[0] != 1)
        ):
            raise mixing
