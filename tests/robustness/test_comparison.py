from __future__ import annotations

import json
import math

import numpy as np
import pytest

from robmon.errors import InvalidInputError
from robmon.robustness.assessment import assess_rows
from robmon.robustness.baseline_ratio import mean_ratio
from robmon.robustness.comparison import comparable, compare_rows
from tests.robustness import linear

LEVELS = [0.1, 0.2]


def errors(generator, rows=128, factor=1.0):
    row = generator.chisquare(5, size=(rows, 1))
    return factor * row * np.array([0.01, 0.04]) * generator.chisquare(39, size=(rows, 2)) / 39


def test_false_alarms_of_versions_that_are_equal_in_law():
    generator, alpha, runs = np.random.default_rng(0), 0.05, 600
    alarms = sum(
        compare_rows(errors(generator), errors(generator), levels=LEVELS, alpha=alpha).worse for _ in range(runs)
    )
    assert abs(alarms - alpha * runs) < 3.3 * math.sqrt(alpha * (1 - alpha) * runs)


def test_five_percent_on_every_row_is_found():
    generator = np.random.default_rng(1)
    for _ in range(100):
        a = errors(generator, rows=256)
        found = compare_rows(a, 1.05 * a, levels=LEVELS)
        assert found.worse
        assert found.ratio == pytest.approx([1.05, 1.05])
        assert not compare_rows(a, 1.05 * a, levels=LEVELS, tolerance=0.1).worse
        assert not compare_rows(1.05 * a, a, levels=LEVELS).worse


def test_the_detectable_ratio_is_detected_with_its_power():
    """Rows' own ratios vary by 40 %; the mean of them is the detectable one."""
    generator = np.random.default_rng(2)

    def pair(ratio):
        a = errors(generator, rows=200)
        return a, a * ratio * generator.gamma(6, 1 / 6, size=(200, 1))

    stated = np.mean([compare_rows(*pair(1.0), levels=LEVELS).detectable_ratio for _ in range(50)])
    found = np.mean([compare_rows(*pair(stated), levels=LEVELS).worse for _ in range(300)])
    assert found == pytest.approx(0.9, abs=0.08)


def test_identical_versions_are_not_worse():
    a = errors(np.random.default_rng(3))
    result = compare_rows(a, a, levels=LEVELS)
    assert (result.pvalue, result.worse, result.ratio.tolist(), result.delta.tolist()) == (1.0, False, [1, 1], [0, 0])
    nothing = compare_rows(0 * a, 0 * a, levels=LEVELS)
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
    for result in (broken, healed, both):
        json.dumps(result.to_dict(), allow_nan=False)


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


def test_baseline_ratio_never_says_more_than_is_known():
    now = np.array([[0.0, 1.0, math.inf], [0.0, 1.0, 1.0]])
    ratio, lower = mean_ratio(now, [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], 10, 0.95)
    assert ratio.tolist() == [1.0, math.inf, math.inf]
    assert lower.tolist() == [0.0, 0.0, math.inf]


def test_units():
    assert comparable([1.0, 0.0], [9.0, 0.0])
    assert not comparable([1.0, 1.0], [1.0, 11.0])
    assert comparable([0.2, 0.001], [0.2, 0.1], output="probability")
    assert comparable([0.25, 0.25], [0.2, 0.2, 0.2], output="label")
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
