from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robmon.errors import InvalidInputError
from robmon.report.comparison import verdict
from robmon.robustness.baseline_ratio import mean_ratio
from robmon.robustness.comparison import comparable, compare_rows
from tests.robustness import linear
from tests.robustness.assessing import assess_rows

LEVELS = [0.1, 0.2]


def errors(generator, rows=128, factor=1.0):
    row = generator.chisquare(5, size=(rows, 1))
    return factor * row * np.array([0.01, 0.04]) * generator.chisquare(39, size=(rows, 2)) / 39


def rotated_pair(generator, rows=256, trials=39, levels=(0.1, 0.4)):
    """Trial errors of two models that are equal in law, but not row by row: one stands behind a random rotation."""
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    x, z = generator.normal(size=(rows, 3)), generator.normal(size=(trials, rows, 3))

    def predict(x):
        return np.sin(x[..., 0]) * x[..., 1] + 0.5 * x[..., 2] ** 2

    moved = [x + level * z for level in levels]
    return [
        np.stack([(predict(y @ each) - predict(x @ each)) ** 2 for y in moved], axis=-1)
        for each in (np.eye(3), rotation)
    ]


def test_false_alarms_are_held_by_rows_and_not_by_trials():
    generator, runs = np.random.default_rng(0), 250
    pairs = [rotated_pair(generator) for _ in range(runs)]
    by_rows = sum(compare_rows(a.mean(axis=0), b.mean(axis=0), levels=LEVELS, alpha=0.05).worse for a, b in pairs)
    by_trials = sum(compare_rows(a.mean(axis=1), b.mean(axis=1), levels=LEVELS, alpha=0.05).worse for a, b in pairs)
    assert stats.binom.ppf(0.0005, runs, 0.05) <= by_rows <= stats.binom.ppf(0.9995, runs, 0.05)
    assert by_trials > stats.binom.ppf(0.9995, runs, 0.05)


def test_five_percent_on_every_row_is_found():
    generator = np.random.default_rng(1)
    for _ in range(100):
        a = errors(generator, rows=256)
        found = compare_rows(a, 1.05 * a, levels=LEVELS)
        assert found.worse
        assert found.ratio == pytest.approx([1.05, 1.05])
        assert not compare_rows(a, 1.05 * a, levels=LEVELS, tolerance=0.1).worse
        assert not compare_rows(1.05 * a, a, levels=LEVELS).worse


def varied(generator, ratio, rows=256):
    """Rows' own ratios vary by 40 %; the mean of them is the ratio."""
    a = errors(generator, rows=rows)
    return a, a * ratio * generator.gamma(6, 1 / 6, size=(rows, 1))


@pytest.mark.parametrize(("tolerance", "own_ratio"), [(0.0, 1.0), (0.1, 3.0)])
def test_the_smallest_worsening_that_is_stated_is_found_with_its_power(tolerance, own_ratio):
    """Whatever b of the sample that states it was like."""
    generator, found = np.random.default_rng(2), []
    for _ in range(300):
        stated = compare_rows(*varied(generator, own_ratio), levels=LEVELS, tolerance=tolerance).detectable_ratio
        found.append(compare_rows(*varied(generator, stated), levels=LEVELS, tolerance=tolerance).worse)
    assert np.mean(found) == pytest.approx(0.9, abs=0.05)


def test_the_smallest_worsening_shrinks_with_rows_and_grows_with_the_tolerance():
    generator = np.random.default_rng(3)
    few, many = (varied(generator, 1.0, rows) for rows in (64, 1024))
    smallest = [compare_rows(*few).detectable_ratio, compare_rows(*many).detectable_ratio]
    assert smallest[0] - 1 == pytest.approx(4 * (smallest[1] - 1), rel=0.4)
    assert compare_rows(*many, tolerance=0.5).detectable_ratio == pytest.approx(1.5 * smallest[1])
    a, b = many
    assert compare_rows(a, 7 * b).detectable_ratio == pytest.approx(smallest[1])
    assert compare_rows(a, 1.05 * a).detectable_ratio == pytest.approx(1.0, abs=2e-4)


