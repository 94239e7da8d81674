"""The time budget, on a clock that only the model's work moves: so nothing here depends on how busy the machine is."""

from __future__ import annotations

import pytest

from robmon.errors import InvalidInputError, OverBudgetError, TooFewTrialsError
from robmon.robustness.assessment import assess_rows
from robmon.robustness.plan import AssessmentPlan, plan_assessment
from tests.robustness import linear

ROW_SECONDS = 1e-4
OPTIONS = {"levels": [0.0, 0.1, 0.2], "trials": 39, "confidence": 0.95, "min_rows": 16}


class Slow:
    """The linear model at a fixed cost a call and a row, and the clock that shows it."""

    def __init__(self, call_seconds=0.0, row_seconds=ROW_SECONDS):
        self.call_seconds, self.row_seconds = call_seconds, row_seconds
        self.now = 0.0

    def __call__(self, x, rows):
        self.now += self.call_seconds + self.row_seconds * len(x)
        return linear.predict(x, rows)

    def plan(self, seconds, **options):
        return plan_assessment(
            self, linear.inputs(128), max_seconds=seconds, clock=lambda: self.now, **(OPTIONS | options)
        )


def test_everything_where_it_fits():
    planned = Slow().plan(100.0, max_batch_rows=50)
    assert planned == AssessmentPlan(128, 39, 50, pytest.approx(128 * 80 * ROW_SECONDS), 128, 39)


def test_rows_go_first_then_trials():
    fewer_rows = Slow().plan(0.605)
    assert (fewer_rows.rows, fewer_rows.trials) == (60, 39), "0.8 of 0.605 s are 80 passes over 60 rows"
    fewer_trials = Slow().plan(0.121)
    assert (fewer_trials.rows, fewer_trials.trials) == (16, 29), "or 60 passes over the 16 that there must be"


def test_a_call_that_is_expensive_whatever_its_size_is_foreseen():
    with pytest.raises(OverBudgetError) as caught:
        Slow(call_seconds=0.002, row_seconds=0.0).plan(0.05)
    assert caught.value.needed_seconds == pytest.approx(40 * 0.002 / 0.8)


def test_over_budget_names_the_seconds_needed():
    with pytest.raises(OverBudgetError) as caught:
        Slow().plan(0.01)
    assert caught.value.needed_seconds == pytest.approx(16 * 40 * ROW_SECONDS / 0.8)
    assert caught.value.budget_seconds == 0.01


def test_a_planned_assessment_keeps_its_budget():
    model, budget = Slow(), 0.6
    planned = model.plan(budget)
    start = model.now
    result = assess_rows(
        model, linear.inputs(128)[: planned.rows], levels=OPTIONS["levels"], trials=planned.trials,
        batch_rows=planned.batch_rows,
    )  # fmt: skip
    assert 0.7 * budget < model.now - start < budget
    assert (result.rows, result.trials) == (planned.rows, planned.trials)


def test_the_clock_on_the_wall_is_the_default():
    planned = plan_assessment(linear.predict, linear.inputs(128), max_seconds=1e6, **OPTIONS)
    assert planned.seconds > 0


def test_what_cannot_be_planned_is_told():
    with pytest.raises(InvalidInputError, match="128 rows are fewer than the 200"):
        Slow().plan(1.0, min_rows=200)
    with pytest.raises(TooFewTrialsError, match="99"):
        Slow().plan(1.0, confidence=0.99)


class Paced(Slow):
    """A predictor that rests as long after a call as the call took, and whose first call is slow."""

    rest = 0.0

    def __call__(self, x, rows):
        self.now += self.rest
        self.rest = 0.03 if self.rest else 0.5
        self.now += self.rest
        return linear.predict(x, rows)


def test_a_slow_first_call_is_not_taken_for_the_pace():
    planned = Paced().plan(100.0, max_batch_rows=128)
    assert planned.seconds == pytest.approx(80 * 0.06)


def test_what_a_call_costs_is_known_also_where_the_fewest_rows_fill_a_batch():
    """A few rows more than fill the batches are a call more."""
    planned = Slow(call_seconds=0.01, row_seconds=0.0).plan(1.9, max_batch_rows=16)
    assert planned.rows == 16 and planned.seconds == pytest.approx(80 * 0.01)
