"""Operators of a graph of ONNX, seen while ONNX Runtime runs it with what lies between them as further outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.advice.operations import Convolution, Normalised, Operation, Pool, Resize, Seen, Slices
from robmon.robustness.probes.advice.rules import gain_of_weights, is_low_pass

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Any, Sequence[str]], Arrays]
"""`run(rows, names)`: those outputs, by name."""
Open = Callable[[bytes], Run]
"""Makes a serialised model one that runs."""
OF_INTEREST: Final = ("Conv", "MaxPool", "AveragePool", "Resize", "Upsample", "Slice")
SHIFTS: Final = ("Add", "Sub", "Cast", "Identity", "Pad")
"""After which a cell still is the input's, times a constant, plus another."""
SHAPING: Final = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
"""After which cells are the same ones under another shape."""


class GraphLook:
    """What runs a graph on rows and tells its operators, see `advise.Look`.

    Args:
        file: of the model.
        open_model: makes it one that runs.
        factor: what the client has multiplied each channel by, shaped to be multiplied with the rows.
    """

    def __init__(self, file: Path, open_model: Open, factor: Float64 | None = None) -> None:
        self._model, self._open = onnx.load(str(file)), open_model
        self._factor = np.ones(1) if factor is None else factor
        self._read: tuple[list[_Place], list[str], Run] | None = None

    def __call__(self, rows: Any, keeps: bool) -> list[Seen]:
        if self._read is None:
            places = _Reading(self._model.graph, self._constants(rows), self._factor).places()
            between = list(dict.fromkeys(name for each in places for name in (each.before, each.after)))
            self._read = places, between, self._with_outputs(between)
        places, names, run = self._read
        arrays = run(rows, names) if names else {}
        seen = []
        for place in places:
            operation = place.operation(arrays[place.before], arrays[place.after], self._open)
            if operation is not None:
                kept = (arrays[place.before], arrays[place.after]) if keeps else (None, None)
                seen.append(Seen(operation, *kept))
        return seen

    def _constants(self, rows: Any) -> dict[str, NDArray[Any]]:
        """All that is the same whatever the input: initializers, and what is computed of them."""
        known = {each.name: numpy_helper.to_array(each) for each in self._model.graph.initializer}
        computed: list[str] = []
        for node in self._model.graph.node:
            if all(name in known or name in computed for name in node.input if name) and not _is_random(node):
                computed += node.output
        return known | dict(self._with_outputs(computed)(rows, computed) if computed else {})

    def _with_outputs(self, names: Iterable[str]) -> Run:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        there = {each.name for each in (*model.graph.output, *model.graph.input)}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in there)
        return self._open(model.SerializeToString())


@dataclass(frozen=True, eq=False)
class _Place:
    """Where an operator stands: names of what goes in and comes out, and what makes it of those."""

    before: str
    after: str
    operation: Callable[[NDArray[Any], NDArray[Any], Open], Operation | None]


def _is_random(node: onnx.NodeProto) -> bool:
    return node.op_type.startswith("Random") or any(each.type == onnx.AttributeProto.GRAPH for each in node.attribute)


