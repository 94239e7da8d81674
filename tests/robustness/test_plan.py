"""The time budget, on a clock that only the model's work moves: so nothing here depends on how busy the machine is."""

from __future__ import annotations

import pytest

from robmon.errors import InvalidInputError, OverBudgetError, TooFewTrialsError
from robmon.robustness.engine.plan import AssessmentPlan, expected_seconds
from robmon.robustness.engine.predictor import FunctionPredictor
from robmon.wording import duration
from tests.robustness import linear
from tests.robustness.assessing import assess_rows, plan_assessment, specified

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


def fitting_rows(model, seconds, passes=80):
    """What 0.8 of the seconds that the planning left holds."""
    return int(0.8 * (seconds - model.now) / (passes * ROW_SECONDS) + 1e-9)


def test_rows_go_first_then_trials():
    model = Slow()
    fewer_rows = model.plan(0.7)
    assert (fewer_rows.rows, fewer_rows.trials) == (fitting_rows(model, 0.7), 39) and 55 < fewer_rows.rows < 70
    model = Slow()
    fewer_trials = model.plan(0.15)
    passes = fitting_rows(model, 0.15, passes=16)
    assert (fewer_trials.rows, fewer_trials.trials) == (16, passes // 2 - 1), "two levels, and two clean passes"


def test_what_is_to_be_spared_is_spared_unless_the_smallest_assessment_needs_it():
    model = Slow()
    assert model.plan(0.9, spare_seconds=0.2).rows == fitting_rows(model, 0.7)
    assert Slow().plan(0.15, spare_seconds=0.1).rows == 16


def test_what_went_before_is_part_of_the_budget():
    model = Slow()
    model.now = 8.0
    planned = model.plan(3.7, began=5.0)
    assert planned.rows == fitting_rows(model, 8.7) < 128


@pytest.mark.parametrize("max_seconds", [0.2, 1.0, 20.0])
@pytest.mark.parametrize("max_batch_rows", [None, 8])
def test_what_the_smallest_assessment_needs_does_not_depend_on_the_rows_given(max_seconds, max_batch_rows):
    """And is found out within the budget, as long as that holds five rows."""
    needed = set()
    for rows in (32, 220, 4000):
        model = Slow(row_seconds=0.02 if max_seconds < 20 else 0.2)
        with pytest.raises(OverBudgetError) as caught:
            plan_assessment(
                model, linear.inputs(rows), max_seconds=max_seconds, clock=lambda model=model: model.now,
                max_batch_rows=max_batch_rows, **(OPTIONS | {"min_rows": 32}),
            )  # fmt: skip
        smallest = 32 * 40 * model.row_seconds / 0.8
        assert smallest <= caught.value.needed_seconds <= smallest + model.now + 1e-9
        assert model.now <= max_seconds and not caught.value.at_least
        needed.add(str(caught.value))
    assert len(needed) == 1


def test_a_budget_in_which_no_second_batch_can_be_timed_is_told_as_that():
    model = Slow(row_seconds=1.0)
    with pytest.raises(OverBudgetError, match=r"needs at least 104 s, the budget is 2\.5 s") as caught:
        model.plan(2.5)
    assert caught.value.at_least and model.now == 4.0, "one batch of two rows, twice"


def test_times_are_told_as_people_say_them():
    told = {
        0.35: "0.35 s",
        299.0: "299 s",
        300.0: "5 minutes",
        301.0: "5 minutes 1 second",
        3599.6: "1 hour",
        4380: "1 hour 13 minutes",
        8040: "2 hours 14 minutes",
        172799: "2 days",
        3e5: "3 days 11 hours",
        1e7: "116 days",
    }
    for seconds, text in told.items():
        assert duration(seconds) == text
    assert str(OverBudgetError(8040, 0.1)) == "the smallest assessment needs 2 hours 14 minutes, the budget is 0.1 s"


@pytest.mark.parametrize(
    ("needed", "budget", "told"),
    [
        (10.001, 10, "needs 10.1 s, the budget is 10 s"),
        (9.999, 9.998, "needs 10 s, the budget is 9.99 s"),
        (0.30000001, 0.3, "needs 0.301 s, the budget is 0.3 s"),
        (4381, 4380, "needs 1 hour 14 minutes, the budget is 1 hour 13 minutes"),
        (7921, 7920, "needs 2 hours 13 minutes, the budget is 2 hours 12 minutes"),
        (900001, 900000, "needs 11 days, the budget is 10 days"),
    ],
)
def test_what_is_needed_is_told_as_more_than_the_budget(needed, budget, told):
    assert told in str(OverBudgetError(needed, budget))


def test_nothing_is_planned_faster_than_the_pace():
    """A batch that has a shorter one before it is asked for at once."""
    planned = Slow(row_seconds=0.0).plan(5.0, rows_per_second=1000)
    assert (planned.rows, planned.seconds) == (50, pytest.approx(50 * 80 / 1000))


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
        Slow(call_seconds=0.002, row_seconds=0.0).plan(0.05, max_batch_rows=16)
    assert caught.value.needed_seconds == pytest.approx(14 * 0.002 + 40 * 0.002 / 0.8)


def test_trials_that_share_a_call_pay_it_once():
    model = Slow(call_seconds=0.01)
    planned = model.plan(10.0, max_batch_rows=1280)
    planning = model.now
    assess_rows(model, linear.inputs(128), levels=OPTIONS["levels"], trials=39, max_batch_rows=planned.batch_rows)
    assert planned.seconds == pytest.approx(model.now - planning), "two clean calls, and four groups at two levels"
    assert planned.seconds == pytest.approx(10 * 0.01 + 80 * 128 * ROW_SECONDS)


def test_over_budget_names_the_seconds_needed():
    model = Slow()
    with pytest.raises(OverBudgetError) as caught:
        model.plan(0.09)
    assert caught.value.needed_seconds == pytest.approx(model.now + 16 * 40 * ROW_SECONDS / 0.8)
    assert caught.value.budget_seconds == 0.09


def test_a_planned_assessment_keeps_its_budget():
    model, budget = Slow(), 0.6
    planned = model.plan(budget)
    result = assess_rows(
        model, linear.inputs(128)[: planned.rows], levels=OPTIONS["levels"], trials=planned.trials,
        max_batch_rows=planned.batch_rows,
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


def expected(model, rows=128, **options):
    specification, _ = specified({"levels": [0.0, 0.1, 0.2], "trials": 39} | options)
    return expected_seconds(FunctionPredictor(model), linear.inputs(rows), specification, clock=lambda: model.now)


@pytest.mark.parametrize("call_seconds", [0.0, 0.003])
@pytest.mark.parametrize("row_seconds", [1e-6, 1e-4])
def test_what_all_takes_is_foretold(call_seconds, row_seconds):
    model = Slow(call_seconds, row_seconds)
    told = expected(model, max_batch_rows=50)
    assert told == pytest.approx(80 * (3 * call_seconds + 128 * row_seconds)) and model.now < 2


def test_what_levels_and_trials_share_is_foretold_by_batches_that_share_it():
    """A row of a batch of several trials takes less than one of a batch of one."""

    class Shared(Slow):
        def __call__(self, x, rows):
            self.now -= self.row_seconds * 0.8 * max(0, len(x) - 128)
            return super().__call__(x, rows)

    told = expected(Shared(row_seconds=1e-5), max_batch_rows=512)
    of_four_trials = 128 * 1e-5 + 384 * 2e-6
    assert told == pytest.approx(2 * 10 * of_four_trials, rel=0.1)


@pytest.mark.parametrize("row_seconds", [0.05, 1.0, 600.0])
def test_of_a_slow_model_few_rows_foretell_it(row_seconds):
    model = Slow(row_seconds=row_seconds)
    assert expected(model, rows=4000) == pytest.approx(80 * 4000 * row_seconds, rel=0.1)
    assert model.now <= max(2.0, 4 * row_seconds), "two rows, twice"


def test_nothing_is_foretold_faster_than_the_pace():
    model = Slow(row_seconds=0.0)
    specification, _ = specified({"trials": 39})
    predictor = FunctionPredictor(model, rows_per_second=10)
    told = expected_seconds(predictor, linear.inputs(128), specification, clock=lambda: model.now)
    assert told == pytest.approx(128 * (2 + 39 * 4) / 10)
