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


def timed_rows(few, full):
    """What the planning itself predicts: a warm-up, and so fast a batch is timed six times more."""
    return 7 * (few + full)


def test_rows_go_first_then_trials():
    timing = timed_rows(16, 128) * ROW_SECONDS
    fewer_rows = Slow().plan(timing + 0.605)
    assert (fewer_rows.rows, fewer_rows.trials) == (60, 39), "0.8 of 0.605 s are 80 passes over 60 rows"
    fewer_trials = Slow().plan(timing + 0.121)
    assert (fewer_trials.rows, fewer_trials.trials) == (16, 29), "or 60 passes over the 16 that there must be"


def test_what_is_to_be_spared_is_spared_unless_the_smallest_assessment_needs_it():
    timing = timed_rows(16, 128) * ROW_SECONDS
    assert Slow().plan(timing + 0.805, spare_seconds=0.2).rows == 60
    assert Slow().plan(timing + 0.121, spare_seconds=0.1).rows == 16


def test_what_went_before_is_part_of_the_budget():
    model, timing = Slow(), timed_rows(16, 128) * ROW_SECONDS
    model.now = 8.0
    assert model.plan(timing + 3.605, began=5.0).rows == 60


def test_a_pace_that_leaves_no_doubt_is_refused_without_a_call():
    model = Slow()
    with pytest.raises(OverBudgetError) as caught:
        model.plan(1.0, rows_per_second=500)
    assert caught.value.needed_seconds == pytest.approx(16 * 40 / 500 / 0.8)
    assert model.now == 0


@pytest.mark.parametrize("row_seconds", [0.0, 1.0])
def test_a_slow_predictor_is_left_alone_when_the_time_is_up(row_seconds):
    model = Slow(call_seconds=0.0 if row_seconds else 20.0, row_seconds=row_seconds)
    with pytest.raises(OverBudgetError) as caught:
        model.plan(30.0)
    assert model.now <= 50, "one call more at most"
    assert caught.value.needed_seconds >= 40 * 16


def test_a_call_that_is_expensive_whatever_its_size_is_foreseen():
    with pytest.raises(OverBudgetError) as caught:
        Slow(call_seconds=0.002, row_seconds=0.0).plan(0.05)
    assert caught.value.needed_seconds == pytest.approx(14 * 0.002 + 40 * 0.002 / 0.8)


def test_over_budget_names_the_seconds_needed():
    with pytest.raises(OverBudgetError) as caught:
        Slow().plan(0.15)
    timing = timed_rows(16, 128) * ROW_SECONDS
    assert caught.value.needed_seconds == pytest.approx(timing + 16 * 40 * ROW_SECONDS / 0.8)
    assert caught.value.budget_seconds == 0.15


def test_a_planned_assessment_keeps_its_budget():
    model, budget = Slow(), 0.6
    planned = model.plan(budget)
    result = assess_rows(
        model, linear.inputs(128)[: planned.rows], levels=OPTIONS["levels"], trials=planned.trials,
        batch_rows=planned.batch_rows,
    )  # fmt: skip
    assert 0.7 * budget < model.now < budget, "with what the planning took"
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