def test_a_sample_too_small_to_show_anything_says_so():
    a, b = varied(np.random.default_rng(4), 1.0, rows=3)
    result = compare_rows(a, b)
    assert result.detectable_ratio == math.inf
    assert "however large" in verdict(result)
    assert result.to_dict()["detectable_ratio"] == "+Inf"


def test_intervals_cover():
    """Of each 400 intervals 98 % hold the truth, here at least 95 % of them."""
    generator = np.random.default_rng(5)
    results = [compare_rows(*varied(generator, 1.3), levels=LEVELS) for _ in range(400)]
    assert results[0].confidence == 0.98
    for each in ("ratio", "delta"):
        truth = 1.3 if each == "ratio" else 0.3 * 5 * np.array([0.01, 0.04])
        low, high = (np.array([getattr(result, f"{each}_{end}") for result in results]) for end in ("low", "high"))
        covered = np.mean((low <= truth) & (truth <= high), axis=0)
        assert np.all(covered >= 0.95) and np.all(low < high)


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_the_verdict_is_that_of_the_pooled_interval(tolerance):
    generator = np.random.default_rng(6)
    results = [compare_rows(*varied(generator, ratio, 100), tolerance=tolerance) for ratio in np.linspace(1.0, 1.5, 60)]
    assert [result.worse for result in results] == [result.pooled_low > 1 + tolerance for result in results]
    assert 10 < sum(result.worse for result in results) < 50
    with_one = compare_rows(*(each[:, :1] for each in varied(generator, 1.2)))
    limits = with_one.pooled_ratio, with_one.pooled_low, with_one.pooled_high
    assert limits == pytest.approx((with_one.ratio[0], with_one.ratio_low[0], with_one.ratio_high[0]))


def test_errors_are_summed_over_levels_before_the_ratio():
    """Few rows change at a low level: its ratio is chance, and the largest of several ratios the more so."""
    generator = np.random.default_rng(20)
    a = np.stack([generator.random(256) < 0.01, generator.random(256) < 0.4], axis=1) * 1.0
    b = a.copy()
    b[:8, 0] = 1.0
    result = compare_rows(a, b, tolerance=0.1)
    assert result.ratio[0] > 2 and result.ratio[1] == 1
    assert result.pooled_ratio == pytest.approx(b.sum() / a.sum())
    assert result.pooled_low < result.pooled_ratio < result.pooled_high
    assert not result.worse
    assert f"pooled ratio {result.pooled_ratio:.4g} (98 % interval" in str(result).splitlines()[1]


def test_pooled_intervals_cover():
    generator = np.random.default_rng(21)
    results = [compare_rows(*varied(generator, 1.3)) for _ in range(400)]
    assert np.mean([each.pooled_low <= 1.3 <= each.pooled_high for each in results]) >= 0.95


def test_a_correction_is_subtracted_from_the_tested_difference():
    generator = np.random.default_rng(22)
    a, noise = errors(generator), generator.normal(size=128)
    noise -= noise.mean()
    b = 1.05 * a + np.outer(noise, [0.05, 0.1])
    plain, told = compare_rows(a, b), compare_rows(a, b, correction=0.15 * noise)
    assert not plain.worse and told.worse
    assert (told.pooled_ratio, told.ratio.tolist()) == (plain.pooled_ratio, plain.ratio.tolist())
    assert told.pooled_low > plain.pooled_low and told.pooled_high < plain.pooled_high
    both = compare_rows(a, b, np.stack([0 * a, np.outer(noise, [0.05, 0.1])]))
    assert both.pvalue == pytest.approx(told.pvalue) and np.all(both.ratio_low > plain.ratio_low)
    scaled = compare_rows(a, 3 * a + np.outer(noise, [1.0, 1.0]), [0 * a, np.outer(noise, [1.0, 1.0])])
    assert scaled.pooled_low == pytest.approx(3) and scaled.pooled_high == pytest.approx(3)
    for wrong in (noise[:5], np.full(128, np.nan), np.zeros((2, 2))):
        with pytest.raises(InvalidInputError, match="a correction must be finite numbers"):
            compare_rows(a, b, wrong)


