"""Torch's operators of which something is known, under one name each, and how they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

aten = torch.ops.aten
CONVOLUTIONS: Final = {1: "conv1d", 2: "conv2d", 3: "conv3d"}
SHAPING: Final = frozenset(
    {
        "flatten", "view", "reshape", "_unsafe_view", "unflatten", "permute", "transpose", "squeeze", "unsqueeze",
        "select", "slice", "narrow",
    }
)  # fmt: skip
"""They move cells, or leave some away: none is there twice."""
POOLS: Final = frozenset({"avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"})
PRODUCTS: Final = frozenset({"linear", "addmm", "mm", "matmul"})
FACTORS: Final = frozenset({"mul", "div"})
SUMS: Final = frozenset({"add", "sub", "rsub"})
AFFINE: Final = (
    SHAPING | POOLS | PRODUCTS | FACTORS | SUMS | frozenset(CONVOLUTIONS.values())
    | {"batch_norm", "mean", "sum", "pad", "neg", "cat", "stack"}
)  # fmt: skip
MAXIMA: Final = frozenset(
    {"max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "amax"}
)
RISING: Final = frozenset(
    {
        "relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "leaky_relu", "elu", "selu", "celu", "tanh",
        "sigmoid", "softplus", "hardsigmoid", "log_sigmoid", "prelu",
    }
)  # fmt: skip
"""Functions of each cell that nowhere fall, with their usual parameters."""
VALLEYS: Final = {
    "abs": 0.0, "gelu": -0.7517915246935645, "gelu of tanh": -0.7524614220710163, "silu": -1.2784645427610738,
    "hardswish": -1.5,
}  # fmt: skip
"""Functions of each cell that fall up to here, and rise from here."""
FINAL: Final = frozenset({"softmax", "log_softmax", "_softmax", "_log_softmax"})
"""They leave the order of scores alone, and are known as a module's last operation alone."""
KNOWN: Final = AFFINE | MAXIMA | RISING | frozenset(VALLEYS) | FINAL
TUPLES: Final = frozenset({"adaptive_max_pool1d", "adaptive_max_pool2d", "_native_batch_norm_legit_no_training"})
"""Operators that return several values, of which the first is known."""
WITH_CONSTANTS: Final = PRODUCTS | FACTORS | {"batch_norm", "prelu", "clamp", "clamp_min", "clamp_max", "pad"}
"""Operators of which something is known where all but one of their arguments are constants."""
CONSTANTS: Final = (torch.Tensor, int, float, str, list)
SIZES: Final = {"reshape": "shape"}
"""Where a shape that begins with the number of rows stands."""
MOST_JUMP: Final = 1e-7
"""By which a softplus may be away from its line where it goes over to it."""


