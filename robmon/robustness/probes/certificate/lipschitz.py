"""How far a module's outputs move at most where its input moves by 1: products of the norms of its layers.

Layers one after the other multiply, branches that are added add up (Szegedy et al., ICLR 2014). Linear layers without a
function between are one linear map, whose norm is exact where its matrix is small enough to be made.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch.nn import functional

from robmon.robustness.probes.certificate.graph import Graph, Node, is_affine, unknown
from robmon.robustness.probes.certificate.norms import (
    Norm,
    adaptive_overlaps,
    axis_norm,
    convolution_norm,
    matrix_norm,
    overlaps,
    rows_norm,
)
from robmon.robustness.probes.certificate.operators import MAXIMA, SHAPING, SUMS
from robmon.robustness.probes.certificate.tail import Tail, tail_of

ROUNDING: Final = 1.0 + 1e-10
"""What norms in float64 are rounded up by."""
MOST_EXACT: Final = 1 << 22
"""Numbers of a matrix between two functions whose norm is computed."""
SLOPES: Final = {
    "relu": 1.0, "relu6": 1.0, "hardtanh": 1.0, "clamp": 1.0, "clamp_min": 1.0, "clamp_max": 1.0, "tanh": 1.0,
    "softplus": 1.0, "celu": 1.0, "log_sigmoid": 1.0, "abs": 1.0, "sigmoid": 0.25, "hardsigmoid": 1.0 / 6.0,
    "selu": 1.7580993408473769, "gelu": 1.1291, "gelu of tanh": 1.1291, "silu": 1.0998394, "hardswish": 1.5,
}  # fmt: skip
"""The largest slope of functions of each cell, rounded up."""


class Constants:
    """The Lipschitz constant of each value, as a function of the input, in one norm on both sides.

    Args:
        graph: all of it is used.
        scale: what a move of the input by 1 is, of each cell, shape `(cells,)`, float64.
        norm: of both sides.

    Attributes:
        of: the constant of each node.

    Raises:
        UnreadableError: of one of its operations none is known.
    """

    def __init__(self, graph: Graph, scale: torch.Tensor, norm: Norm) -> None:
        self.graph, self.scale, self.norm = graph, scale, norm
        self.of: dict[Node, float] = {graph.input: float(scale.max())}
        users: dict[Node, list[Node]] = {}
        for node in graph.nodes:
            for source in node.sources:
                users.setdefault(source, []).append(node)
        for node in graph.nodes[1:]:
            self.of[node] = self._layered(node) * ROUNDING
            is_end = node is graph.output or not all(map(is_affine, users.get(node, [])))
            if is_affine(node) and is_end:
                tail = tail_of(graph, node, MOST_EXACT)
                if node not in tail.maps:
                    self.of[node] = min(self.of[node], self._exact(tail))

    def change(self, rows: dict[Node, torch.Tensor]) -> torch.Tensor:
        """How far linear functions, such as `Tail.rows` gives, change at most, shape `(m,)`."""
        return sum(
            (rows_norm(matrix * self.scale if node is self.graph.input else matrix, self.norm) * self._own(node))
            for node, matrix in rows.items()
        ) * torch.tensor(ROUNDING)

    def _own(self, base: Node) -> float:
        """The constant of what a matrix stands behind; of the input the scale is in the matrix."""
        return 1.0 if base is self.graph.input else self.of[base]

    def _exact(self, tail: Tail) -> float:
        total = 0.0
        for node, matrix in tail.maps.items():
            scaled = matrix * self.scale if node is self.graph.input else matrix
            total += matrix_norm(scaled, self.norm) * self._own(node)
        return total * ROUNDING

    def _layered(self, node: Node) -> float:
        """The node's own norm times the constant of its input."""
        sources = [self.of[source] for source in node.sources]
        if node.name in SUMS:
            return sum(factor * self.of[each] for each, factor in summands(node))
        if node.name in ("cat", "stack"):
            return max(sources) if self.norm == "inf" else math.hypot(*sources)
        (source,) = sources
        around = _circular(node, self.norm)
        if around is not None:
            inner, gain = around
            return gain * self.of[inner]
        return _gain(node, self.norm) * source


