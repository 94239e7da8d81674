"""Slope, area and margin: against closed forms, against repetition, and their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robmon.errors import InvalidInputError
from robmon.report.assessment import headline
from robmon.robustness import curve as curves
from robmon.robustness.noise.base import Noise
from tests.robustness import linear
from tests.robustness.assessing import assess_rows

LEVELS = (0.0, 0.1, 0.3, 0.8)
SQUARES = np.array([[2.0, 0.5, 0.0], [0.5, -1.0, 0.3], [0.0, 0.3, 0.5]])


def quadratic(x):
    return np.einsum("...i,ij,...j->...", x, SQUARES, x)


def quadratic_mse(mean_square, levels):
    """`E (f(x + s z) - f(x))² = 4 s² E |A x|² + s⁴ (2 tr A² + (tr A)²)` for `f(x) = x'Ax`."""
    u = np.square(levels)
    return 4 * u * mean_square + u**2 * (2 * np.trace(SQUARES @ SQUARES) + np.trace(SQUARES) ** 2)


def through_zero(x, y):
    """Least squares through the origin by NumPy's own solver, and how far the line is off."""
    value = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
    return value, np.sqrt(np.mean((y - value * x) ** 2) / np.mean(y**2))


def test_a_quadratic_model_has_its_closed_form():
    inputs = np.random.default_rng(0).normal(size=(3000, 3))
    result = assess_rows(lambda x, _: quadratic(x), inputs, levels=LEVELS, scale=1.0, trials=99, output_variance=[2.0])
    expected = quadratic_mse(np.mean(np.sum((inputs @ SQUARES) ** 2, axis=1)), LEVELS)
    assert [point.mean_mse for point in result.curve] == pytest.approx(expected, rel=0.02)
    value, lack_of_fit = through_zero(np.square(LEVELS)[1:], expected[1:])
    assert result.slope.value == pytest.approx(value, abs=4 * result.slope.stderr)
    assert result.slope.value == pytest.approx(value, rel=0.02)
    assert result.slope.lack_of_fit == pytest.approx(lack_of_fit, rel=0.05)
    assert result.area == pytest.approx(np.trapezoid(expected / 4.0, np.square(LEVELS)) / 0.64, rel=0.02)
    assert result.index == 1 - result.area


@pytest.mark.parametrize(
    ("score", "axis"), [("mse", "level_squared"), ("agreement", "level"), ("accuracy", "severity")]
)
def test_the_standard_error_is_that_of_2000_repetitions(score, axis):
    """Fresh rows and fresh noise each time: the stated error is the spread of the slopes, and the slope has no bias."""
    generator = np.random.default_rng(3)
    repetitions, rows, trials = 2000, 64, 19
    x = generator.normal(size=(repetitions, rows, 1, 3))
    z = generator.normal(size=(repetitions, rows, trials, 3))
    clean = quadratic(x)
    target = clean + generator.normal(size=clean.shape) > 0
    values = np.empty((repetitions, rows, len(LEVELS)))
    for index, level in enumerate(LEVELS):
        noisy = quadratic(x + level * z)
        outcomes = {
            "mse": (noisy - clean) ** 2,
            "agreement": (noisy > 0) == (clean > 0),
            "accuracy": (noisy > 0) == target,
        }
        values[..., index] = outcomes[score].mean(axis=2)
    slopes = [curves.slope(each, LEVELS, score, axis) for each in values]
    measured = np.array([slope.value for slope in slopes])
    stated = np.sqrt(np.mean([slope.stderr**2 for slope in slopes]))
    assert stated == pytest.approx(measured.std(ddof=1), rel=0.06)
    pooled = curves.slope(values.reshape(-1, len(LEVELS)), LEVELS, score, axis)
    assert measured.mean() == pytest.approx(pooled.value)
    if score == "mse":
        expected = quadratic_mse(np.trace(SQUARES @ SQUARES), LEVELS)  # E |A x|² over standard normal rows
        value, _ = through_zero(np.square(LEVELS)[1:], expected[1:])
        assert pooled.value == pytest.approx(value, abs=4 * pooled.stderr)


def test_with_several_rows_a_request_the_standard_error_is_over_requests():
    """Rows of a request react alike: counted by rows, the error would be stated at half its size."""
    clusters = np.repeat(np.arange(40), 4)

    def predict(x, rows):
        return x[:, 0] * x[:, 1]

    by_request, by_row, values = [], [], []
    for seed in range(200):
        strength = np.repeat(np.random.default_rng(seed).normal(size=40), 4)
        inputs = np.stack([strength, np.zeros(160)], axis=1)
        options = {"levels": [0.2], "scale": [0.0, 1.0], "trials": 19, "seed": seed}
        by_request.append(assess_rows(predict, inputs, clusters=clusters, **options).slope)
        by_row.append(assess_rows(predict, inputs, **options).slope.stderr)
        values.append(by_request[-1].value)
    spread = np.std(values, ddof=1)
    assert np.sqrt(np.mean([slope.stderr**2 for slope in by_request])) == pytest.approx(spread, rel=0.15)
    assert np.sqrt(np.mean(np.square(by_row))) < 0.65 * spread