@dataclass(frozen=True, eq=False)
class Operator:
    """A call of one of torch's operators.

    Attributes:
        name: of the operator, without its overload.
        arguments: all of them, by the names of its schema.
        overload: what is called.
    """

    name: str
    arguments: Mapping[str, Any]
    overload: Any

    @classmethod
    def of(cls, overload: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Operator:
        """A call as it was written, its defaults filled in."""
        schema = overload._schema
        arguments = {}
        for index, argument in enumerate(schema.arguments):
            given = args[index] if index < len(args) else kwargs.get(argument.name, argument.default_value)
            arguments[argument.name] = list(given) if isinstance(given, tuple) else given
        return cls(schema.name.removeprefix("aten::"), arguments, overload)

    def call(self) -> Any:
        """What it gives; of several values the first."""
        by_place, by_name = [], {}
        for argument in self.overload._schema.arguments:
            if argument.kwarg_only:
                by_name[argument.name] = self.arguments[argument.name]
            else:
                by_place.append(self.arguments[argument.name])
        result = self.overload(*by_place, **by_name)
        return result[0] if self.name in TUPLES else result

    @property
    def is_convolution(self) -> bool:
        """Whether it is one of the convolutions."""
        return self.name in CONVOLUTIONS.values()

    @property
    def spatial_axes(self) -> int:
        """How many axes, the last, it takes for places in a picture; 0: it knows none."""
        if self.is_convolution or "pool" in self.name:
            return int(self.name[-2])
        return len(self.arguments["pad"]) // 2 if self.name == "pad" else 0

    @property
    def is_elementwise(self) -> bool:
        """Whether it computes each cell of the cells in the same place."""
        return self.name in SUMS | FACTORS | RISING | frozenset(VALLEYS) | FINAL | {"batch_norm", "neg"}


def plain(operator: Operator, shape: tuple[int, ...]) -> Operator:
    """The same call in the one form in which it is known, where it has several.

    Args:
        operator: as it was written.
        shape: of its first node.
    """
    name, arguments = operator.name, operator.arguments
    if name in ("_convolution", "convolution", "_convolution_mode"):
        return _convolution(operator, len(shape) - 2)
    if name == "_native_batch_norm_legit_no_training":
        values = {**arguments, "training": False, "cudnn_enabled": False}
        return Operator("batch_norm", values, aten.batch_norm.default)
    if name == "squeeze" and "dim" not in arguments:
        dims = [axis for axis in range(1, len(shape)) if shape[axis] == 1]
        return Operator("squeeze", {"self": arguments["self"], "dim": dims}, aten.squeeze.dims)
    if name in ("view", "_unsafe_view") and "size" in arguments:
        return Operator("reshape", {"self": arguments["self"], "shape": arguments["size"]}, aten.reshape.default)
    if name in _BENDS:
        return replace(operator, name=_BENDS[name](arguments) or name)
    if name == "batch_norm" and arguments["training"]:
        return replace(operator, name="batch_norm in training mode")
    return _with_constants(operator) if name in WITH_CONSTANTS or operator.is_convolution else operator


def _softplus(arguments: Mapping[str, Any]) -> str:
    """Softplus jumps down by `log1p(exp(-threshold)) / beta` where it becomes a line."""
    beta, threshold = float(arguments["beta"]), float(arguments["threshold"])
    is_smooth = beta > 0 and math.log1p(math.exp(-min(max(threshold, 0.0), 700.0))) / beta <= MOST_JUMP
    return "" if is_smooth else "softplus that jumps at its threshold"


def _elu(arguments: Mapping[str, Any]) -> str:
    return "" if arguments["input_scale"] >= 0 else "elu of a scale below 0"


def _gelu(arguments: Mapping[str, Any]) -> str:
    return "gelu of tanh" if arguments["approximate"] == "tanh" else ""


_BENDS: Final = {"softplus": _softplus, "elu": _elu, "gelu": _gelu}
"""Functions of each cell of which what is known depends on their parameters, with the name of what they are then."""


def _convolution(operator: Operator, axes: int) -> Operator:
    arguments, name = operator.arguments, CONVOLUTIONS.get(axes, "")
    if arguments.get("transposed") or not name:
        return replace(operator, name=f"conv_transpose{axes}d" if name else operator.name)
    overload = getattr(aten, name).padding if isinstance(arguments["padding"], str) else getattr(aten, name).default
    kept = {argument.name: arguments[argument.name] for argument in overload._schema.arguments}
    return Operator(name, kept, overload)


def _with_constants(operator: Operator) -> Operator:
    """The call, if all but one of its arguments are constants: of others nothing is known."""
    arguments, name = operator.arguments, operator.name
    if name == "mul" and isinstance(arguments["self"], CONSTANTS):
        return replace(operator, arguments={"self": arguments["other"], "other": arguments["self"]})
    varying = "mat1" if name == "addmm" else "input" if "input" in arguments else "self"
    is_known = not isinstance(arguments[varying], CONSTANTS) and all(
        value is None or isinstance(value, CONSTANTS) for key, value in arguments.items() if key != varying
    )
    if name == "matmul" and is_known:
        is_known = arguments["other"].ndim <= 2
    if arguments.get("rounding_mode") is not None:
        return replace(operator, name=f"{name} with rounding")
    return operator if is_known else replace(operator, name=f"{name} of values that depend on the input")


def of_rows(operator: Operator, rows: int) -> Operator:
    """The same call on so many rows: a shape among its arguments begins with their number."""
    at = SIZES.get(operator.name, "")
    if at not in operator.arguments:
        return operator
    return replace(operator, arguments={**operator.arguments, at: [rows, *operator.arguments[at][1:]]})
