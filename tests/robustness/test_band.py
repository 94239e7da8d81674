"""The band of the whole curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robmon.errors import InvalidInputError
from robmon.robustness.checks import needed_trials
from robmon.robustness.statistics.bounds import curve_band


def further_curves_covered(curves, calibrating, runs=1500):
    """The share of further curves that lie under the band as a whole, and how far it may lie from what is exact."""
    covered = [bool(np.all(drawn[-1] <= curve_band(drawn[:-1], 0.95))) for drawn in (curves() for _ in range(runs))]
    exact = math.ceil((calibrating + 1) * 0.95 - 1e-9) / (calibrating + 1)
    return np.mean(covered), exact, 3.3 * math.sqrt(exact * (1 - exact) / runs)


@pytest.mark.parametrize(("trials", "calibrating"), [(39, 19), (60, 39)])
def test_band_covers_the_whole_of_a_further_curve(trials, calibrating):
    generator = np.random.default_rng(3)

    def curves():
        common, own = generator.chisquare(20, size=(trials + 1, 1)), generator.chisquare(20, size=(trials + 1, 2))
        return np.hstack([np.zeros((trials + 1, 1)), common * [1.0, 2.0] + own])

    seen, exact, error = further_curves_covered(curves, calibrating)
    assert seen == pytest.approx(exact, abs=error)


def test_band_covers_discrete_curves_whose_first_levels_hardly_move():
    """Shares of changed classes among 64 rows: no trial of most sets changes any at the lowest level."""
    generator, chances = np.random.default_rng(4), np.array([0.0, 0.0005, 0.01, 0.2])

    def curves():
        return np.mean(generator.uniform(size=(40, 64, 1)) < chances, axis=1)

    seen, exact, error = further_curves_covered(curves, 19)
    assert seen >= exact - error


def test_level_0_is_known_and_another_level_without_variation_is_not():
    curves = np.zeros((39, 3))
    curves[:, 0] = 0.1  # a constant whose mean rounds
    curves[:, 2] = np.random.default_rng(5).chisquare(5, size=39)
    band = curve_band(curves)
    assert band[0] == 0.1
    assert 0 < band[1] < band[2]
    assert curve_band(np.full((39, 2), 0.1)) == pytest.approx([0.1, 0.1])


def test_band_is_infinite_where_a_trial_is():
    curves = np.random.default_rng(4).chisquare(5, size=(39, 3))
    whole = curve_band(curves[:, [0, 2]])
    curves[7, 1] = math.inf
    assert curve_band(curves).tolist() == [whole[0], math.inf, whole[1]]
    assert curve_band(np.full((39, 2), math.inf)).tolist() == [math.inf, math.inf]


def test_band_is_absent_with_few_trials():
    curves = np.random.default_rng(6).chisquare(5, size=(149, 3))
    assert needed_trials(0.95) == 19
    least = {0.5: 21, 0.95: 21, 0.975: 59, 0.99: 149}
    for confidence, trials in least.items():
        assert curve_band(curves[: trials - 1], confidence) is None
        assert curve_band(curves[:trials], confidence) is not None
    assert curve_band(np.empty((0, 3))) is None


def test_what_is_no_curve_is_refused():
    with pytest.raises(InvalidInputError, match="shape"):
        curve_band(np.ones(39))
    with pytest.raises(InvalidInputError, match="confidence"):
        curve_band(np.ones((39, 2)), 1.0)


curves_of_60 = arrays.arrays(np.float64, (60, 3), elements=st.floats(0, 1e3, width=32))


@settings(deadline=None)
@given(curves_of_60, st.floats(0.05, 0.97), st.floats(0.05, 0.97))
def test_band_rises_with_confidence(curves, first, second):
    low, high = sorted((first, second))
    assert np.all(curve_band(curves, low) <= curve_band(curves, high))


@settings(deadline=None)
@given(curves_of_60, st.sampled_from([0.25, 0.5, 2.0, 16.0]))
def test_outputs_times_c_give_the_band_times_c_squared(curves, factor):
    assert np.allclose(curve_band(curves * factor**2), factor**2 * curve_band(curves), rtol=1e-9, atol=0)
