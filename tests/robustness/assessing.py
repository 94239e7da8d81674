"""The numerics with the options of a specification among the others, as tests like to give them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from robmon.robustness import assessment
from robmon.robustness.engine import plan
from robmon.robustness.engine.predictor import FunctionPredictor
from robmon.robustness.result import Assessment
from robmon.robustness.specification import Specification

NAMES = frozenset(field.name for field in fields(Specification))


def specified(options: dict[str, Any]) -> tuple[Specification, dict[str, Any]]:
    """The specification that options make, and the rest of them."""
    content = {name: value for name, value in options.items() if name in NAMES}
    return Specification(**content), {name: value for name, value in options.items() if name not in NAMES}


def assess_rows(predict: Any, inputs: Any, **options: Any) -> Assessment:
    """`robmon.robustness.assess_rows`."""
    specification, rest = specified(options)
    return assessment.assess_rows(FunctionPredictor(predict), inputs, specification, **rest)


def plan_assessment(predict: Any, inputs: Any, **options: Any) -> plan.AssessmentPlan:
    """`robmon.robustness.engine.plan.plan_assessment`."""
    pace = options.pop("rows_per_second", None)
    specification, rest = specified(options)
    return plan.plan_assessment(FunctionPredictor(predict, rows_per_second=pace), inputs, specification, **rest)
