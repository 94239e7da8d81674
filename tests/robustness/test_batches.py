"""How rows are cut into the calls of a predictor: as production asks, never one row on its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import robmon
from robmon.robustness.arrays import batches, check_rows, default_batch_rows
from tests.robustness import linear


def lengths(rows: int, batch_rows: int) -> list[int]:
    return [each.stop - each.start for each in batches(rows, batch_rows)]


def test_batches_cover_all_rows_in_order_and_none_is_a_single_row() -> None:
    for batch_rows in (1, 2, 3, 5, 32, 1024):
        for rows in range(1, 140):
            cut = list(batches(rows, batch_rows))
            assert [row for each in cut for row in range(each.start, each.stop)] == list(range(rows))
            assert max(lengths(rows, batch_rows)) <= batch_rows and len(cut) == -(-rows // batch_rows)
            if batch_rows > 2 and rows > 1:
                assert min(lengths(rows, batch_rows)) > 1
    assert lengths(1025, 1024) == [513, 512]
    assert default_batch_rows((9, 3, 4096, 4096)) == 3


class Squeezing:
    """A model that squeezes its outputs, and notes how many rows it was given."""

    def __init__(self) -> None:
        self.rows: set[int] = set()

    def __call__(self, x):
        self.rows.add(len(x))
        return (x @ np.ones((x.shape[1], 1))).squeeze()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(("rows", "max_batch_rows"), [(1025, None), (65, 64), (9, 8), (7, 2), (33, 4)])
def test_a_model_that_squeezes_is_never_given_one_row(kind: str, rows: int, max_batch_rows: int | None) -> None:
    model, inputs = Squeezing(), linear.inputs(rows)

    def predict(x):
        return torch.as_tensor(model(np.asarray(x))) if kind == "torch" else model(x)

    given = torch.as_tensor(inputs) if kind == "torch" else inputs
    result = robmon.assess(predict, given, trials=19, max_batch_rows=max_batch_rows)
    assert min(model.rows) > 1 and max(model.rows) <= (max_batch_rows or 4096)
    whole = robmon.assess(lambda x: x.sum(axis=1), given, trials=19)
    assert result.curve[-1].mean_mse == pytest.approx(whole.curve[-1].mean_mse)


def test_a_time_budget_times_no_single_row() -> None:
    model = Squeezing()
    robmon.assess(model, linear.inputs(33), trials=19, max_batch_rows=5, max_seconds=60)
    assert min(model.rows) > 1


def test_one_row_at_a_time_is_what_max_batch_rows_1_asks_for() -> None:
    model = Squeezing()
    result = robmon.assess(model, linear.inputs(20), trials=19, max_batch_rows=1)
    assert model.rows == {1} and result.rows == 20
    assert result.index == pytest.approx(robmon.assess(model, linear.inputs(20), trials=19).index)


def test_an_output_without_an_axis_is_that_of_the_only_row() -> None:
    assert check_rows(np.array(2.0), 1).tolist() == [2.0]
    only = robmon.assess(lambda x: float(x.sum()), linear.inputs(1), trials=19, scale=1.0)
    assert only.clean_outputs.shape == (1, 1)
    with pytest.raises(robmon.errors.PredictionError, match=r"outputs of shape \(\) for 20 rows"):
        robmon.assess(lambda x: x.sum(), linear.inputs(20), trials=19)


def test_a_comparison_gives_neither_model_a_single_row() -> None:
    a, b = Squeezing(), Squeezing()
    result = robmon.compare(a, lambda x: 1.5 * b(x), linear.inputs(257), trials=19, max_batch_rows=64)
    assert result.worse and result.ratio == pytest.approx(1.5**2)
    assert min(a.rows | b.rows) > 1


def test_other_outputs_are_refused_by_the_rows_that_are_assessed_anyway() -> None:
    two = Squeezing()

    def both(x):
        return np.stack([two(x), two(x)], axis=1)

    with pytest.raises(robmon.errors.InvalidInputError, match="the second 2 outputs a row"):
        robmon.compare(Squeezing(), both, linear.inputs(65), trials=19, max_batch_rows=64)
    assert min(two.rows) > 1


@pytest.mark.parametrize("others", [{}, {"kind": np.arange(1500) % 3}])
def test_every_batch_of_a_frame_counts_its_rows_from_0(others) -> None:
    """A model may join by the index, as it stands in a request."""
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=1500), **others}).sort_values("a")

    def joins(part: pd.DataFrame):
        assert part.index.equals(pd.RangeIndex(len(part)))
        return pd.concat([part, pd.DataFrame({"ones": np.ones(len(part))})], axis=1)[["a", "ones"]].sum(axis=1)

    whole = robmon.assess(lambda part: part["a"], frame, trials=19)
    assert robmon.assess(joins, frame, trials=19).index == pytest.approx(whole.index)
    assert robmon.assess(joins, frame, trials=19, max_batch_rows=64).index == pytest.approx(whole.index)
