"""What noise leaves as it was: features without scale, sentinels, and what is no finite number."""

from __future__ import annotations

from dataclasses import dataclass

from robmon.robustness.arrays import Array, as_float64, batches, default_batch_rows, namespace
from robmon.robustness.features import Features


def untouched(values: Array, features: Features) -> Array:
    """Which cells are not perturbed: those of features of scale 0, sentinels, NaN and infinities. Shape of `values`.

    Args:
        values: float64, shape `(n, *input_shape)`.
        features: arrays of the same kind, on the same device.
    """
    return (features.scale == 0) | (values == features.sentinels) | ~namespace(values).isfinite(values)


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
    here = features.like(inputs)
    sentinels = missing = perturbed = 0
    for rows in batches(int(inputs.shape[0]), default_batch_rows(tuple(inputs.shape))):
        values = as_float64(inputs[rows])
        sentinels += _true(values == here.sentinels)
        missing += _true(~namespace(values).isfinite(values))
        perturbed += _true(~untouched(values, here))
    masked = Masked(features.constant, features.indicator, 0, sentinels, missing)
    return masked, perturbed


def _true(cells: Array) -> int:
    xp = namespace(cells)
    return int(xp.sum(xp.astype(cells, xp.int64)))