def test_severity_counts_the_levels():
    falling = np.array([[1.0, 0.9, 0.8, 0.7], [1.0, 1.0, 1.0, 1.0]])
    by_rank = curves.slope(falling, LEVELS, "accuracy", "severity")
    assert (by_rank.value, by_rank.axis, by_rank.score) == (pytest.approx(-0.05), "severity", "accuracy")
    assert by_rank.lack_of_fit == pytest.approx(0, abs=1e-12)
    by_level = curves.slope(falling, LEVELS, "accuracy", "level")
    assert by_level.value == pytest.approx(-(0.1 * 0.05 + 0.3 * 0.1 + 0.8 * 0.15) / (0.01 + 0.09 + 0.64))
    assert not by_level.is_straight


def test_slopes_of_a_result_say_what_they_are():
    inputs = linear.inputs(400)
    truth = inputs @ linear.WEIGHTS > 0.5
    result = assess_rows(
        lambda x, _: (x @ linear.WEIGHTS > 0).astype(int), inputs, targets=truth, task="classification", levels=LEVELS
    )
    assert (result.slope.score, result.slope.axis) == ("mse", "level_squared")
    assert (result.agreement_slope.score, result.agreement_slope.axis) == ("agreement", "level")
    assert (result.accuracy_slope.score, result.accuracy_slope.axis) == ("accuracy", "level")
    assert result.slope_over("level", "agreement") == result.agreement_slope
    accuracy = np.array([point.accuracy for point in result.curve])
    by_rank = result.slope_over("severity", score="accuracy")
    assert by_rank.value == pytest.approx(through_zero(np.arange(1.0, 4), (accuracy - accuracy[0])[1:])[0])
    content = result.to_dict()
    assert content["accuracy_slope"]["axis"] == "level"
    assert "severity" not in str(content)
    with pytest.raises(InvalidInputError, match="axis 'rank' is not known: it is one of level_squared, level, sev"):
        result.slope_over("rank")
    with pytest.raises(InvalidInputError, match="score 'f1' is not known: it is one of mse, agreement, accuracy"):
        result.slope_over("level", "f1")


def test_a_slope_that_was_not_measured_is_absent():
    result = assess_rows(linear.predict, linear.inputs(40))
    assert result.agreement_slope is None and result.accuracy_slope is None
    assert result.slope_over("severity", "accuracy") is None


def test_slopes_of_a_random_model_are_absent_where_they_drown():
    own = np.random.default_rng(0)
    inputs = linear.inputs(300)

    def coin(x, rows):
        return own.integers(0, 2, size=len(x))

    result = assess_rows(coin, inputs, targets=np.ones(300, dtype=int), task="classification")
    assert result.own_mse == pytest.approx(0.5, abs=0.05)
    assert result.slope is None and result.agreement_slope is None and result.accuracy_slope is None


def test_steps_have_no_constant_slope_and_the_text_says_so():
    straight = assess_rows(linear.predict, linear.inputs(200))
    assert straight.slope.is_straight
    assert headline(straight).startswith(f"slope {straight.slope.value:.4g} ± ")
    steps = assess_rows(lambda x, _: np.floor(20 * x[:, 0]), linear.inputs(200), levels=[0.01, 0.02, 0.04], scale=1.0)
    assert not steps.slope.is_straight
    assert headline(steps) == (
        f"area {steps.area:.4g}, index {steps.index:.4g}; "
        f"a slope would mislead: the curve is not straight in level² (lack of fit {steps.slope.lack_of_fit:.2g})"
    )
    assert headline(steps) in str(steps).splitlines()
    inputs = linear.inputs(50)
    broken = assess_rows(lambda x, rows: np.where(x == inputs[rows], x, np.nan), inputs)
    assert headline(broken) == "area -, index -"
    assert curves.slope(np.zeros((4, 2)), (0.0, 1.0), "mse", "level").is_straight, "one level is always on a line"


