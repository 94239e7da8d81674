"""Inputs as a matrix of features: one a column, or one a channel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.features.channels import FeatureAxis, choose


def feature_matrix(inputs: Any, axis: FeatureAxis | None = None) -> NDArray[np.float64]:
    """Inputs of any rank as `(n, features)` in float64.

    Rank 1 is one feature; rank 2 as it is; of rank 3 and more the mean of each feature, or channel, of each row over
    its finite values, NaN where it has none.

    Args:
        inputs: shape `(n, *input_shape)`, NumPy array or torch tensor of numbers.
        axis: which axis of the inputs counts features; None: by their rank.

    Raises:
        InvalidInputError: they are not numbers, or have no axis of rows.

    >>> feature_matrix(np.arange(24.0).reshape(2, 3, 2, 2)).tolist()
    [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    """
    array = np.asarray(inputs.detach().cpu() if hasattr(inputs, "detach") else inputs)
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise InvalidInputError(f"inputs of type {array.dtype} and shape {array.shape} are not rows of numbers")
    values = array.astype(np.float64, copy=False)
    axis = axis or choose(array, refuses=False)
    if axis.feature_of is not None:
        starts = np.argsort(axis.feature_of, kind="stable")
        parts = np.split(starts, np.flatnonzero(np.diff(np.array(axis.feature_of)[starts])) + 1)
        return np.column_stack([_finite_mean(values[:, part]) for part in parts])
    if values.ndim < 3 or axis.axis is None:
        return values.reshape(len(values), 1 if values.ndim == 1 else values.shape[1])
    values = np.moveaxis(values, axis.axis, 1)
    return _finite_mean(values.reshape(*values.shape[:2], math.prod(values.shape[2:])))


def _finite_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the last axis; a single value as it is."""
    if values.shape[-1] == 1:
        return values[..., 0]
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    total = np.where(finite, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
