from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from robmon.errors import InvalidInputError, TooFewTrialsError
from robmon.robustness import student
from robmon.robustness.assessment import assess_rows
from robmon.robustness.bounds import curve_band, needed_trials, request_bound, upper_bound
from robmon.robustness.mean_bound import mean_upper_bound
from tests.robustness import linear

SEEDS = 2000
METHODS = ["order_statistic", "tolerance", "cantelli", "student_t"]


def linear_trials(trials, seed, rows=64):
    """Trial MSEs of the linear model by their closed form; shape (SEEDS, trials)."""
    return linear.SQUARED_NORM * np.random.default_rng(seed).chisquare(rows, size=(SEEDS, trials)) / rows


def coverage_of_next(trials, next_trials, **options):
    """Mean probability that a further trial stays under the bound, and the share of runs in which one did."""
    bounds = np.array([upper_bound(row, **options) for row in trials])
    exact = scipy.stats.chi2.cdf(bounds * 64 / linear.SQUARED_NORM, 64)
    return exact.mean(), np.mean(next_trials <= bounds)


@pytest.mark.parametrize("trials", [19, 39])
def test_order_statistic_covers_as_stated(trials):
    exact, seen = coverage_of_next(linear_trials(trials, 1), linear_trials(1, 2)[:, 0])
    assert exact == pytest.approx(0.95, abs=0.01)
    assert seen == pytest.approx(0.95, abs=0.015)  # three binomial standard errors


@pytest.mark.parametrize(("trials", "seeds"), [(19, 300), (39, 200)])
def test_a_whole_assessment_covers_as_stated(trials, seeds):
    """The bound of a real assessment against the exact law of a further trial: level 0.3, |w|² s² chi²_n / n."""
    rows, covered = 16, []
    inputs = linear.inputs(rows)
    for seed in range(seeds):
        result = assess_rows(linear.predict, inputs, levels=[0.3], scale=1.0, trials=trials, seed=seed)
        quantile = result.curve[1].bound / (0.09 * linear.SQUARED_NORM) * rows
        covered.append(scipy.stats.chi2.cdf(quantile, rows))
    # Each is Beta(k, T + 1 - k) distributed about k / (T + 1) = 0.95.
    error = scipy.stats.beta.std(0.95 * (trials + 1), 0.05 * (trials + 1)) / math.sqrt(seeds)
    assert np.mean(covered) == pytest.approx(0.95, abs=3.5 * error)


def test_comparators_cover_at_least_as_stated():
    trials, further = linear_trials(59, 3), linear_trials(1, 4)[:, 0]
    assert coverage_of_next(trials, further, method="cantelli")[0] > 0.999
    assert coverage_of_next(trials, further, method="student_t")[0] == pytest.approx(0.95, abs=0.01)


def test_tolerance_is_kept_with_its_assurance():
    bounds = np.array([upper_bound(row, method="tolerance") for row in linear_trials(59, 5)])
    kept = np.mean(scipy.stats.chi2.cdf(bounds * 64 / linear.SQUARED_NORM, 64) >= 0.95)
    assert kept == pytest.approx(1 - 0.95**59, abs=0.02)


@pytest.mark.parametrize("trials", [59, 93, 200, 473])
def test_tolerance_takes_the_smallest_order_statistic_that_is_enough(trials):
    rank = int(upper_bound(np.arange(1, trials + 1), method="tolerance"))
    assert scipy.stats.binom.cdf(rank - 1, trials, 0.95) >= 0.95
    assert scipy.stats.binom.cdf(rank - 2, trials, 0.95) < 0.95


@pytest.mark.parametrize(
    ("trials", "confidence", "method", "needed"),
    [
        (18, 0.95, "order_statistic", 19),
        (98, 0.99, "order_statistic", 99),
        (8, 0.9, "order_statistic", 9),
        (998, 0.999, "order_statistic", 999),
        (58, 0.95, "tolerance", 59),
        (1, 0.95, "student_t", 2),
    ],
)
def test_too_few_trials_names_the_number_needed(trials, confidence, method, needed):
    with pytest.raises(TooFewTrialsError, match=f"at least {needed} ") as caught:
        upper_bound(np.ones(trials), confidence, method)
    assert caught.value.needed == needed
    assert upper_bound(np.ones(needed), confidence, method) == 1.0


def test_confidence_and_method_are_checked():
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(InvalidInputError, match="confidence"):
            upper_bound(np.ones(50), confidence)
    with pytest.raises(InvalidInputError, match="not known"):
        upper_bound(np.ones(50), method="hoeffding")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_trial_that_is_not_finite_gives_infinity(method, bad):
    assert upper_bound([*np.ones(99), bad], method=method) == math.inf