def test_the_same_model_in_another_precision_is_not_worse():
    """Rounding may raise every row's error alike, which no test takes for chance."""
    a = errors(np.random.default_rng(23))
    assert not compare_rows(a, a * (1 + 3e-8)).worse
    assert compare_rows(a, 1.001 * a).worse


def test_exchanging_the_versions_inverts_the_intervals():
    a, b = varied(np.random.default_rng(7), 1.2)
    there, back = compare_rows(a, b), compare_rows(b, a)
    assert back.ratio_low == pytest.approx(1 / there.ratio_high)
    assert back.delta_low == pytest.approx(-there.delta_high)


@settings(max_examples=50, deadline=None)
@given(exponent=st.floats(-150, 150), seed=st.integers(0, 100))
def test_units_do_not_matter(exponent, seed):
    a, b = varied(np.random.default_rng(seed), 1.2, rows=20)
    factor = 10.0**exponent
    one, other = compare_rows(a, b, levels=LEVELS), compare_rows(factor * a, factor * b, levels=LEVELS)
    assert other.pvalue == pytest.approx(one.pvalue, rel=1e-6)
    for name in ("ratio", "ratio_low", "ratio_high", "detectable_ratio"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6)
    for name in ("delta", "delta_low", "delta_high"):
        assert getattr(other, name) / factor == pytest.approx(getattr(one, name), rel=1e-6)


def test_identical_versions_are_not_worse():
    a = errors(np.random.default_rng(3))
    result = compare_rows(a, a, levels=LEVELS)
    assert (result.pvalue, result.worse, result.ratio.tolist(), result.delta.tolist()) == (1.0, False, [1, 1], [0, 0])
    assert result.ratio_low == pytest.approx([1, 1]) and result.delta_high.tolist() == [0, 0]
    nothing = compare_rows(0 * a, 0 * a, levels=LEVELS)
    assert (nothing.ratio_low.tolist(), nothing.ratio_high.tolist()) == ([0, 0], [math.inf, math.inf])
    assert (nothing.worse, nothing.ratio.tolist(), nothing.detectable_ratio) == (False, [1, 1], None)
    assert compare_rows(0 * a, a, levels=LEVELS).ratio.tolist() == [math.inf, math.inf]
    assert compare_rows(0 * a, a, levels=LEVELS).worse


def test_infinite_errors():
    a = errors(np.random.default_rng(4))
    b = a.copy()
    b[5, 1] = math.inf
    broken = compare_rows(a, b, levels=LEVELS)
    assert (broken.worse, broken.pvalue, broken.ratio.tolist()) == (True, 0.0, [1.0, math.inf])
    healed = compare_rows(b, a, levels=LEVELS)
    assert (healed.worse, healed.ratio.tolist(), healed.delta.tolist()) == (False, [1.0, 0.0], [0.0, -math.inf])
    both = compare_rows(b, b, levels=LEVELS)
    assert (both.worse, both.ratio.tolist()) == (False, [1.0, 1.0])
    assert broken.ratio_low.tolist() == [pytest.approx(1.0), math.inf] and healed.ratio_high[1] == 0.0
    assert "b is worse than a: its outputs are not all finite" in str(broken)
    assert (broken.pooled_ratio, broken.pooled_low, healed.pooled_ratio) == (math.inf, math.inf, 1.0)
    for result in (broken, healed, both):
        json.dumps(result.to_dict(), allow_nan=False)


def test_every_row_infinite_in_both():
    lost = np.full((5, 2), math.inf)
    result = compare_rows(lost, lost)
    assert (result.worse, result.detectable_ratio) == (False, None)
    assert (result.ratio_low.tolist(), result.ratio_high.tolist()) == ([0, 0], [math.inf, math.inf])


