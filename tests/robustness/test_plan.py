from __future__ import annotations

import time

import pytest

from robmon.errors import InvalidInputError, OverBudgetError, TooFewTrialsError
from robmon.robustness.assessment import assess_rows
from robmon.robustness.plan import AssessmentPlan, plan_assessment
from tests.robustness import linear

ROW_SECONDS = 1e-4
OPTIONS = {"levels": [0.0, 0.1, 0.2], "trials": 39, "confidence": 0.95, "min_rows": 16}


class Slow:
    """The linear model, at a fixed cost a row."""

    def __init__(self):
        self.slept = 0.0

    def __call__(self, x, rows):
        time.sleep(ROW_SECONDS * len(x))
        self.slept += ROW_SECONDS * len(x)
        return linear.predict(x, rows)


def plan(seconds, **options):
    return plan_assessment(Slow(), linear.inputs(128), max_seconds=seconds, **(OPTIONS | options))


def test_everything_where_it_fits():
    assert plan(100.0, max_batch_rows=50) == AssessmentPlan(128, 39, 50, pytest.approx(128 * 80 * ROW_SECONDS, rel=0.5))


def test_rows_go_first_then_trials():
    fewer_rows = plan(0.6)
    assert 16 < fewer_rows.rows < 128
    assert fewer_rows.trials == 39
    fewer_trials = plan(0.12)
    assert fewer_trials.rows == 16
    assert 19 <= fewer_trials.trials < 39


def test_a_call_that_is_expensive_whatever_its_size_is_foreseen():
    def predict(x, rows):
        time.sleep(0.002)
        return linear.predict(x, rows)

    with pytest.raises(OverBudgetError) as caught:
        plan_assessment(predict, linear.inputs(128), max_seconds=0.05, **OPTIONS)
    assert caught.value.needed_seconds == pytest.approx(40 * 0.002 / 0.8, rel=0.5)


def test_over_budget_names_the_seconds_needed():
    with pytest.raises(OverBudgetError) as caught:
        plan(0.01)
    assert caught.value.needed_seconds == pytest.approx(16 * 40 * ROW_SECONDS / 0.8, rel=0.5)
    assert caught.value.budget_seconds == 0.01


def test_a_planned_assessment_keeps_its_budget():
    model, budget = Slow(), 0.6
    planned = plan_assessment(model, linear.inputs(128), max_seconds=budget, **OPTIONS)
    model.slept = 0.0
    result = assess_rows(
        model, linear.inputs(128)[: planned.rows], levels=OPTIONS["levels"], trials=planned.trials,
        batch_rows=planned.batch_rows,
    )  # fmt: skip
    assert 0.4 * budget < model.slept < budget
    assert (result.rows, result.trials) == (planned.rows, planned.trials)


def test_what_cannot_be_planned_is_told():
    with pytest.raises(InvalidInputError, match="128 rows are fewer than the 200"):
        plan(1.0, min_rows=200)
    with pytest.raises(TooFewTrialsError, match="99"):
        plan(1.0, confidence=0.99)
