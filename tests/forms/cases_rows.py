"""A case for each line of the manual's table of rows, by its first cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import robmon
from tests.forms.cases_outputs import INPUTS, ROWS

LOST = np.arange(ROWS) % 50 == 3


def said(predict: Callable[[Any], Any], inputs: Any = INPUTS, **options: Any) -> str:
    """What robmon says of these rows: its notes. What it refuses is raised."""
    result = robmon.assess(predict, inputs, levels=(0.5,), trials=19, **options)
    return "; ".join((f"output is {result.output}", *result.notes))


def half(x: Any) -> Any:
    with np.errstate(over="ignore"):
        return (20000 * x[:, 0]).astype(np.float16)


def counting() -> Callable[[Any], Any]:
    calls = iter(range(1000))
    return lambda x: x[:, 0] + next(calls)


CASES: dict[str, Callable[[], str]] = {
    "NaN, infinite or missing output on some rows, without noise": lambda: said(
        lambda x: np.where(LOST, np.nan, x[:, 0])
    ),
    "NaN in one of several outputs, without noise": lambda: said(
        lambda x: np.column_stack([x[:, 0], np.where(LOST, np.nan, x[:, 1])])
    ),
    "NaN on every row, without noise": lambda: said(lambda x: np.full(len(x), np.nan)),
    "float16 inputs that noise takes out of its range": lambda: said(
        lambda x: x[:, 0].astype(float), (63000 + 1000 * np.clip(INPUTS, -2, 2)).astype(np.float16)
    ),
    "float16 outputs that overflow under noise": lambda: said(half, np.clip(INPUTS, -3.2, 3.2)),
    "one output for all rows of a batch": lambda: said(lambda x: x[:1, 0]),
    "the same, `max_batch_rows=1`": lambda: said(lambda x: x[:1, 0], max_batch_rows=1),
    "model with dropout left on, or with a state": lambda: said(counting()),
    "labels that differ from call to call": lambda: said(
        lambda x: (x[:, 0] + np.random.default_rng().random(len(x)) > 0.5).astype(int), task="classification"
    ),
    "outputs sorted, ranked or scaled over the batch": lambda: said(lambda x: x[:, 0].argsort().argsort() / len(x)),
    "model that squeezes its outputs": lambda: said(lambda x: np.squeeze(x[:, :1]), np.tile(INPUTS, (6, 1))[:1025]),
}
