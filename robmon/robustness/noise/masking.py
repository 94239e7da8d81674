"""What noise leaves as it was: features without scale, sentinels, and what is no finite number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, as_float64, namespace, parts
from robmon.robustness.features.codes import CodeShare, codes_of_each, is_code
from robmon.robustness.features.features import Features


def untouched(values: Array, features: Features) -> Array:
    """Which cells are not perturbed: those of features of scale 0, sentinels, NaN and infinities. Shape of `values`.

    Args:
        values: float64, shape `(n, *input_shape)`.
        features: arrays of the same kind, on the same device.
    """
    return (features.scale == 0) | is_code(values, features.sentinels) | ~namespace(values).isfinite(values)


@dataclass(frozen=True)
class Masked:
    """How much was not perturbed, and why.

    Attributes:
        constant: features whose scale is 0.
        indicator: features that hold 0 and 1 only, as one-hot columns do.
        not_floating: columns that hold no floating-point numbers.
        sentinel_cells: cells that hold their feature's sentinel.
        missing_cells: cells that hold NaN or an infinity.
    """

    constant: int = 0
    indicator: int = 0
    not_floating: int = 0
    sentinel_cells: int = 0
    missing_cells: int = 0

    def __str__(self) -> str:
        """One line; empty where everything was perturbed.

        >>> print(Masked(constant=1, sentinel_cells=7))
        not perturbed: 1 constant feature, 7 sentinel cells
        """
        words = (
            (self.constant, "constant feature", "constant features"),
            (self.indicator, "indicator feature", "indicator features"),
            (self.not_floating, "column of another type", "columns of other types"),
            (self.sentinel_cells, "sentinel cell", "sentinel cells"),
            (self.missing_cells, "cell without a number", "cells without a number"),
        )
        told = [f"{count} {one if count == 1 else many}" for count, one, many in words if count]
        return f"not perturbed: {', '.join(told)}" if told else ""


def count_masked(inputs: Array, features: Features) -> tuple[Masked, int]:
    """What is not perturbed of inputs `(n, *input_shape)`, and how many cells are."""
    here, has_codes = features.like(inputs), not np.isnan(features.sentinels).all()
    sentinels = missing = perturbed = 0
    for rows in parts(inputs):
        values = inputs[rows]
        usable = namespace(values).isfinite(values)
        missing += math.prod(values.shape) - _true(usable)
        if has_codes:
            coded = is_code(as_float64(values), here.sentinels)
            sentinels += _true(coded)
            usable &= ~coded
        perturbed += _true(usable & (here.scale != 0))
    masked = Masked(features.constant, features.indicator, 0, sentinels, missing)
    return masked, perturbed


def count_by_column(inputs: Array, features: Features) -> NDArray[np.int64]:
    """How many cells of each column, as `features.axis` gives them, are perturbed."""
    cells = ~untouched(as_float64(inputs), features.like(inputs))
    return np.asarray(features.axis.as_columns(cells).sum(axis=0), dtype=np.int64)


def code_shares(inputs: Array, features: Features, names: Sequence[str]) -> list[CodeShare]:
    """Which codes of their feature the inputs hold, and how often.

    Args:
        inputs: shape `(n, *input_shape)`.
        features: of them.
        names: of the columns that `features.axis` gives.
    """
    if np.isnan(features.sentinels).all():
        return []
    columns = features.axis.by_column(inputs)
    cells = features.sentinels.reshape(len(features.sentinels), columns.shape[1])
    shares = [_share(columns, at, cells[row, at], names) for row, at in np.argwhere(~np.isnan(cells)).tolist()]
    return [each for each in shares if each.share > 0]


def unknown_codes(inputs: Array, features: Features, names: Sequence[str]) -> list[CodeShare]:
    """What looks like a code in these inputs, and is none of those that the features have."""
    is_single = features.axis.is_single(tuple(inputs.shape))
    if not features.sets_apart or not is_single.any():
        return []
    scale = np.broadcast_to(features.scale.ravel(), is_single.shape)
    known = features.sentinels.reshape(len(features.sentinels), len(is_single))
    columns = features.axis.by_column(inputs)
    found = codes_of_each(columns, is_single & (scale > 0))
    return [
        _share(columns, at, code, names) for at, each in enumerate(found) for code in each if code not in known[:, at]
    ]


def _share(columns: Array, at: int, code: float, names: Sequence[str]) -> CodeShare:
    """How often a column holds a code."""
    return CodeShare(names[at], float(code), _true(as_float64(columns[:, at]) == float(code)) / int(columns.shape[0]))


def _true(cells: Array) -> int:
    return int(namespace(cells).count_nonzero(cells))
