"""Model inputs as drift reads them: every column, whether noise perturbs it or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any

from robmon.drift.columns import Column, column_of
from robmon.drift.features import STATISTICS, array_columns, unique
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.sentences import short_name

MOST_FEATURES = 1024
"""Of which drift is measured: those after them are told as not measured."""


def watched(inputs: ModelInputs, axis: FeatureAxis, salt: str = "") -> dict[str, Column]:
    """The columns of model inputs by name, `MOST_FEATURES` at most: those that are perturbed, then the others.

    Args:
        inputs: n rows.
        axis: which axis of what is perturbed counts features.
        salt: of the hashes that stand in the place of categories' names; empty: the names themselves.
    """
    columns: dict[str, Column] = {}
    array, names = inputs.array, inputs.names_by(axis)
    if array.ndim == 2 and axis.feature_of is None:
        array, names = array[:, :MOST_FEATURES], names[:MOST_FEATURES]
    if array.size:
        columns |= array_columns(array, names, axis)
    for name, values in inputs.passed().items():
        columns |= _columns(name, values)
    shown = unique([short_name(name) for name in columns], taken={"all"})
    told = (column.hashed(salt) if salt else column for column in columns.values())
    return dict(islice(zip(shown, told, strict=True), MOST_FEATURES))


def not_watched(inputs: ModelInputs, axis: FeatureAxis) -> int:
    """How many columns are beyond `MOST_FEATURES`."""
    each = 1 if inputs.array.ndim <= 2 else len(STATISTICS)
    perturbed = each * len(inputs.names_by(axis))
    others = sum(prod(getattr(values, "shape", (0,))[1:]) for values in inputs.passed().values())
    return max(int(perturbed + others) - MOST_FEATURES, 0)


def _columns(name: str, values: Any) -> Mapping[str, Column]:
    """A column, or a tensor with a column a cell."""
    if len(values.shape) == 1:
        return {name: column_of(values)}
    flat = values.reshape(len(values), -1)[:, :MOST_FEATURES]
    return array_columns(flat, [f"{name}[{index}]" for index in range(flat.shape[1])])


def shown_names(names: Sequence[str]) -> list[str]:
    """Names of features, or groups of them, that are fit for labels, no two alike.

    >>> shown_names(["x\\n", "x\\r"])[0]
    'x?'
    """
    return unique([short_name(name) for name in names])
