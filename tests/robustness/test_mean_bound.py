"""The mean bound: coverage over rows, its reference, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robmon.errors import InvalidInputError
from robmon.robustness.statistics.mean_bound import mean_upper_bound
from tests.robustness.confseq_reference import upper_limit


@pytest.mark.parametrize("mean", [0.02, 0.5])
def test_mean_bound_covers_and_is_tight(mean):
    rows = np.random.default_rng(1).binomial(39, mean, size=(300, 200)) / 39  # row means over 39 trials
    bounds = np.array([mean_upper_bound(row, 0.95, maximum=1.0) for row in rows])
    assert np.mean(bounds >= mean) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)
    hoeffding = math.sqrt(math.log(20) / (2 * 200))
    assert np.mean(bounds) - mean < 0.6 * hoeffding


LAWS = {
    "flips": lambda generator, n: generator.binomial(1, 0.1, n),
    "flips of rows": lambda generator, n: generator.binomial(39, generator.beta(0.2, 3.8, n)) / 39,
    "beta": lambda generator, n: generator.beta(0.5, 4.5, n),
    "two-point": lambda generator, n: generator.choice([0.1, 0.6], n, p=[0.9, 0.1]),
}


@pytest.mark.parametrize("rows", [64, 200])
@pytest.mark.parametrize("law", LAWS)
def test_mean_bound_is_within_2_percent_of_confseqs(law, rows):
    errors = LAWS[law](np.random.default_rng(rows), rows)
    assert mean_upper_bound(errors, 0.95, 1.0) == pytest.approx(upper_limit(errors, 0.95, steps=1500), rel=0.02)


def test_mean_bound_scales_with_the_maximum():
    errors = np.random.default_rng(2).uniform(size=100)
    assert mean_upper_bound(3 * errors, 0.9, 3.0) == pytest.approx(3 * mean_upper_bound(errors, 0.9, 1.0))
    assert mean_upper_bound(np.ones(10), 0.9, 1.0) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.05, 0.999), st.floats(0.05, 0.999))
def test_mean_bound_rises_with_confidence(errors, first, second):
    low, high = sorted((first, second))
    bounds = [mean_upper_bound(errors, confidence, 1.0) for confidence in (low, high)]
    assert bounds[0] <= bounds[1] <= 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1))
def test_a_larger_error_of_the_last_row_never_lowers_the_mean_bound(errors, larger):
    raised = [*errors[:-1], max(errors[-1], larger)]
    assert mean_upper_bound(raised, 0.95, 1.0) >= mean_upper_bound(errors, 0.95, 1.0)


@pytest.mark.parametrize(
    ("errors", "maximum"),
    [([2.0], 1.0), ([math.nan], 1.0), ([math.inf], 1.0), ([], 1.0), ([0.5], math.inf), ([-1], 1.0), ([[0.5]], 1.0)],
)
def test_mean_bound_refuses_what_has_no_known_maximum(errors, maximum):
    with pytest.raises(InvalidInputError):
        mean_upper_bound(errors, 0.95, maximum)
    with pytest.raises(InvalidInputError, match="betting"):
        mean_upper_bound([0.5], 0.95, 1.0, method="hoeffding")
