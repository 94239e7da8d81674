from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from robmon.robustness.statistics.mean_test import is_above_zero, joint_moments, lower_limit, moments, power, pvalue

ALPHA = 0.01


@pytest.mark.parametrize("rows", [2, 5, 64, 1000])
def test_moments_are_those_of_scipy(rows):
    values = np.random.default_rng(rows).gamma(2.0, size=rows)
    m = moments(values)
    assert m.mean == pytest.approx(values.mean())
    assert m.deviation == pytest.approx(values.std(ddof=1))
    assert m.skewness == pytest.approx(stats.skew(values), abs=1e-12)
    assert m.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False))


def test_joint_moments_are_those_of_each_sum():
    generator = np.random.default_rng(0)
    u, x = generator.normal(size=200), generator.chisquare(2, size=200)
    joint = joint_moments(u, x)
    for q in (0.0, 1e-6, 0.3, 1.0):
        assert vars(joint.at(q)) == pytest.approx(vars(moments(u + q * x)))


def test_without_skewness_it_is_student_s_t():
    rows = np.concatenate([values := np.random.default_rng(1).normal(0.1, size=100), 0.2 - values])
    rows -= rows.mean() - 0.15
    assert pvalue(moments(rows)) == pytest.approx(stats.ttest_1samp(rows, 0, alternative="greater").pvalue, rel=1e-9)


def test_rows_skewed_to_the_right_get_student_s_t_and_those_to_the_left_a_larger_pvalue():
    rows = np.random.default_rng(2).exponential(size=100)
    right, left = rows - 0.7, 1.3 - rows
    student = [stats.ttest_1samp(each, 0, alternative="greater").pvalue for each in (right, left)]
    assert pvalue(moments(right)) == pytest.approx(student[0], rel=1e-9)
    assert pvalue(moments(left)) > student[1]


@pytest.mark.parametrize("skew", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("alpha", [1e-6, 0.01, 0.3])
def test_limit_decision_and_pvalue_agree(skew, alpha):
    """The limit is the shift at which the p-value is alpha, far into the tail too."""
    rows = -np.random.default_rng(3).lognormal(sigma=skew / 4, size=80)
    limit = lower_limit(moments(rows), alpha)
    assert pvalue(moments(rows - limit)) == pytest.approx(alpha, rel=1e-6)
    assert is_above_zero(moments(rows - limit + 1e-6), alpha)
    assert not is_above_zero(moments(rows - limit - 1e-6), alpha)


def test_pvalues_fall_as_rows_rise():
    rows = -np.random.default_rng(4).lognormal(size=60)
    values = [pvalue(moments(rows + shift)) for shift in np.linspace(0.0, 6.0, 200)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(values))
    assert values[0] > 0.999 and values[-1] < 1e-6


def test_rows_that_agree():
    assert [pvalue(moments(np.full(5, value))) for value in (-1.0, 0.0, 0.1)] == [1.0, 1.0, 0.0]
    assert [is_above_zero(moments(np.full(5, value)), ALPHA) for value in (-1.0, 0.0, 0.1)] == [False, False, True]
    assert lower_limit(moments(np.full(5, 2.0)), ALPHA) == 2.0
    assert [power(moments(np.full(5, value)), ALPHA) for value in (-1.0, 1.0)] == [0.0, 1.0]


def test_false_alarms_on_rows_that_are_skewed_to_the_left():
    """Student's t raises more than twice as many as stated."""
    sample = 1.0 - np.random.default_rng(5).chisquare(1, size=(3000, 64))
    ours = np.mean([pvalue(moments(rows)) < ALPHA for rows in sample])
    plain = np.mean(stats.ttest_1samp(sample, 0, axis=1, alternative="greater").pvalue < ALPHA)
    assert ours < 0.018
    assert plain > 0.025


def test_power_of_normal_rows_is_that_of_the_noncentral_t():
    """Less what the deviation's own error costs."""
    rows = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    shift = 0.05
    exact = stats.nct.sf(stats.t.isf(ALPHA, 3999), 3999, shift * math.sqrt(4000) / rows.std(ddof=1))
    assert power(moments(rows + shift), ALPHA) == pytest.approx(exact, abs=0.005)
