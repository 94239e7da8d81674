"""Rows of any kind as attacks take them: in their own range, along the gradient of a module, made whole again after."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.library.art_attacks import outside_attacks
from robmon.library.prepared_rows import PreparedRows, evaluating
from robmon.models.forms import Parts
from robmon.report.words import percent
from robmon.robustness.arrays import Array, batches, concatenation, is_floating, to_numpy
from robmon.robustness.features.features import Features, measure
from robmon.robustness.outputs import classes_of, flatten, same_classes
from robmon.robustness.probes.attack.attack import SlopeOf, attack_rows
from robmon.robustness.probes.attack.gradient import Call, slope_of
from robmon.robustness.probes.attack.result import Attack
from robmon.robustness.probes.attack.target import Slope
from robmon.robustness.probes.attack.transfer import substitute_kind
from robmon.robustness.probes.attack.valid_range import valid_range
from robmon.robustness.specification import Specification


def attack_prepared(
    rows: PreparedRows,
    specification: Specification,
    *,
    scale: Any = None,
    features: Features | None = None,
    targets: Any = None,
    clip: tuple[Any, Any] | None = None,
    substitute: Any = None,
    attacks: Sequence[str],
    **options: Any,
) -> Attack:
    """`attack_rows` of prepared rows.

    Args:
        rows: those.
        specification: task, outputs and layout.
        scale: the unit of radii, see `measure`; of no matter where features are given.
        features: a baseline's; None: measured.
        targets: as in `robmon.attack`.
        clip: as there; None: that of the layout, where there is one.
        substitute: a torch module, for `transfer`.
        attacks: by name, those of ART too.
        options: of `attack_rows`.

    Raises:
        InvalidInputError: as `attack_rows`, or the substitute cannot be one.
        MissingPackageError: an attack is ART's, which is not installed.
    """
    array = rows.array
    if features is None:
        axis = rows.axis(specification.feature_axis, refuses=scale is None)
        features = measure(array, scale, names=rows.column_names, axis=axis, whole=rows.whole)
    if clip is None and specification.layout is not None:
        clip = valid_range(specification.layout, array.shape, None if rows.whole is None else rows.whole.pixels)
    if clip is not None and rows.whole is not None:
        features = _of_any_whole(features, rows)
    if rows.kept is not None and targets is not None and len(targets) == rows.of_rows:
        targets = np.asarray(targets)[list(rows.kept)]
    told: list[str] = []
    with nullcontext() if substitute is None else evaluating(_module(substitute), "auto"):
        result = attack_rows(
            rows.predictor,
            array,
            specification,
            features=features,
            targets=targets,
            clip=clip,
            slope_of=None if specification.output_column is not None else _gradient(rows),
            substitute_slope_of=None if substitute is None else _gradient_of_substitute(substitute, rows, told),
            attacks=attacks,
            outside=outside_attacks(attacks),
            is_free=rows.parts is None,
            for_rows=rows.for_rows,
            output_names=lambda: rows.outputs.names,
            notes=rows.notes,
            **options,
        )
    return replace(result, notes=(*rows.outputs.notes, *result.notes, *told), made=lambda made: _inputs(rows, made))


def _of_any_whole(features: Features, rows: PreparedRows) -> Features:
    """Whole numbers keep to the range of their type, not to the one they were seen in: another one is stated."""
    if features.limits is None or rows.whole is None:
        return features
    columns = features.axis.columns(tuple(rows.array.shape))
    ends = [np.broadcast_to(np.ravel(end), columns) for end in (rows.whole.low, rows.whole.high)]
    return replace(features, limits=np.reshape(ends, (2, *features.axis.scale_shape(tuple(rows.array.shape)))))


def _inputs(rows: PreparedRows, array: NDArray[Any]) -> Any:
    """An array of what moves as inputs: a table with its other columns, whole numbers in their own type."""
    if rows.parts is not None:
        given = rows.parts.assemble(array, slice(0, len(array)))
        return array if isinstance(given, Parts) else given
    if rows.dtype is None:
        return array
    return array.astype(to_numpy(array_api_compat.array_namespace(rows.array).astype(rows.array[:0], rows.dtype)).dtype)


def _gradient(rows: PreparedRows) -> SlopeOf | None:
    """The gradient of the rows' own module; None where there is none, or it is called with more than numbers."""
    module, parts = rows.predictor.module, rows.parts
    if module is None:
        return None
    call: Call = lambda x, of_rows: module(x)  # noqa: E731
    if parts is not None:
        given = parts.assemble(rows.array[:2], slice(0, min(2, parts.rows)))
        if isinstance(given, Parts) or (hasattr(given, "columns") and parts.left_alone):
            return None
        if isinstance(given, dict):
            if parts.whole is not None:
                return None
            call = lambda x, of_rows: module(*parts.take(of_rows).assemble(x, slice(0, len(x))).values())  # noqa: E731

    def of(classes: NDArray[Any], kind: Any, batch_rows: int) -> Slope | None:
        slope = slope_of(module, classes, kind, _as_taken(module, rows.array), batch_rows, call=call)
        first = np.arange(min(2, len(classes)))
        try:
            slope(to_numpy(rows.array[: len(first)]).reshape(len(first), -1), first, True)
        except Exception:  # model code may raise anything: of a fixed number of rows, of outputs that are no tensor
            return None
        return slope

    return of


def _gradient_of_substitute(module: Any, rows: PreparedRows, told: list[str]) -> SlopeOf:
    """The gradient of another module, which takes the array of what moves."""

    def of(classes: NDArray[Any], kind: Any, batch_rows: int) -> Slope | None:
        import torch

        inputs = _as_taken(module, rows.array)
        with torch.no_grad():
            outputs = concatenation([module(inputs[part]) for part in batches(len(inputs), batch_rows)])
        own_kind = substitute_kind(outputs, classes, kind)
        own = classes_of(flatten(outputs, own_kind, len(classes)), own_kind)
        same = same_classes(to_numpy(own), classes.astype(np.int64), own_kind).mean()
        told.append(f"the substitute gives {percent(float(same))} of the rows the model's class")
        return slope_of(module, classes.astype(np.int64), own_kind, inputs, batch_rows)

    return of


def _module(substitute: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(substitute, torch.nn.Module):
        raise InvalidInputError(f"a substitute is a torch module, not {type(substitute).__name__}")
    return substitute


def _as_taken(module: Any, array: Array) -> Any:
    """The array as a tensor where the module lies, in the type of its parameters unless it has one by itself."""
    import torch

    first = next((each for each in module.parameters() if each.dtype.is_floating_point), None)
    is_own = isinstance(array, torch.Tensor) and is_floating(array) and array.dtype != torch.float64
    dtype = array.dtype if is_own else torch.float32 if first is None else first.dtype
    return torch.as_tensor(array, dtype=dtype, device=None if first is None else first.device)