def test_a_result_reads_well():
    a, b = varied(np.random.default_rng(8), 1.05)
    result = compare_rows(a, b, levels=LEVELS, tolerance=0.1)
    plain, first, what, head, *levels = result.describe("models:/linear/1", "models:/linear/2").splitlines()
    assert first.startswith(f"pooled ratio {result.pooled_ratio:.4g} (98 % interval {result.pooled_low:.4g} to ")
    assert "error of models:/linear/2 over that of models:/linear/1" in first
    assert what == "compared: squared changes of the outputs"
    assert head.split() == ["level", "MSE", "ratio", "98", "%", "interval", "difference", "98", "%", "interval"]
    assert levels[0].split()[:2] == ["0.1", f"{result.ratio[0]:.4g}"]
    assert "models:/linear/2 is not shown to be worse than models:/linear/1 by more than the tolerated 10 %" in plain
    assert f"only errors at least {result.detectable_ratio:.3g} times as large" in plain
    assert str(result).startswith("Under noise b is not shown to be worse than a") and "\n" not in repr(result)
    worse = compare_rows(a, 2 * b, tolerance=0.1)
    assert verdict(worse).startswith(
        f"Under noise b is worse than a by more than the tolerated 10 %: its error is {worse.pooled_ratio:.4g} times"
    )
    assert "p < 0.000001" in verdict(worse)
    assert "it has errors where a has none" in verdict(compare_rows(0 * a, b))


def test_where_the_error_lies():
    errors = np.array([[1.0, 3.0], [3.0, 9.0], [0.0, math.inf]])
    assert compare_rows(np.ones((3, 2)), errors).error_share == pytest.approx([0.25, 0.75])
    assert compare_rows(np.ones((3, 2)), 1e308 * np.ones((3, 2))).error_share == pytest.approx([0.5, 0.5])
    assert compare_rows(np.ones((3, 2)), np.zeros((3, 2))).error_share.tolist() == [0, 0]


def test_order_of_rows_does_not_matter():
    generator = np.random.default_rng(5)
    a, b, order = errors(generator), errors(generator), generator.permutation(128)
    first, second = compare_rows(a, b, levels=LEVELS), compare_rows(a[order], b[order], levels=LEVELS)
    assert second.pvalue == pytest.approx(first.pvalue)
    assert second.ratio == pytest.approx(first.ratio)