@given(
    st.lists(st.floats(0, 1e6), min_size=60, max_size=80),
    st.floats(0.5, 0.95),
    st.floats(0.5, 0.95),
    st.sampled_from(METHODS),
)
def test_bounds_rise_with_confidence(trials, first, second, method):
    low, high = sorted((first, second))
    assert upper_bound(trials, low, method) <= upper_bound(trials, high, method) * (1 + 1e-9)
    assert request_bound(trials, low) <= request_bound(trials, high)


@given(
    st.permutations(list(np.random.default_rng(0).normal(size=40) ** 2)),
    st.sampled_from(["order_statistic", "cantelli"]),
)
def test_order_of_trials_and_rows_does_not_matter(trials, method):
    assert upper_bound(trials, 0.9, method) == pytest.approx(upper_bound(sorted(trials), 0.9, method))
    assert request_bound(trials, 0.9) == request_bound(sorted(trials), 0.9)


def test_request_bound_covers_a_further_row():
    errors = np.random.default_rng(0).chisquare(1, size=(SEEDS, 100))
    bounds = np.array([request_bound(row[:99], 0.95) for row in errors])
    assert np.mean(scipy.stats.chi2.cdf(bounds, 1)) == pytest.approx(0.95, abs=0.003)
    assert np.mean(errors[:, 99] <= bounds) == pytest.approx(0.95, abs=0.015)


def test_request_bound_needs_enough_rows_and_finite_ones():
    assert request_bound(np.ones(18), 0.95) is None
    assert request_bound(np.ones(19), 0.95) == 1.0
    assert request_bound([*np.ones(50), math.inf], 0.95) == math.inf


@pytest.mark.parametrize("mean", [0.02, 0.5])
def test_mean_bound_covers_and_is_tight(mean):
    rows = np.random.default_rng(1).binomial(39, mean, size=(300, 200)) / 39  # row means over 39 trials
    bounds = np.array([mean_upper_bound(row, 0.95, maximum=1.0) for row in rows])
    assert np.mean(bounds >= mean) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)
    hoeffding = math.sqrt(math.log(20) / (2 * 200))
    assert np.mean(bounds) - mean < 0.6 * hoeffding


def test_mean_bound_scales_with_the_maximum():
    errors = np.random.default_rng(2).uniform(size=100)
    assert mean_upper_bound(3 * errors, 0.9, 3.0) == pytest.approx(3 * mean_upper_bound(errors, 0.9, 1.0))
    assert mean_upper_bound(np.ones(10), 0.9, 1.0) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.5, 0.99), st.floats(0.5, 0.99))
def test_mean_bound_rises_with_confidence(errors, first, second):
    low, high = sorted((first, second))
    bounds = [mean_upper_bound(errors, confidence, 1.0) for confidence in (low, high)]
    assert bounds[0] <= bounds[1] + 2e-5
    assert np.mean(errors) <= bounds[1] + 0.5 / math.sqrt(len(errors))
    assert bounds[1] <= 1.0


@pytest.mark.parametrize(
    ("errors", "maximum"),
    [([2.0], 1.0), ([math.nan], 1.0), ([math.inf], 1.0), ([], 1.0), ([0.5], math.inf), ([-1], 1.0)],
)
def test_mean_bound_refuses_what_has_no_known_maximum(errors, maximum):
    with pytest.raises(InvalidInputError):
        mean_upper_bound(errors, 0.95, maximum)


def test_band_covers_the_whole_of_a_further_curve():
    generator, covered = np.random.default_rng(3), []
    for _ in range(1500):
        common = generator.chisquare(20, size=(40, 1))
        curves = np.hstack([np.zeros((40, 1)), common * [1.0, 2.0] + generator.chisquare(20, size=(40, 2))])
        covered.append(bool(np.all(curves[39] <= curve_band(curves[:39], 0.95))))
    exact = 20 / 21  # 20 calibration trials
    assert np.mean(covered) == pytest.approx(exact, abs=3.5 * math.sqrt(exact * (1 - exact) / 1500))


def test_band_is_infinite_where_a_trial_is_and_absent_with_few_trials():
    curves = np.random.default_rng(4).chisquare(5, size=(39, 3))
    curves[7, 1] = math.inf
    band = curve_band(curves)
    assert np.isfinite(band).tolist() == [True, False, True]
    assert curve_band(curves[:20]) is None
    assert needed_trials(0.95) == 19


@pytest.mark.parametrize("df", [1, 2, 18, 255, 10_000])
def test_student_t_agrees_with_scipy(df):
    for t in (-8.0, -1.3, 0.0, 0.2, 2.5, 30.0):
        assert student.cdf(t, df) == pytest.approx(scipy.stats.t.cdf(t, df), rel=1e-9)
        assert student.sf(t, df) == pytest.approx(scipy.stats.t.sf(t, df), rel=1e-8)
    for p in (0.01, 0.3, 0.5, 0.9, 0.99, 0.999):
        assert student.quantile(p, df) == pytest.approx(scipy.stats.t.ppf(p, df), rel=1e-9, abs=1e-9)
