"""What a budget left, and what to do where it is too short, by the names that the reader sets things by."""

from __future__ import annotations

import numpy as np
import pytest

import robmon
from robmon.report.budget import OPTIONS, SETTINGS, BudgetNames
from robmon.robustness.engine.plan import AssessmentPlan
from robmon.settings import leaves


def test_where_all_fits_nothing_is_said() -> None:
    assert SETTINGS.cut(AssessmentPlan(256, 39, 32, 1.0, of_rows=256, of_trials=39), 10.0, is_endpoint=False) == ""


@pytest.mark.parametrize("is_endpoint", [False, True])
def test_what_was_cut_is_told_with_what_to_raise(is_endpoint: bool) -> None:
    plan = AssessmentPlan(256, 19, 32, 1.0, of_rows=256, of_trials=39)
    told = SETTINGS.cut(plan, 10.0, is_endpoint=is_endpoint)
    assert told.startswith("cut to fit assess.max_seconds = 10: 19 of 39 trials; raise assess.max_seconds")
    assert ("model.rows_per_second" in told) == is_endpoint


def test_the_settings_are_those_that_there_are() -> None:
    known = {leaf.name for leaf in leaves()}
    assert names(SETTINGS) <= known and len(names(SETTINGS)) == 6


def test_the_options_are_those_that_the_functions_have() -> None:
    known = {*robmon.assess.__annotations__, *robmon.endpoint.__annotations__}
    assert names(OPTIONS) <= known and len(names(OPTIONS)) == 5


def names(budget: BudgetNames) -> set[str]:
    words = f"{budget.seconds} {budget.pace} {budget.needs}".replace(",", " ").split()
    return {word for word in words if word not in ("and", "or")}


def test_a_budget_that_is_too_short_is_advised_on() -> None:
    with pytest.raises(robmon.OverBudgetError, match="raise max_seconds, or lower confidence or levels"):
        robmon.assess(lambda x: x[:, 0], np.ones((64, 1)) * np.arange(64)[:, None], max_seconds=1e-9)
