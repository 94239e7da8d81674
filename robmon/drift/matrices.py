"""Two samples of several features at once, each divided by its standard deviation in the baseline."""

from __future__ import annotations

from typing import Any

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64, numbers


def standardised(baseline: Any, current: Any) -> tuple[Float64, Float64]:
    """Rows of both with all features finite, less the baseline's mean, over its standard deviation (divisor n).

    A feature that is constant in the baseline is divided by 1.

    Args:
        baseline, current: shapes `(n, features)` and `(m, features)`.

    Raises:
        InvalidInputError: they are no such numbers, or have fewer than 2 such rows.
    """
    first, second = numbers(baseline, "the baseline's rows"), numbers(current, "the current rows")
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or not first.shape[1]:
        raise InvalidInputError(f"rows of shapes {first.shape} and {second.shape} are not samples of the same features")
    first, second = (rows[np.isfinite(rows).all(axis=1)] for rows in (first, second))
    if min(len(first), len(second)) < 2:
        raise InvalidInputError("at least 2 rows with a number for every feature are needed on either side")
    size = np.maximum(np.abs(first).max(axis=0), np.abs(second).max(axis=0))
    size = np.where(size > np.finfo(np.float64).tiny, size, 1.0)
    first, second = first / size, second / size  # whose squares neither overflow nor vanish
    mean, deviation = first.mean(axis=0), first.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0 / size)
    return (first - mean) / deviation, (second - mean) / deviation
