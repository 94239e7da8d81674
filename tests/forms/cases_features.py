"""A case for each line of the manual's table of what is perturbed of inputs, by its first cell."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import torch

import robmon

ROWS = 120
G = np.random.default_rng(3)
AGES = np.where(np.arange(ROWS) % 20 == 0, 9999.0, np.where(np.arange(ROWS) % 20 == 1, 7777.0, G.normal(50, 12, ROWS)))
TABLE = pd.DataFrame(
    {"age": G.integers(18, 90, ROWS), "height": G.normal(170, 9, ROWS), "region": list("ab") * (ROWS // 2)}
)
STEPS = np.array([1.0, 100.0, 1e4]) * G.normal(size=(ROWS, 20, 3))


def said(inputs: Any, predict: Any = None, **options: Any) -> str:
    """What robmon says of these inputs: what levels count, and its notes. What it refuses is raised."""
    result = robmon.assess(predict or _mean, inputs, levels=(0.2,), trials=19, **options)
    return "; ".join((f"levels count {result.level_unit}, {result.scale.size} in all", *result.notes))


def _mean(x: Any) -> Any:
    if isinstance(x, pd.DataFrame):
        return x.iloc[:, 0].to_numpy(dtype=float)
    if isinstance(x, dict):
        return _mean(next(iter(x.values())))
    return np.asarray(x, dtype=float).reshape(len(x), -1).mean(axis=1)


def _turned() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv1d(20, 2, 3), torch.nn.Flatten())


CASES: dict[str, Callable[[], str]] = {
    "array `(n, k)` of floats": lambda: said(G.normal(size=(ROWS, 4))),
    "array `(n, steps, features)` of floats": lambda: said(G.normal(size=(ROWS, 20, 3))),
    "the same, in units of their own": lambda: said(STEPS),
    "the same, `scale_axis=2`": lambda: said(STEPS, scale_axis=2),
    "the same, as a named tensor": lambda: said({"x": STEPS}, scale_axis=-1),
    "the same, to a torch module that begins with a `Conv1d`": lambda: said(
        torch.tensor(STEPS, dtype=torch.float32), _turned()
    ),
    "images `(n, 3, h, w)`": lambda: said(G.random((ROWS, 3, 8, 8))),
    "images `(n, h, w, 3)`": lambda: said(G.random((ROWS, 8, 8, 3))),
    "pictures of many bands, channels last, in units of their own": lambda: said(
        G.random((ROWS, 8, 8, 12)) * np.logspace(0, 4, 12)
    ),
    "images of bytes": lambda: said(G.integers(0, 256, (ROWS, 1, 8, 8)).astype(np.uint8)),
    'images of bytes, `integers="all"`': lambda: said(
        G.integers(0, 256, (ROWS, 1, 8, 8)).astype(np.uint8), integers="all"
    ),
    "table with integers and text": lambda: said(TABLE, lambda d: d["height"]),
    'the same, `integers=["age"]`': lambda: said(TABLE, lambda d: d["height"] + d["age"], integers=["age"]),
    "column of fractions with some text, or as text": lambda: said(
        TABLE.assign(
            price=["n/a" if x % 9 == 0 else x / 4 for x in range(ROWS)], weight=[f"{x / 4:.2f}" for x in range(ROWS)]
        )[["height", "price", "weight"]],
        lambda d: d["height"],
    ),
    "table of integers and text alone": lambda: said(TABLE[["age", "region"]]),
    "column of decimals": lambda: said(pd.DataFrame({"price": [Decimal(str(x / 4)) for x in range(ROWS)]})),
    "column with codes": lambda: said(pd.DataFrame({"age": AGES}), lambda d: np.where(d["age"] > 1000, 0, d["age"])),
    "column with the code 0": lambda: said(
        pd.DataFrame({"age": np.where(AGES > 1000, 0.0, AGES)}), lambda d: d["age"].to_numpy()
    ),
}
