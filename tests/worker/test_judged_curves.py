"""In which units two curves stand beside each other."""

from __future__ import annotations

import numpy as np
import pytest

from robmon.processes.messages.comparison import ComparisonTerms, KeptCurve
from robmon.robustness.assessment import assess_rows
from robmon.robustness.comparison import compare_rows
from robmon.robustness.engine.predictor import FunctionPredictor
from robmon.robustness.result import Assessment
from robmon.robustness.specification import Specification
from robmon.worker.judged_curves import judged_curves, kept_curves

INPUTS = np.random.default_rng(0).normal(size=(64, 2))
WEIGHTS = np.array([[1.0, 100.0], [2.0, 300.0]])
"""Two outputs, of which one has 10,000 times the variance of the other."""


def assessed(weights: np.ndarray[tuple[int, int], np.dtype[np.float64]], terms: ComparisonTerms | None) -> Assessment:
    return assess_rows(
        FunctionPredictor(lambda rows, _: rows @ weights),
        INPUTS,
        Specification(levels=(0.0, 0.1, 0.2), trials=19),
        scale=1.0,
        comparison_variance=None if terms is None else np.array(terms.clean_variance),
        compare_at="own",
    )


@pytest.mark.parametrize(("outputs", "space"), [(1, "output"), (2, "verdict")])
def test_values_are_told_in_output_units_where_those_agree_with_the_verdict(outputs: int, space: str) -> None:
    """Of two outputs only the small one gets worse: to the plain mean over both that is next to nothing."""
    a = assessed(WEIGHTS[:, :outputs], None)
    terms = ComparisonTerms(
        version="1", alpha=0.01, tolerance=0.1, output="value", clean_variance=a.clean_variance.tolist(),
        origins=list(range(64)), curves=kept_curves(a),
    )  # fmt: skip
    b = assessed(np.array([2.0, 1.0])[:outputs] * WEIGHTS[:, :outputs], terms)
    old, new = a.normalised_row_errors[:, 1:], np.asarray(b.comparison_row_errors)[:, 1:]
    found = judged_curves(terms, b, compare_rows(old, new), old, new)
    assert found is not None and found.space == space and found.reference_bound is not None
    ratios = np.array(found.mean[1:]) / found.reference_mean[1:]
    assert ratios == pytest.approx(new.mean(axis=0) / old.mean(axis=0))
    if space == "output":
        assert found.mean == pytest.approx([point.mean_mse for point in b.curve])
        assert found.reference_bound == pytest.approx([point.bound for point in a.curve])
    else:
        assert b.curve[1].mean_mse / a.curve[1].mean_mse < 1.01 and all(ratios > 2)


def test_of_a_reference_without_a_kept_curve_nothing_is_told() -> None:
    a = assessed(WEIGHTS, None)
    terms = ComparisonTerms(
        version="1", alpha=0.01, tolerance=0.1, output="value", clean_variance=a.clean_variance.tolist(),
        origins=list(range(64)), curves={"mse": KeptCurve(mean=[0.0, 1.0], bound=[0.0, 1.0])},
    )  # fmt: skip
    errors = a.normalised_row_errors[:, 1:]
    assert judged_curves(terms, a, compare_rows(errors, errors), errors, errors) is None
