"""Trial bound and request bound: what they promise, and what they refuse."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from robmon.errors import InvalidInputError, TooFewTrialsError
from robmon.robustness.checks import needed_trials
from robmon.robustness.statistics.bounds import request_bound, tolerance_rank, upper_bound
from robmon.vocabulary import order_statistic_rank
from tests.robustness import linear
from tests.robustness.assessing import assess_rows

SEEDS = 2000
METHODS = ["order_statistic", "tolerance", "cantelli", "student_t"]
DECIMALS = ["0.01", "0.1", "0.3", "0.5", "0.7", "0.8", "0.9", "0.95", "0.975", "0.99", "0.995", "0.999"]


def linear_trials(trials, seed, rows=64):
    """Trial MSEs of the linear model by their closed form; shape (SEEDS, trials)."""
    return linear.SQUARED_NORM * np.random.default_rng(seed).chisquare(rows, size=(SEEDS, trials)) / rows


def true_coverage(trials, **options):
    """For each set of trials the probability that a further one stays under the bound."""
    bounds = np.array([upper_bound(row, **options) for row in trials])
    return scipy.stats.chi2.cdf(bounds * 64 / linear.SQUARED_NORM, 64)


@pytest.mark.parametrize("trials", [19, 39])
def test_order_statistic_covers_as_stated(trials):
    covered = true_coverage(linear_trials(trials, 1))
    assert covered.mean() == pytest.approx(0.95, abs=0.004)
    rank = order_statistic_rank(trials, 0.95)
    assert scipy.stats.kstest(covered, scipy.stats.beta(rank, trials + 1 - rank).cdf).pvalue > 0.01


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
    trials = linear_trials(59, 3)
    assert true_coverage(trials, method="cantelli").mean() > 0.999
    assert true_coverage(trials, method="student_t").mean() == pytest.approx(0.95, abs=0.01)


def test_student_t_is_exact_for_normal_trials():
    trials = np.random.default_rng(5).normal(10.0, 1.0, size=(SEEDS, 19))
    bounds = np.array([upper_bound(row, method="student_t") for row in trials])
    assert scipy.stats.norm.cdf(bounds, 10.0).mean() == pytest.approx(0.95, abs=0.004)


def test_tolerance_is_kept_with_its_assurance():
    kept = np.mean(true_coverage(linear_trials(59, 5), method="tolerance") >= 0.95)
    assert kept == pytest.approx(1 - 0.95**59, abs=0.02)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_tolerance_takes_the_smallest_order_statistic_that_is_enough(confidence):
    trials = np.arange(1, 2001)
    ranks = np.array([tolerance_rank(int(count), confidence) for count in trials])
    exists = trials >= needed_trials(confidence, "tolerance")
    assert np.array_equal(exists, ranks <= trials)
    assurance = scipy.stats.binom.cdf(ranks - 1, trials, confidence)
    assert assurance[exists].min() >= 0.95 - 1e-12
    assert scipy.stats.binom.cdf(ranks - 2, trials, confidence)[exists].max() < 0.95
    assert scipy.stats.binom.cdf(trials - 1, trials, confidence)[~exists].max() < 0.95


@pytest.mark.parametrize("text", DECIMALS)
def test_ranks_are_those_of_exact_arithmetic(text):
    exact, confidence = Fraction(text), float(text)
    for trials in range(1, 2001):
        rank = math.ceil((trials + 1) * exact)
        assert order_statistic_rank(trials, confidence) == rank
        assert (trials >= needed_trials(confidence)) == (rank <= trials)


@given(st.floats(0.001, 0.99999), st.sampled_from(["order_statistic", "tolerance"]))
def test_the_number_needed_is_the_least_that_serves(confidence, method):
    needed = needed_trials(confidence, method)
    if needed < 5000:
        assert upper_bound(np.arange(needed), confidence, method) <= needed - 1
    with pytest.raises(TooFewTrialsError):
        upper_bound(np.ones(min(needed, 5000) - 1), confidence, method)


@pytest.mark.parametrize("confidence", [1e-12, 1 - 1e-12])
def test_confidences_near_0_and_1_are_answered_at_once(confidence):
    assert needed_trials(confidence) >= 1
    assert needed_trials(confidence, "tolerance") >= 1
    if confidence < 0.5:
        assert upper_bound([3.0, 1.0, 2.0], confidence) == 1.0


@pytest.mark.parametrize(
    ("trials", "confidence", "method", "needed"),
    [
        (18, 0.95, "order_statistic", 19),
        (98, 0.99, "order_statistic", 99),
        (8, 0.9, "order_statistic", 9),
        (998, 0.999, "order_statistic", 999),
        (58, 0.95, "tolerance", 59),
        (1, 0.95, "student_t", 2),
        (1, 0.95, "cantelli", 2),
        (0, 0.5, "order_statistic", 1),
    ],
)
def test_too_few_trials_names_the_number_needed(trials, confidence, method, needed):
    with pytest.raises(TooFewTrialsError, match=f"at least {needed} ") as caught:
        upper_bound(np.ones(trials), confidence, method)
    assert caught.value.needed == needed
    assert upper_bound(np.ones(needed), confidence, method) == 1.0


def test_what_cannot_be_used_is_refused():
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(InvalidInputError, match="confidence"):
            upper_bound(np.ones(50), confidence)
        with pytest.raises(InvalidInputError, match="confidence"):
            request_bound(np.ones(50), confidence)
    with pytest.raises(InvalidInputError, match="not known"):
        upper_bound(np.ones(50), method="hoeffding")
    with pytest.raises(InvalidInputError, match=r"\(50, 2\)"):
        upper_bound(np.ones((50, 2)))
    with pytest.raises(InvalidInputError, match=r"\(50, 2\)"):
        request_bound(np.ones((50, 2)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_trial_that_is_not_finite_gives_infinity(method, bad):
    assert upper_bound([*np.ones(99), bad], method=method) == math.inf


errors_60_to_80 = st.lists(st.floats(0, 1e6), min_size=60, max_size=80)


@given(errors_60_to_80, st.floats(0.5, 0.95), st.floats(0.5, 0.95), st.sampled_from(METHODS))
def test_bounds_rise_with_confidence(trials, first, second, method):
    low, high = sorted((first, second))
    assert upper_bound(trials, low, method) <= upper_bound(trials, high, method) * (1 + 1e-9)
    assert request_bound(trials, low) <= request_bound(trials, high)


@given(errors_60_to_80, st.floats(1e-3, 1e3), st.sampled_from(METHODS))
def test_outputs_times_c_give_bounds_times_c_squared(trials, factor, method):
    scaled = np.array(trials) * factor**2
    assert upper_bound(scaled, method=method) == pytest.approx(factor**2 * upper_bound(trials, method=method), rel=1e-9)
    assert request_bound(scaled) == pytest.approx(factor**2 * request_bound(trials), rel=1e-9)


@given(st.permutations(list(np.random.default_rng(0).normal(size=60) ** 2)), st.sampled_from(METHODS))
def test_order_of_trials_and_rows_does_not_matter(trials, method):
    assert upper_bound(trials, 0.9, method) == pytest.approx(upper_bound(sorted(trials), 0.9, method))
    assert request_bound(trials, 0.9) == request_bound(sorted(trials), 0.9)


@given(errors_60_to_80, st.floats(0.5, 0.95), st.floats(0, 1e6))
def test_a_larger_error_never_lowers_a_bound(errors, confidence, larger):
    """Nor does it hide behind others: at most a share of 1 - confidence of what was seen lies above."""
    raised = [max(errors[0], larger), *errors[1:]]
    assert request_bound(raised, confidence) >= request_bound(errors, confidence)
    assert upper_bound(raised, confidence) >= upper_bound(errors, confidence)
    assert np.mean(np.array(errors) > request_bound(errors, confidence)) <= 1 - confidence


@given(errors_60_to_80, st.floats(0.5, 0.95), st.floats(0, 1e6))
def test_a_largest_error_more_never_lowers_the_request_bound(errors, confidence, more):
    assert request_bound([*errors, max(errors) + more], confidence) >= request_bound(errors, confidence)


def test_request_bound_covers_a_further_row():
    errors = np.random.default_rng(0).chisquare(1, size=(SEEDS, 100))
    bounds = np.array([request_bound(row[:99], 0.95) for row in errors])
    assert np.mean(scipy.stats.chi2.cdf(bounds, 1)) == pytest.approx(0.95, abs=0.003)
    assert np.mean(errors[:, 99] <= bounds) == pytest.approx(0.95, abs=0.015)


def test_request_bound_needs_enough_rows_and_finite_ones():
    assert request_bound(np.ones(18), 0.95) is None
    assert request_bound(np.ones(19), 0.95) == 1.0
    assert request_bound([*np.ones(50), math.inf], 0.95) == math.inf
