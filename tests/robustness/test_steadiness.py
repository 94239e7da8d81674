"""Whether a model gives a row the same output whatever rows stand beside it, and what is told where it does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import robmon

Array = NDArray[np.float64]
X = np.random.default_rng(0).normal(size=(60, 3))
BESIDE = "depends on the rows beside it"


def told(
    predict: Callable[[Array], Array], rows: Array = X, task: str = "regression", max_batch_rows: int | None = None
) -> bool:
    notes = robmon.assess(predict, rows, task=task, max_batch_rows=max_batch_rows, trials=19, levels=(0.1, 0.2)).notes
    return any(BESIDE in note for note in notes)


def in_range_of_batch(x: Array) -> Array:
    """Quantised to 4 bits, whose range is that of all rows beside each other."""
    step = np.abs(x).max() / 7
    return np.asarray((np.round(x / step) * step).sum(axis=1))


@pytest.mark.parametrize(
    "predict",
    [
        lambda x: (x - x.mean(axis=0)) / x.std(axis=0),
        lambda x: np.sort(x, axis=0),
        lambda x: np.cumsum(x, axis=0),
        lambda x: x[:, 0] / np.abs(x[:, 0]).sum(),
        in_range_of_batch,
    ],
    ids=["batch norm", "sort", "running sum", "share", "dynamic quantisation"],
)
def test_is_told_where_rows_beside_a_row_decide(predict: Callable[[Array], Array]) -> None:
    assert told(predict)
    assert not told(predict, max_batch_rows=20), "its owner says how many are asked at a time"


def test_is_told_where_a_time_budget_fixes_the_batches() -> None:
    notes = robmon.assess(lambda x: x - x.mean(axis=0), X, trials=19, max_seconds=30).notes
    assert any(BESIDE in note for note in notes)


def test_is_told_of_several_batches_too() -> None:
    rows = np.random.default_rng(1).normal(size=(5000, 2))
    assert told(lambda x: x - x.mean(axis=0), rows)


def test_classes_that_rows_beside_a_row_decide() -> None:
    assert told(lambda x: (x[:, 0] > x[0, 0]).astype(int), task="classification")
    assert not told(lambda x: (x[:, 0] > 0).astype(int), task="classification")


@pytest.mark.parametrize(
    "predict",
    [
        lambda x: x @ np.array([1.0, 2.0, 3.0]),
        lambda x: (x.astype(np.float32) @ np.array([[0.1], [1e3], [3.0]], dtype=np.float32)).astype(np.float16),
        lambda x: x[:, 0] * np.tile(np.arange(60.0), len(x) // 60),
    ],
    ids=["linear", "half precision", "fixed rows"],
)
def test_is_silent_of_others(predict: Callable[[Array], Array]) -> None:
    assert not told(predict)