class _Reading:
    """Walks the nodes in their order, and follows the inputs through constants that they are multiplied by."""

    def __init__(self, graph: onnx.GraphProto, constants: dict[str, NDArray[Any]], factor: Float64) -> None:
        self._graph, self._constants = graph, constants
        inputs = [each.name for each in graph.input if each.name not in constants]
        self._factors: dict[str, tuple[Float64, str]] = {name: (factor, name) for name in inputs}
        self._filtered: dict[str, float] = {}
        self._slices: dict[str, tuple[str, Slices, int]] = {}
        self._normalised: set[tuple[float, ...]] = set()
        self._places: list[_Place] = []
        self._count = 0

    def places(self) -> list[_Place]:
        """All operators of which a rule speaks."""
        for node in self._graph.node:
            if not node.input or node.output[0] in self._constants:
                continue
            given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            followed = self._factors.get(node.input[0])
            moved = None if followed is None else self._moved(node, given, followed[0])
            if followed is not None and moved is None:
                self._note_normalised(node, *followed)
            if node.op_type in OF_INTEREST:
                self._note(node, given)
            if followed is not None and moved is not None:
                self._factors[node.output[0]] = (moved, followed[1])
        return self._places

    def _where(self, node: onnx.NodeProto) -> str:
        self._count += 1
        return f"{_named(node)}, operation {self._count - 1}"

    def _moved(self, node: onnx.NodeProto, given: dict[str, Any], factor: Float64) -> Float64 | None:
        """The factor behind a node; None where more happens to the input there than a constant."""
        if node.op_type in SHAPING:
            return factor.reshape(1) if factor.size == 1 else None
        others = [self._constants.get(name) for name in node.input[1:] if name]
        if any(each is None for each in others):
            return None
        if node.op_type in ("Mul", "Div"):
            by = np.asarray(others[0], dtype=np.float64)
            return factor * (by if node.op_type == "Mul" else 1.0 / by)
        if node.op_type == "BatchNormalization":
            scale, _, _, variance = (np.asarray(each, dtype=np.float64) for each in others)
            by = np.asarray(scale / np.sqrt(variance + given.get("epsilon", 1e-5)), dtype=np.float64)
            return np.asarray(_spread(factor, 4) * by.reshape(1, -1, 1, 1))
        if node.op_type == "Slice" and factor.size == 1:
            return factor
        if node.op_type == "Transpose" and "perm" in given:
            return np.transpose(_spread(factor, len(given["perm"])), given["perm"])
        return factor if node.op_type in SHIFTS else None

    def _note_normalised(self, node: onnx.NodeProto, factor: Float64, source: str) -> None:
        by = factor.ravel()
        if tuple(by) in self._normalised:
            return
        self._normalised.add(tuple(by))
        where = _named(node)

        def operation(before: NDArray[Any], after: NDArray[Any], _: Open) -> Operation | None:
            return Normalised(where, by) if after.ndim == 4 else None

        self._places.append(_Place(source, node.input[0], operation))

    def _note(self, node: onnx.NodeProto, given: dict[str, Any]) -> None:
        if node.op_type == "Slice":
            self._note_slice(node)
            return
        made = {"Conv": self._convolution, "Resize": self._resize, "Upsample": self._resize}.get(
            node.op_type, self._pool
        )(node, given)
        if made is not None:
            self._places.append(_Place(node.input[0], node.output[0], made))

    def _convolution(self, node: onnx.NodeProto, given: dict[str, Any]) -> Any:
        weight = self._constants.get(node.input[1])
        if weight is None:
            return None
        weight = np.asarray(weight, dtype=np.float64)
        groups = int(given.get("group", 1))
        followed = self._factors.get(node.input[0])
        factor = None if followed is None else followed[0].ravel()
        if factor is not None and factor.size not in (1, weight.shape[1] * groups):
            factor = None
        if groups > 1 and weight.shape[1] == 1 and is_low_pass(weight).all():
            self._filtered[node.output[0]] = float((weight**2).sum(axis=tuple(range(1, weight.ndim))).mean())
        strides = tuple(map(int, given.get("strides", [1])))
        found = Convolution(self._where(node), weight, strides, groups, factor)
        return lambda before, after, _: found

    def _pool(self, node: onnx.NodeProto, given: dict[str, Any]) -> Any:
        found = Pool(
            self._where(node), "max" if node.op_type == "MaxPool" else "mean", tuple(map(int, given["kernel_shape"]))
        )
        if found.kind == "mean":
            self._filtered[node.output[0]] = 1.0 / math.prod(found.kernel)
        return lambda before, after, _: found

    def _resize(self, node: onnx.NodeProto, given: dict[str, Any]) -> Any:
        where, has_filter = self._where(node), bool(given.get("antialias", 0))
        kind = given.get("mode", b"nearest").decode()

        def operation(before: NDArray[Any], after: NDArray[Any], open_model: Open) -> Operation | None:
            if before.ndim != 4 or all(small >= side for side, small in zip(before.shape, after.shape, strict=True)):
                return None
            (height, width), (high, wide) = before.shape[2:], after.shape[2:]
            along = [_weights(node, open_model, height, high), _weights(node, open_model, width, wide)]
            return Resize(where, kind, (height, width), (high, wide), gain_of_weights(*along), has_filter)

        return operation

    def _note_slice(self, node: onnx.NodeProto) -> None:
        """Slices of slices are one, which cuts along several axes."""
        parts = [self._constants.get(name) if name else None for name in node.input[1:]]
        if len(parts) < 4 or parts[0] is None or parts[3] is None:
            return
        axes = range(len(parts[0])) if parts[2] is None else parts[2].tolist()
        cut = {int(axis): (int(begin), int(step)) for axis, begin, step in zip(axes, parts[0], parts[3], strict=True)}
        if min(cut) < 1 or all(step == 1 for _, step in cut.values()):
            return
        source, first, place = self._slices.get(node.input[0], (node.input[0], None, -1))
        steps, starts = ({}, {}) if first is None else (dict(first.steps), dict(first.starts))
        steps |= {axis: step for axis, (_, step) in cut.items() if step > 1}
        starts |= {axis: begin for axis, (begin, _) in cut.items()}
        is_next = first is not None and place == len(self._places) - 1
        where = first.where if first is not None and is_next else self._where(node)
        found = Slices(where, steps, starts, source, self._filtered.get(source))
        self._places[place if is_next else len(self._places) :] = [
            _Place(source, node.output[0], lambda before, after, _: found)
        ]
        place = len(self._places) - 1
        self._slices[node.output[0]] = (source, found, place)


def _named(node: onnx.NodeProto) -> str:
    return f"{node.name or 'graph'}: {node.op_type}"


def _spread(factor: Float64, rank: int) -> Float64:
    """A factor with as many axes as what it multiplies."""
    return factor.reshape(*[1] * (rank - factor.ndim), *factor.shape)


def _weights(node: onnx.NodeProto, open_model: Open, before: int, after: int) -> Float64:
    """How pixels are made of those before along one axis, shape `(after, before)`: by the node itself."""
    if before == after:
        return np.eye(before)
    kept = [each for each in node.attribute if each.name not in ("axes", "keep_aspect_ratio_policy")]
    alone = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"])
    alone.attribute.extend(kept)
    graph = helper.make_graph(
        [alone],
        "weights",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, before, before, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, before, after, 2])],
        [numpy_helper.from_array(np.array([1, before, after, 2]), "sizes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    one = np.repeat(np.eye(before, dtype=np.float32).reshape(1, before, before, 1), 2, axis=3)
    return np.asarray(open_model(model.SerializeToString())({"x": one}, ["y"])["y"], dtype=np.float64)[0, :, :, 0].T