@pytest.mark.parametrize(
    ("a", "b", "options"),
    [
        (np.ones((5, 2)), np.ones((4, 2)), {}),
        (np.ones((5, 3)), np.ones((5, 3)), {}),
        (np.ones((1, 2)), np.ones((1, 2)), {}),
        (np.full((5, 2), np.nan), np.ones((5, 2)), {}),
        (np.ones((5, 2)), np.ones((5, 2)), {"levels": [0.0, 0.1]}),
        (np.ones((5, 2)), np.ones((5, 2)), {"alpha": 0.0}),
        (np.ones((5, 2)), np.ones((5, 2)), {"alpha": 0.5}),
        (np.ones((5, 0)), np.ones((5, 0)), {"levels": []}),
        (np.ones((5, 2)), np.ones((5, 2)), {"tolerance": -0.1}),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, options):
    with pytest.raises(InvalidInputError):
        compare_rows(a, b, **({"levels": LEVELS} | options))


def test_lower_limit_of_the_baseline_ratio():
    generator = np.random.default_rng(6)
    below = []
    for _ in range(500):
        base, now = errors(generator, rows=400), errors(generator, rows=128, factor=1.3)
        ratio, lower = mean_ratio(now, base.mean(axis=0), base.var(axis=0), 400, 0.95)
        assert np.all(lower < ratio)
        below.append(lower <= 1.3)
    assert np.mean(below, axis=0) == pytest.approx([0.95, 0.95], abs=0.03)


def test_lower_limit_of_the_baseline_ratio_on_skewed_errors():
    generator, runs = np.random.default_rng(12), 3000
    now, base = (generator.chisquare(1, size=(rows, runs)) for rows in (256, 1024))
    _, lower = mean_ratio(now, base.mean(axis=0), base.var(axis=0, ddof=1), 1024, 0.95)
    assert np.mean(lower > 1) == pytest.approx(0.05, abs=0.012)


def test_baseline_ratio_never_says_more_than_is_known():
    now = np.array([[0.0, 1.0, math.inf], [0.0, 1.0, 1.0]])
    ratio, lower = mean_ratio(now, [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], 10, 0.95)
    assert ratio.tolist() == [1.0, math.inf, math.inf]
    assert lower.tolist() == [0.0, 0.0, math.inf]


def test_units():
    assert comparable([1.0, 0.0], [9.0, 0.0])
    assert not comparable([1.0, 1.0], [1.0, 11.0])
    assert not comparable([0.0], [1.0])


def test_errors_of_two_real_assessments():
    inputs = linear.inputs(256)
    a = assess_rows(linear.predict, inputs, seed=3)
    b = assess_rows(
        lambda x, rows: 1.1 * linear.predict(x, rows),
        inputs,
        seed=3,
        scale=a.scale,
        comparison_variance=a.clean_variance,
    )
    result = compare_rows(a.normalised_row_errors[:, 1:], b.comparison_row_errors[:, 1:], levels=a.levels[1:])
    assert result.ratio == pytest.approx(np.full(4, 1.21))
    assert result.worse


def test_common_noise_makes_the_difference_of_versions_precise():
    inputs = linear.inputs(64)

    def near(x, rows):
        return linear.predict(x, rows) + 0.1 * np.sin(x[..., 0])

    def mse(predict, seed):
        return np.array(assess_rows(predict, inputs, seed=seed, scale=1.0, trials=99).curve[-1].trial_mse)

    first = mse(linear.predict, 1)
    assert np.var(mse(near, 2) - first) > 35 * np.var(mse(near, 1) - first)


def test_retrainings_with_other_seeds():
    """Real versions: 20 % more on top of what differs by chance is found, equality in law is not called worse."""
    from sklearn.datasets import load_diabetes
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import scale

    x, y = load_diabetes(return_X_y=True)
    x, versions = scale(x), []
    for seed in range(2):
        network = MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=1000, alpha=10.0, random_state=seed)
        versions.append(network.fit(x[:200], scale(y[:200])).predict)
    a, b = (
        assess_rows(lambda x, rows, call=call: call(x), x[200:], seed=1, scale=1.0).row_errors[:, 1:]
        for call in versions
    )
    b *= a.mean(axis=0) / b.mean(axis=0)
    generator = np.random.default_rng(13)
    samples = [generator.integers(0, len(a), size=256) for _ in range(40)]
    assert sum(compare_rows(a[at], b[at]).worse for at in samples) <= 3
    assert all(compare_rows(a[at], 1.2 * b[at]).worse for at in samples)


finite_errors = st.one_of(
    st.just(0.0), st.sampled_from([1.0, 1.0 + 2**-52, math.exp(0.5)]), st.floats(0.0, 10.0), st.floats(0.0, 1e308)
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_finite_errors_always_get_a_verdict(data):
    rows, levels = data.draw(st.sampled_from([2, 3, 4, 5, 30])), data.draw(st.integers(1, 2))

    def column():
        values = data.draw(st.lists(finite_errors, min_size=1, max_size=3))
        return data.draw(st.lists(st.sampled_from(values), min_size=rows, max_size=rows))

    a, b = (np.array([column() for _ in range(levels)]).T for _ in range(2))
    result = compare_rows(a, b, tolerance=data.draw(st.sampled_from([0.0, 0.1])))
    assert 0.0 <= result.pvalue <= 1.0
    assert np.all(result.ratio_low >= 0) and np.all(result.ratio_high >= 0)  # so neither is NaN
    assert result.detectable_ratio is None or result.detectable_ratio > 0.99
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.describe()


def test_constant_errors_of_one_version():
    a = np.random.default_rng(2).lognormal(0, 1, 10)[:, None]
    assert not compare_rows(a, np.full((10, 1), math.exp(0.5))).worse
    assert compare_rows(a, np.full((10, 1), 100.0)).worse


def test_identical_versions_read_well():
    a = errors(np.random.default_rng(14))
    text = verdict(compare_rows(a, a))
    assert "1 times" not in text and "almost any worsening is found" in text
    tolerant = verdict(compare_rows(a, a, tolerance=0.1))
    assert "almost any worsening by more than the tolerated 10 % is found" in tolerant
