"""Read a torch module as a graph of operators: of what TorchScript records while it runs, or torch exports.

A trace loses control flow that depends on the data, and what leaves tensors and comes back; torch warns wherever that
may be, and where it does the module is exported, which refuses what it cannot follow. Before that the module runs once
while what it calls is watched, and while it is read it hears that it is not. Tracing costs tenths of a second,
the first export of a process several.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.jit._trace import TracerWarning

from robmon.robustness.arrays import lone
from robmon.robustness.probes.certificate.builder import Builder, check_value, exact
from robmon.robustness.probes.certificate.graph import EXAMPLE_ROWS, Graph, UnreadableError, unknown
from robmon.robustness.probes.certificate.leaving import refuse_leaving, unnoticed


def read(module: torch.nn.Module, inputs: torch.Tensor) -> Graph:
    """The graph of a module in eval mode.

    Args:
        module: takes one tensor.
        inputs: rows as it takes them, of its type and on its device.

    Raises:
        UnreadableError: nothing is known of one of its operations, or it has no graph.
    """
    example = torch.cat([inputs[:EXAMPLE_ROWS]] * EXAMPLE_ROWS)[:EXAMPLE_ROWS].detach()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on what it is about to give up
        if isinstance(module, torch.jit.ScriptModule):
            return _scripted(module, example)
        refuse_leaving(module, example)
        with unnoticed():
            try:
                return _scripted(_traced(module, example), example)
            except OtherwiseError:
                return _exported(module, example)


class OtherwiseError(UnreadableError):
    """The module cannot be read in this way."""


def _exported(module: torch.nn.Module, example: torch.Tensor) -> Graph:
    builder = Builder(exact(example))
    try:
        program = torch.export.export(module, (example,), strict=False).run_decompositions({})
    except Exception as error:  # of the module, whose text may hold inputs, or of torch's export
        raise UnreadableError(f"torch cannot export it ({type(error).__name__})") from error
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise UnreadableError("it changes its own state, or its input")
    held = {**program.state_dict, **program.constants}
    homes = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    values: dict[torch.fx.Node, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            is_constant = node.name in homes
            values[node] = exact(held[homes[node.name]]) if is_constant else builder.nodes[0]
        elif node.op == "call_function":
            args, kwargs = (torch.fx.node.map_arg(given, values.__getitem__) for given in (node.args, node.kwargs))
            values[node] = _call(builder, node.target, args, kwargs)
            check_value(values[node], getattr(node.meta.get("val"), "dtype", None))
        elif node.op == "output":
            return builder.graph(_only(torch.fx.node.map_arg(node.args[0], values.__getitem__)))
        else:
            raise unknown(node.op)
    raise UnreadableError("it has no output")


def _call(builder: Builder, target: Any, args: Any, kwargs: Any) -> Any:
    if isinstance(target, torch._ops.OpOverload):
        if target._schema.name.startswith("aten::_assert"):
            return None
        if target.namespace == "aten":
            return builder.call(target, args, kwargs)
    if target is operator.getitem and isinstance(args[0], list):
        return _item(args[0], args[1])
    raise unknown(getattr(target, "__name__", str(target)))


def _item(values: list[Any], index: int) -> Any:
    try:
        return values[index]
    except IndexError:
        raise UnreadableError("it uses the places of maxima") from None


def _only(output: Any) -> Any:
    """The output, where there is one alone."""
    output = lone(output)
    if isinstance(output, (list, tuple, dict)):
        raise UnreadableError("it returns several outputs")
    return output


# --- TorchScript ------------------------------------------------------------------------------------------------------


def _traced(module: torch.nn.Module, example: torch.Tensor) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TracerWarning)
        try:
            trace: Any = torch.jit.trace
            traced: torch.jit.ScriptModule = trace(module, (example,), check_trace=False)
        except Exception as error:  # of the module, or a warning that the trace may be wrong
            raise OtherwiseError(type(error).__name__) from error
    return traced


def _scripted(module: torch.jit.ScriptModule, example: torch.Tensor) -> Graph:
    builder = Builder(exact(example))
    try:
        code: Any = torch.jit.freeze(module, optimize_numerics=False).graph
    except Exception as error:  # torch's own, of many kinds
        raise OtherwiseError(f"torch cannot freeze it ({type(error).__name__})") from error
    torch._C._jit_pass_inline(code)
    torch._C._jit_pass_remove_mutation(code)
    _, *arguments = code.inputs()
    if len(arguments) != 1:
        raise UnreadableError(f"it takes {len(arguments)} inputs")
    values: dict[str, Any] = {arguments[0].debugName(): builder.nodes[0]}
    _follow(code, values, builder)
    (result,) = code.outputs()
    return builder.graph(_only(values[result.debugName()]))


def _follow(block: Any, values: dict[str, Any], builder: Builder) -> None:
    """Compute the nodes of a block of TorchScript, one after the other."""
    for node in block.nodes():
        given = [_known(each.debugName(), values) for each in node.inputs()]
        if node.kind() == "prim::If":
            _branch(node, given[0], values, builder)
            continue
        results = _result(node, given, builder)
        names = [each.debugName() for each in node.outputs()]
        if len(names) == 1 and node.kind() not in ("prim::ListUnpack", "prim::TupleUnpack"):
            results = [results]
        for each, result in zip(node.outputs(), results, strict=False):
            check_value(result, each.type().dtype() if each.type().kind() == "TensorType" else None)
        values.update(zip(names, results, strict=False))


def _known(name: str, values: dict[str, Any]) -> Any:
    try:
        return values[name]
    except KeyError:
        raise UnreadableError("it uses the places of maxima") from None


def _branch(node: Any, condition: Any, values: dict[str, Any], builder: Builder) -> None:
    """Follow the branch that shapes alone choose."""
    if not isinstance(condition, bool):
        raise UnreadableError("it branches on its data (prim::If)")
    chosen = list(node.blocks())[0 if condition else 1]
    _follow(chosen, values, builder)
    for name, result in zip(node.outputs(), chosen.outputs(), strict=True):
        values[name.debugName()] = values[result.debugName()]


_PRIMITIVES: dict[str, Callable[[list[Any]], Any]] = {
    "prim::ListConstruct": list,
    "prim::TupleConstruct": list,
    "prim::ListUnpack": lambda given: given[0],
    "prim::TupleUnpack": lambda given: given[0],
    "prim::NumToTensor": lambda given: given[0],
    "aten::Int": lambda given: given[0],
    "aten::ScalarImplicit": lambda given: given[0],
}


def _result(node: Any, given: list[Any], builder: Builder) -> Any:
    kind = node.kind()
    if kind == "prim::Constant":
        return exact(node.output().toIValue()) if node.output().type().kind() != "NoneType" else None
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind](given)
    schema = node.schema()
    if not kind.startswith("aten::") or schema == "(no schema)":
        raise unknown(kind)
    if kind.endswith("_"):
        raise OtherwiseError(f"it changes values in place ({kind.removeprefix('aten::')})")
    found = torch._C.parse_schema(schema)
    try:
        packet = getattr(torch.ops.aten, kind.removeprefix("aten::"))
        overload = getattr(packet, found.overload_name or "default")
    except AttributeError:
        raise unknown(kind) from None
    by_place = [value for value, argument in zip(given, found.arguments, strict=True) if not argument.kwarg_only]
    by_name = {
        argument.name: value for value, argument in zip(given, found.arguments, strict=True) if argument.kwarg_only
    }
    return builder.call(overload, by_place, by_name)
