"""Inputs as a matrix of features: one a column, or one a channel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError


def feature_matrix(inputs: Any) -> NDArray[np.float64]:
    """Inputs of any rank as `(n, features)` in float64.

    Rank 1 is one feature; rank 2 as it is; of rank 3 and more the mean of each channel of each row over its finite
    values, NaN where it has none. Channels are on axis 1, or on the last axis where it is at most 4 long and axis 1 is
    not.

    Args:
        inputs: shape `(n, *input_shape)`, NumPy array or torch tensor of numbers.

    Raises:
        InvalidInputError: they are not numbers, or have no axis of rows.

    >>> feature_matrix(np.arange(24.0).reshape(2, 3, 2, 2)).tolist()
    [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    """
    array = np.asarray(inputs.detach().cpu() if hasattr(inputs, "detach") else inputs)
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise InvalidInputError(f"inputs of type {array.dtype} and shape {array.shape} are not rows of numbers")
    values = array.astype(np.float64, copy=False)
    if values.ndim < 3:
        return values.reshape(len(values), 1 if values.ndim == 1 else values.shape[1])
    channels_last = values.shape[-1] <= 4 < values.shape[1]
    channels = values.shape[-1 if channels_last else 1]
    values = np.moveaxis(values, -1 if channels_last else 1, 1).reshape(
        len(values), channels, math.prod(values.shape[1:]) // max(channels, 1)
    )
    finite = np.isfinite(values)
    count = finite.sum(axis=2)
    total = np.where(finite, values, 0.0).sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
