"""Rows of any kind as attacks take them: in their own range, along the gradient of a module, made whole again after."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.library.art_attacks import outside_attacks
from robmon.library.prepared_rows import PreparedRows
from robmon.library.torch_module import evaluating
from robmon.models.loading import load_uri
from robmon.models.served.gradient import as_taken, gradient_of
from robmon.models.signature.forms import Parts
from robmon.report.words import percent
from robmon.robustness.arrays import batches, concatenation, to_numpy
from robmon.robustness.features.features import Features, measure
from robmon.robustness.outputs import classes_of, flatten, same_classes
from robmon.robustness.probes.attack.attack import SlopeOf, attack_rows
from robmon.robustness.probes.attack.gradient import slope_of
from robmon.robustness.probes.attack.result import Attack
from robmon.robustness.probes.attack.target import Slope
from robmon.robustness.probes.attack.transfer import substitute_kind
from robmon.robustness.probes.attack.valid_range import of_any_whole, valid_range
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
        substitute: a torch module, or the URI of one, for `transfer`.
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
        features = of_any_whole(features, rows.whole, array.shape)
    if rows.kept is not None and targets is not None and len(targets) == rows.of_rows:
        targets = np.asarray(targets)[list(rows.kept)]
    told: list[str] = []
    has_gradient = specification.output_column is None
    other = load_uri(str(substitute)) if isinstance(substitute, (str, Path)) else None
    substitute = substitute if other is None else other.module
    if other is not None and substitute is None:
        raise InvalidInputError("a substitute is a torch module, and the model named for it is not one")
    with nullcontext() if substitute is None else evaluating(_module(substitute), "auto"):
        result = attack_rows(
            rows.predictor,
            array,
            specification,
            features=features,
            targets=targets,
            clip=clip,
            slope_of=gradient_of(rows.predictor.module, rows.parts, array) if has_gradient else None,
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


def _inputs(rows: PreparedRows, array: NDArray[Any]) -> Any:
    """An array of what moves as inputs: a table with its other columns, whole numbers in their own type."""
    if rows.parts is not None:
        given = rows.parts.assemble(array, slice(0, len(array)))
        return array if isinstance(given, Parts) else given
    if rows.dtype is None:
        return array
    return array.astype(to_numpy(array_api_compat.array_namespace(rows.array).astype(rows.array[:0], rows.dtype)).dtype)


def _gradient_of_substitute(module: Any, rows: PreparedRows, told: list[str]) -> SlopeOf:
    """The gradient of another module, which takes the array of what moves."""

    def of(classes: NDArray[Any], kind: Any, batch_rows: int) -> Slope | None:
        import torch

        inputs = as_taken(module, rows.array)
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
