"""A case for each line of the manual's tables of outputs, by its first cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import robmon

ROWS = 200
INPUTS = np.random.default_rng(1).normal(size=(ROWS, 3))


def said(predict: Callable[[Any], Any], task: str = "classification", **options: Any) -> str:
    """What robmon says of these outputs: its notes. What it refuses is raised."""
    result = robmon.assess(predict, INPUTS, task=task, levels=(0.5,), trials=19, **options)
    return "; ".join((f"output is {result.output}", *result.notes))


CASES: dict[str, Callable[[], str]] = {
    "array `(n,)` or `(n, k)` of floats, regression": lambda: said(lambda x: x @ np.eye(3)[:, :2], "regression"),
    "integers, regression": lambda: said(lambda x: (x[:, 0] > 0).astype(int), "regression"),
}
