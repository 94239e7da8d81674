"""How many rows a model is given at a time, and what happens where memory runs out."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import robmon
from robmon.errors import OverBudgetError, PredictionError, is_out_of_memory
from robmon.robustness.assessment import assess_rows
from robmon.robustness.engine import batch, tuning
from robmon.robustness.engine.batch_size import batch_size_of
from robmon.robustness.engine.pace import Pace
from robmon.robustness.engine.plan import expected_seconds, plan_assessment
from robmon.robustness.engine.predictor import FunctionPredictor
from robmon.robustness.engine.tuning import fastest_rows
from robmon.robustness.specification import Specification

ROWS = 60


class Crowded(torch.nn.Module):
    """A linear model for which memory runs out beyond so many rows."""

    def __init__(self, most: int, error: Any = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.most, self.error, self.sizes = most, error, list[int]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise self.error("out of memory")
        result: torch.Tensor = self.layer(x)
        return result


def crowded(most: int, error: Any = torch.OutOfMemoryError) -> Crowded:
    torch.manual_seed(0)
    return Crowded(most, error)


def inputs() -> torch.Tensor:
    return torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_where_memory_runs_out_batches_are_halved_and_the_numbers_stay(error: type[Exception]) -> None:
    free = robmon.assess(crowded(10**6), inputs(), max_batch_rows=ROWS * 4)
    tight = robmon.assess(crowded(9, error), inputs(), max_batch_rows=ROWS * 4)
    assert (free.out_of_memory_retries, free.batch_rows) == (0, ROWS * 4)
    assert (tight.out_of_memory_retries, tight.batch_rows) == (3, 8)
    assert tight.curve[-1].mean_mse == pytest.approx(free.curve[-1].mean_mse, rel=1e-6)
    assert tight.curve[-1].bound == pytest.approx(free.curve[-1].bound, rel=1e-6)


def test_what_was_not_given_to_a_model_is_not_halved() -> None:
    model = crowded(ROWS)
    result = robmon.assess(model, inputs(), max_batch_rows=10**6)
    in_vain = [rows for rows in model.sizes if rows > ROWS]
    assert in_vain[0] == 39 * ROWS and len(in_vain) == len(set(in_vain)) == result.out_of_memory_retries
    assert ROWS <= result.batch_rows < 2 * ROWS


@pytest.mark.parametrize("rows", [1, 2])
def test_a_model_that_takes_one_row_only_is_assessed_and_one_that_takes_none_is_refused(rows: int) -> None:
    assert robmon.assess(crowded(rows), inputs()).batch_rows <= 2
    with pytest.raises(PredictionError, match="cannot take a single row") as refusal:
        robmon.assess(crowded(0), inputs())
    assert refusal.value.reason == "out_of_memory"


def test_what_else_a_model_raises_is_no_reason_to_try_again() -> None:
    model = crowded(0, ValueError)
    with pytest.raises(ValueError, match="out of memory"):
        robmon.assess(model, inputs())
    assert len(model.sizes) < 5


def test_what_a_model_raises_after_some_trials_is_told() -> None:
    calls: list[int] = []

    def predict(x: Any) -> Any:
        calls.append(len(x))
        if len(calls) == 7:
            raise ValueError("once")
        return x.sum(axis=1)

    with pytest.raises(ValueError, match="once"):
        robmon.assess(predict, inputs().numpy(), max_batch_rows=4 * ROWS, levels=(0.0, 0.1))


def test_a_plan_is_made_with_batches_that_memory_holds() -> None:
    model = crowded(9)
    predictor = FunctionPredictor(lambda x, rows: model(x).detach())
    plan = plan_assessment(predictor, inputs(), Specification(), min_rows=32, max_seconds=60)
    assert plan.batch_rows <= 9 and plan.out_of_memory_retries > 0 and plan.rows == ROWS


def test_what_an_assessment_takes_is_foretold_with_batches_that_memory_holds() -> None:
    model = crowded(9)
    predictor = FunctionPredictor(lambda x, rows: model(x).detach())
    assert 0 < expected_seconds(predictor, inputs(), Specification()) < 60
    with pytest.raises(PredictionError, match="a single row: out of memory"):
        expected_seconds(FunctionPredictor(lambda x, rows: crowded(0)(x)), inputs(), Specification())


def test_memory_that_ran_out_while_a_budget_was_planned_is_counted_in_the_result() -> None:
    result = robmon.assess(crowded(9), inputs(), max_seconds=60)
    assert result.batch_rows <= 9 and result.out_of_memory_retries >= 3


def test_memory_that_ran_out_is_known_by_its_cause() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError("out of memory"))
    error = PredictionError("the model raised")
    error.__cause__ = MemoryError()
    assert is_out_of_memory(error)


class Paced(torch.nn.Module):
    """A model for which a call takes a second, and a row so much more beyond the rows that suit it."""

    def __init__(self, suits: int) -> None:
        super().__init__()
        self.suits, self.now, self.sizes = suits, 0.0, list[int]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        self.now += 1e-3 * (1.0 + len(x) / self.suits + (len(x) / self.suits) ** 2)
        return x

    def run(self, rows: int) -> None:
        self(torch.empty(rows, 4))


@pytest.mark.parametrize("suits", [20, 60, 500, 3000])
def test_the_batch_is_the_one_in_which_a_row_takes_the_least_time(suits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Paced(suits)
    monkeypatch.setattr(tuning.time, "process_time", lambda: model.now)
    predictor = FunctionPredictor(lambda x, rows: model(x), module=model)
    found = fastest_rows(model.run, inputs(), usual=1024, passes=10**6, patience_seconds=20.0)
    assert suits / 2 < found <= 2 * suits
    assert batch_size_of(predictor, 7, inputs(), model.run, passes=10**6).rows == 7
    model.sizes.clear()
    several = [batch_size_of(predictor, None, inputs(), model.run, passes=10**6).rows for _ in range(3)]
    assert len(set(several)) == 1 and len(model.sizes) <= 4 * 9, "it is measured once"


@pytest.mark.parametrize("error", [MemoryError, ValueError])
def test_what_a_batch_that_is_tried_raises_is_no_failure_yet(error: type[Exception]) -> None:
    def run(rows: int) -> None:
        raise error

    assert fastest_rows(run, inputs(), usual=7, passes=10**6, patience_seconds=1.0) == 7


def test_a_short_assessment_is_worth_no_search_and_a_long_one_a_share_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Paced(20)
    monkeypatch.setattr(tuning.time, "process_time", lambda: model.now)
    assert fastest_rows(model.run, inputs(), usual=1024, passes=5, patience_seconds=20.0) == 1024
    assert len(model.sizes) == 4, "the usual batch alone"
    began = model.now
    fastest_rows(model.run, inputs(), usual=1024, passes=2000, patience_seconds=20.0)
    assert model.now - began < 0.2 * 2000 * 60 * 0.00265, "a fifth at most of what it takes in usual batches"


def test_a_duty_cycle_leaves_the_device_to_others() -> None:
    now, rests = [0.0], list[float]()
    pace = Pace(0.25, clock=lambda: now[0], sleep=rests.append)
    for seconds in (1.0, 2.0):
        now[0] += seconds
        pace.rest(np.zeros(1))
    assert rests == [3.0, 6.0]
    pace = Pace(None, sleep=rests.append)
    pace.rest(np.zeros(1))
    assert len(rests) == 2


def test_of_work_that_has_had_its_rest_there_is_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rests = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        now[0] += seconds

    def predict(x: Any, rows: slice) -> Any:
        now[0] += 1.0
        return x.sum(axis=1)

    monkeypatch.setattr(batch, "Pace", partial(Pace, clock=lambda: now[0], sleep=sleep))
    specification = Specification(levels=(0.0, 0.1), trials=19, max_batch_rows=16)
    assess_rows(FunctionPredictor(predict, duty_cycle=0.25), np.arange(256.0).reshape(64, 4), specification)
    asked = [seconds for seconds in rests if seconds]  # the outputs known of a clean pass cost nothing again
    assert asked == [3.0] * len(asked) and len(asked) >= 4 * 20


def test_rests_are_part_of_what_an_assessment_is_planned_to_take() -> None:
    def predict(x: Any, rows: slice) -> Any:
        return x.sum(axis=1)

    seconds = {
        duty: plan_assessment(
            FunctionPredictor(predict, duty_cycle=duty), np.ones((64, 4)) * np.arange(64)[:, None], Specification(),
            min_rows=32, max_seconds=600,
        ).seconds
        for duty in (None, 0.02)
    }  # fmt: skip
    assert seconds[0.02] > 5 * seconds[None]
    with pytest.raises(OverBudgetError):
        slow = FunctionPredictor(predict, duty_cycle=1e-3)
        plan_assessment(slow, np.arange(256.0).reshape(64, 4), Specification(), min_rows=32, max_seconds=1)