def summands(node: Node) -> list[tuple[Node, float]]:
    """What a sum or difference is of, each with the size of its factor."""
    arguments = node.arguments
    factors = {"self": 1.0, "other": abs(arguments["alpha"])}
    if node.name == "rsub":
        factors = {"self": factors["other"], "other": factors["self"]}
    return [(arguments[name], factor) for name, factor in factors.items() if isinstance(arguments[name], Node)]


def _gain(node: Node, norm: Norm) -> float:
    """The norm of an operator of one value."""
    name, arguments = node.name, node.arguments
    if name in SHAPING or name == "neg":
        return 1.0
    if name in _GAINS:
        return _GAINS[name](node, norm)
    if name in MAXIMA:
        return maximum_gain(node, norm)
    if name in SLOPES:
        return SLOPES[name] if name != "celu" or arguments["alpha"] > 0 else _refuse(name)
    if name in _BENDS:
        return _BENDS[name](arguments)
    return _refuse(name)


def _refuse(name: str) -> float:
    raise unknown(name)


def _leaky(arguments: Any) -> float:
    return max(1.0, abs(float(arguments["negative_slope"])))


def _elu(arguments: Any) -> float:
    return abs(float(arguments["scale"])) * max(1.0, abs(float(arguments["alpha"]) * float(arguments["input_scale"])))


def _prelu(arguments: Any) -> float:
    return max(1.0, float(arguments["weight"].abs().max()))


_BENDS: Final = {"leaky_relu": _leaky, "elu": _elu, "prelu": _prelu}


def as_matrix(node: Node) -> torch.Tensor:
    """The matrix, `(out, in)`, by which a product's node is multiplied."""
    arguments = node.arguments
    matrix: torch.Tensor
    if node.name == "linear":
        matrix = arguments["weight"]
    elif node.name == "addmm":
        matrix = arguments["mat2"].T * arguments["alpha"]
    else:
        matrix = arguments["mat2" if node.name == "mm" else "other"].T
    return matrix if matrix.ndim == 2 else matrix[None]


def _product(node: Node, norm: Norm) -> float:
    return matrix_norm(as_matrix(node), norm)


def _convolution(node: Node, norm: Norm) -> float:
    (source,) = node.sources
    padding = zeros_around(node)
    return convolution_norm(node.arguments["weight"], source.shape[2:], padding=padding, norm=norm, **_windows(node))


def _windows(node: Node) -> dict[str, Any]:
    axes = node.operator.spatial_axes
    return {name: per_axis(node.arguments[name], axes) for name in ("stride", "dilation")} | {
        "groups": node.arguments["groups"]
    }


