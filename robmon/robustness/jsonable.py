"""Results as strict JSON has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def jsonable(value: Any) -> Any:
    """Numbers, text, lists and dictionaries only: infinite is "+Inf" or "-Inf", NaN is None, arrays are lists.

    >>> jsonable({"bound": float("inf"), "levels": np.array([0.0, 0.1])})
    {'bound': '+Inf', 'levels': [0.0, 0.1]}
    """
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return value