def test_the_noise_margin_is_a_plain_answer():
    result = assess_rows(linear.predict, linear.inputs(50), scale=1.0, mse_limit=0.5)
    bounds = [point.bound for point in result.curve]
    assert bounds[2] < 0.5 < bounds[3]
    crossed = result.noise_margin()
    assert (crossed.level, crossed.limit, crossed.crossed_at, crossed.crossed) == (0.1, 0.5, 0.2, True)
    assert f"noise margin {crossed}" in str(result).splitlines()
    assert str(crossed) == "0.1: the bound first exceeds 0.5 at level 0.2"
    never = result.noise_margin(bounds[-1])
    assert (never.level, never.crossed) == (0.4, False)
    assert str(never) == "not crossed up to the highest level assessed, 0.4"
    always = assess_rows(linear.predict, linear.inputs(50), targets=np.full(50, 9.0)).noise_margin(0.5)
    assert (always.level, always.crossed_at) == (None, 0.0)
    assert str(always) == "exceeded even without noise"
    assert result.to_dict()["noise_margin"] == {"level": 0.1, "limit": 0.5, "crossed_at": 0.2, "crossed": True}
    assert assess_rows(linear.predict, linear.inputs(50)).noise_margin() is None


def test_a_bound_that_falls_again_does_not_widen_the_margin():
    assert curves.noise_margin([0.0, 2.0, 0.5], (0.0, 1.0, 2.0), limit=1.0).level == 0.0


def scalars(result):
    """What a result says of all rows together."""
    points = [
        (point.mean_mse, point.bound, point.median_row_error, point.worst_share, point.agreement)
        for point in result.curve
    ]
    slopes = [
        (slope.value, slope.stderr, slope.lack_of_fit) for slope in (result.slope, result.agreement_slope) if slope
    ]
    return [number for each in (*points, *slopes, (result.area,)) for number in each if number is not None]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(40)), st.sampled_from(["regression", "classification"]))
def test_the_order_of_rows_does_not_matter(order, task):
    """With noise that is the same for every row; else a row's noise belongs to its place."""
    same_for_all = Noise("common", lambda generator, shape: np.broadcast_to(generator.normal(size=shape[1:]), shape))

    def predict(x, rows):
        return np.tanh(np.stack([x @ linear.WEIGHTS, x @ linear.WEIGHTS[::-1]], axis=1))

    inputs = linear.inputs(40)
    plain, moved = (
        assess_rows(predict, each, noise=same_for_all, trials=19, task=task) for each in (inputs, inputs[order])
    )
    assert scalars(moved) == pytest.approx(scalars(plain), rel=1e-9, abs=1e-15)
    assert moved.row_errors == pytest.approx(plain.row_errors[order])


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 1e3), st.integers(0, 2**40))
def test_outputs_times_c_give_mse_times_c_squared_and_the_same_index(factor, seed):
    inputs = linear.inputs(30)
    options = {"trials": 19, "seed": seed, "levels": [0.1, 0.3]}
    plain = assess_rows(linear.predict, inputs, **options)
    scaled = assess_rows(lambda x, rows: factor * linear.predict(x, rows), inputs, **options)
    squared = pytest.approx(factor**2 * np.array([errors_of(point) for point in plain.curve]), rel=1e-9)
    assert np.array([errors_of(point) for point in scaled.curve]) == squared
    assert scaled.row_errors == pytest.approx(factor**2 * plain.row_errors, rel=1e-9)
    assert (scaled.slope.value, scaled.slope.stderr) == pytest.approx(
        (factor**2 * plain.slope.value, factor**2 * plain.slope.stderr), rel=1e-9
    )
    assert scaled.slope.lack_of_fit == pytest.approx(plain.slope.lack_of_fit, abs=1e-9)
    assert scaled.index == pytest.approx(plain.index, rel=1e-9)
    assert [point.worst_share for point in scaled.curve] == pytest.approx([point.worst_share for point in plain.curve])
    assert scaled.worst_rows().tolist() == plain.worst_rows().tolist()


def errors_of(point):
    return (point.mean_mse, point.bound, point.request_bound or 0.0, point.median_row_error)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.sampled_from(["value", "probability", "logit", "label"]))
def test_level_zero_gives_zero_and_flips_are_what_does_not_agree(seed, output):
    def predict(x, _):
        scores = np.stack([x @ linear.WEIGHTS, x @ linear.WEIGHTS[::-1]], axis=1)
        return {
            "value": scores,
            "logit": scores,
            "probability": stats.logistic.cdf(scores[:, :1]) * [[1.0, -1.0]] + [[0.0, 1.0]],
            "label": scores.argmax(axis=1),
        }[output]

    result = assess_rows(predict, linear.inputs(30), trials=19, seed=seed, task="classification", output=output)
    first = result.curve[0]
    assert (first.mean_mse, first.bound, first.median_row_error, first.worst_share) == (0.0, 0.0, 0.0, None)
    assert (first.agreement, first.flip_rate) == (1.0, 0.0)
    assert all(point.agreement + point.flip_rate == 1 for point in result.curve)
    assert result.worst_rows(level=0).size == 0