def per_axis(value: Any, axes: int) -> list[int]:
    """One number an axis, as torch understands one for all."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * axes if len(values) == 1 else values


def zeros_around(node: Node) -> list[int]:
    """The zeros with which a convolution pads, at most, on either side of each axis."""
    padding, axes = node.arguments["padding"], node.operator.spatial_axes
    if padding == "valid":
        return [0] * axes
    if padding == "same":
        reach = zip(per_axis(node.arguments["dilation"], axes), node.arguments["weight"].shape[2:], strict=True)
        return [-(-step * (length - 1) // 2) for step, length in reach]
    return per_axis(padding, axes)


def _circular(node: Node, norm: Norm) -> tuple[Node, float] | None:
    """A convolution of an input that goes round: what goes round, and the norm of both together."""
    if not node.operator.is_convolution:
        return None
    (pad,) = node.sources
    if pad.name != "pad" or pad.arguments["mode"] != "circular" or any(zeros_around(node)):
        return None
    (inner,), windows, lengths = pad.sources, _windows(node), node.arguments["weight"].shape[2:]
    sizes = inner.shape[2:]
    around = [step * (length - 1) for step, length in zip(windows["dilation"], lengths, strict=True)]
    padded = [big - small for big, small in zip(pad.shape[2:], sizes, strict=True)]
    is_whole = all(
        extra == reach and size % step == 0 and size > reach
        for extra, reach, size, step in zip(padded, around, sizes, windows["stride"], strict=True)
    )
    if not is_whole:
        return None
    gain = convolution_norm(
        node.arguments["weight"], sizes, padding=[0] * len(sizes), norm=norm, is_circular=True, **windows
    )
    return inner, gain


def normalising_factors(node: Node) -> torch.Tensor:
    """What batch normalisation multiplies each channel by."""
    arguments = node.arguments
    factors: torch.Tensor = (arguments["running_var"] + arguments["eps"]).rsqrt()
    return factors if arguments["weight"] is None else factors * arguments["weight"]


def _normalisation(node: Node, norm: Norm) -> float:
    return float(normalising_factors(node).abs().max())


def _factor(node: Node, norm: Norm) -> float:
    other = torch.as_tensor(node.arguments["other"], dtype=torch.float64).abs()
    return float(other.max()) if node.name == "mul" else float(1.0 / other.min())


def _mean(node: Node, norm: Norm) -> float:
    (source,) = node.sources
    count = source.cells / node.cells
    if node.name == "mean":
        return 1.0 if norm == "inf" else 1.0 / math.sqrt(count)
    return count if norm == "inf" else math.sqrt(count)


def _pool(node: Node, norm: Norm) -> float:
    """Norm of average pooling, which pools rows and columns alike, one after the other."""
    arguments, axes = node.arguments, node.operator.spatial_axes
    lengths = node.sources[0].shape[-axes:]
    if node.name.startswith("adaptive"):
        sizes = per_axis(arguments["output_size"], axes)
        return math.prod(
            axis_norm(functional.adaptive_avg_pool1d, length, norm, size)
            for length, size in zip(lengths, sizes, strict=True)
        )
    kernels, paddings = (per_axis(arguments[name], axes) for name in ("kernel_size", "padding"))
    strides = per_axis(arguments["stride"] or kernels, axes)
    product = 1.0
    for length, kernel, stride, padding in zip(lengths, kernels, strides, paddings, strict=True):
        product *= axis_norm(
            functional.avg_pool1d, length, norm, kernel, stride, padding, arguments["ceil_mode"],
            arguments["count_include_pad"],
        )  # fmt: skip
    divisor = arguments.get("divisor_override")
    return product if divisor is None else product * math.prod(kernels) / divisor


def _pad(node: Node, norm: Norm) -> float:
    (source,), amounts, mode = node.sources, node.arguments["pad"], node.arguments["mode"]
    if mode == "constant":
        return 1.0
    product = 1.0
    for index in range(len(amounts) // 2):
        ends = amounts[2 * index : 2 * index + 2]
        product *= axis_norm(functional.pad, source.shape[-1 - index], norm, ends, mode)
    return product


_GAINS: Final = {
    **dict.fromkeys(("linear", "addmm", "mm", "matmul"), _product),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("mul", "div"), _factor),
    **dict.fromkeys(("mean", "sum"), _mean),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"), _pool),
    "batch_norm": _normalisation,
    "pad": _pad,
}


def maximum_gain(node: Node, norm: Norm) -> float:
    """Constant of a maximum: 1, but in l2 a cell counts in each window that it is in."""
    if norm == "inf" or node.name == "amax":
        return 1.0
    arguments, axes = node.arguments, node.operator.spatial_axes
    lengths = node.sources[0].shape[-axes:]
    if node.name.startswith("adaptive"):
        counts = [adaptive_overlaps(*of) for of in zip(lengths, node.shape[-axes:], strict=True)]
        return math.sqrt(math.prod(counts))
    kernels, paddings, dilations = (per_axis(arguments[name], axes) for name in ("kernel_size", "padding", "dilation"))
    strides = per_axis(arguments["stride"] or kernels, axes)
    windows = zip(lengths, kernels, strides, paddings, dilations, strict=True)
    return math.sqrt(math.prod(overlaps(*of, ceil_mode=arguments["ceil_mode"]) for of in windows))
