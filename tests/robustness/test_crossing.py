"""The level at which a score crosses a limit: closed forms, coverage, what lies beyond the levels, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import robmon
from robmon.library import baselines
from robmon.robustness.crossing import Crossing, crossing

LEVELS = (0.0, 0.1, 0.2, 0.4)


def test_a_linear_model_crosses_where_its_closed_form_does() -> None:
    """`M(s) = s² |w|²`, whatever the grid: the limit is crossed at `sqrt(limit) / |w|`."""
    inputs = np.random.default_rng(0).normal(size=(500, 2))
    result = robmon.assess(lambda x: x @ np.array([3.0, 4.0]), inputs, levels=LEVELS, scale=1.0, trials=99, seed=1)
    for at in (0.05, 0.15, 0.33):
        found = result.crossing(limit=25 * at**2)
        assert found.low <= at <= found.high and found.level == pytest.approx(at, rel=0.02)
        assert found.high - found.low < 0.02 * at
    beyond = result.crossing(limit=25.0)
    assert beyond.is_beyond and (beyond.low, beyond.high) == (None, None)
    assert str(beyond) == "beyond 0.4, the highest level assessed, with 95 % confidence"


def test_an_interval_that_reaches_beyond_the_levels_says_so() -> None:
    values = np.random.default_rng(0).chisquare(2, size=(60, 1)) / 2 * np.square(LEVELS)
    found = crossing(values, LEVELS, 0.98 * values.mean(axis=0)[-1], "mse")
    assert found.level is not None and found.level < 0.4 and found.low is not None and found.high is None
    assert str(found).endswith("to beyond 0.4)")
    above = crossing(values, LEVELS, 1.02 * values.mean(axis=0)[-1], "mse")
    assert above.is_beyond and above.low is not None and above.low < 0.4 and above.high is None


@pytest.mark.parametrize("score", ["mse", "agreement"])
def test_intervals_cover(score: Any) -> None:
    """1,500 samples of 200 rows: the stated 95 % hold the level of the law, between levels and near one."""
    rng, hits, repeats = np.random.default_rng(3), 0, 1500
    truth = 0.25
    for _ in range(repeats):
        if score == "mse":
            values = rng.gamma(2.0, 0.5, size=(200, 1)) * np.square(LEVELS)
            found = crossing(values, LEVELS, truth**2, "mse")
        else:
            kept = 1.0 - rng.beta(2.0, 2.0, size=(200, 1)) * np.asarray(LEVELS)
            found = crossing(kept, LEVELS, 1.0 - 0.5 * truth, "agreement")
        hits += (found.low or math.inf) <= truth <= (math.inf if found.high is None else found.high)
    assert 0.935 <= hits / repeats <= 0.965


def test_robustmargin_agrees_on_flips() -> None:
    """Binomial flips along a probit curve: the outside fit knows it, robmon draws straight lines between levels."""
    margin = pytest.importorskip("robustmargin", reason="robustmargin is an optional reference")
    from scipy import stats

    levels = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    rng, rows = np.random.default_rng(0), 2000
    kept = (rng.random((rows, 7)) < stats.norm.cdf((0.45 - levels) / 0.15)).astype(float)
    kept[:, 0] = 1.0
    found = crossing(kept, levels.tolist(), 0.7, "agreement")
    seen = margin.Observations.from_counts(
        margin.Axis(name="level", unit="sd", scale="linear"),
        severity=levels[1:].tolist(),
        successes=kept[:, 1:].sum(axis=0).astype(int).tolist(),
        trials=[rows] * 6,
        outcome="kept",
        direction="decreasing",
    )
    fit = margin.fit_dose_response(seen, model="binomial", link="probit", upper=1.0, lower=0.0)
    theirs = margin.threshold(fit, definition=margin.Definition.absolute(0.7), interval_method="profile", level=0.95)
    assert found.level == pytest.approx(theirs.value, abs=0.01)
    assert found.low < theirs.hi and theirs.lo < found.high
    assert (found.high - found.low) == pytest.approx(theirs.hi - theirs.lo, rel=0.6)


def test_agreement_and_accuracy_of_a_classifier() -> None:
    inputs = np.random.default_rng(0).normal(size=(400, 2))
    targets = (inputs[:, 0] > 0).astype(int)
    result = robmon.assess(
        lambda x: (x[:, 0] > 0).astype(int), inputs, targets, task="classification", levels=(0.2, 0.5, 1.0), scale=1.0
    )
    kept = result.crossing(limit=0.9, score="agreement")
    # The sign of x changes under noise of level s in a share of atan(s) / pi of the rows.
    assert kept.low <= math.tan(0.1 * math.pi) <= kept.high and kept.score == "agreement"
    right = result.crossing(limit=0.9, score="accuracy")
    assert right.level == pytest.approx(kept.level)
    assert result.crossing(limit=0.05, score="agreement").is_beyond
    assert result.crossing(score="agreement") is None and result.crossing() is None


def test_a_limit_that_is_exceeded_without_noise_is_crossed_at_0() -> None:
    inputs = np.random.default_rng(0).normal(size=(100, 1))
    result = robmon.assess(lambda x: x[:, 0], inputs, targets=inputs[:, 0] + 3.0, levels=(0.1, 0.2), mse_limit=1.0)
    found = result.crossing()
    assert (found.level, found.low, found.high) == (0.0, 0.0, 0.0)


def test_outputs_that_are_not_finite_end_the_interval() -> None:
    values = np.outer(np.ones(50), [0.0, 0.01, np.inf, np.inf])
    assert crossing(values, LEVELS, 0.5, "mse") == Crossing(0.1, 0.1, 0.2, 0.5, "mse", 0.95, 0.4)
    lost = crossing(np.full((50, 4), np.inf), LEVELS, 0.5, "mse")
    assert (lost.level, lost.low, lost.high) == (0.0, 0.0, 0.0)


def test_requests_are_what_counts() -> None:
    values = np.random.default_rng(0).chisquare(1, size=(40, 1)) * np.square(LEVELS)
    alone = crossing(values, LEVELS, 0.05, "mse")
    twice = crossing(np.repeat(values, 4, axis=0), LEVELS, 0.05, "mse")
    assert twice.level == pytest.approx(alone.level) and (twice.high or 9) < (alone.high or 9)


def test_it_is_printed_and_in_json() -> None:
    inputs = np.random.default_rng(0).normal(size=(100, 1))
    result = robmon.assess(lambda x: x[:, 0], inputs, levels=(0.1, 0.2), scale=1.0, mse_limit=0.0225)
    assert "the mean reaches 0.0225 at level 0.15 (95 % interval" in str(result)
    assert result.to_dict()["crossing"]["level"] == pytest.approx(0.15, abs=0.01)


def test_limits_of_shares_of_classes_are_told_printed_and_in_json() -> None:
    inputs = np.random.default_rng(0).normal(size=(400, 2))
    targets = (inputs[:, 0] > 0).astype(int)
    limits = {"agreement_limit": 0.9, "accuracy_limit": 0.5}
    result = robmon.assess(
        lambda x: (x[:, 0] > 0).astype(int),
        inputs,
        targets,
        task="classification",
        levels=(0.2, 0.5),
        scale=1.0,
        **limits,
    )
    kept, right = result.crossings
    assert kept == result.crossing(0.9, "agreement") and right == result.crossing(0.5, "accuracy")
    assert kept.level is not None and right.is_beyond
    lines = str(result).splitlines()
    assert f"agreement falls below 0.9 at level {kept}" in lines
    assert "accuracy falls below 0.5 at level beyond 0.5, the highest level assessed, with 95 % confidence" in lines
    told = result.to_dict()
    assert told["agreement_crossing"]["low"] == kept.low and told["agreement_limit"] == 0.9
    assert told["accuracy_crossing"]["level"] is None and told["crossing"] is None


@pytest.mark.parametrize("assess", [robmon.assess, baselines.assess], ids=["library", "command"])
def test_accuracy_is_not_limited_without_targets(assess: Any) -> None:
    with pytest.raises(robmon.InvalidInputError, match="which needs targets"):
        assess(lambda x: x[:, 0] > 0, np.zeros((9, 1)), task="classification", accuracy_limit=0.9)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"limit": -1.0}, "at least 0"),
        ({"limit": math.nan}, "at least 0"),
        ({"limit": 1.5, "score": "agreement"}, "at most 1"),
        ({"limit": 0.5, "score": "area"}, "is not known"),
        ({"limit": 0.5, "confidence": 1.0}, "confidence"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], sentence: str) -> None:
    inputs = np.random.default_rng(0).normal(size=(50, 2))
    result = robmon.assess(lambda x: (x[:, 0] > 0).astype(int), inputs, task="classification")
    with pytest.raises(robmon.InvalidInputError, match=sentence):
        result.crossing(**options)
    with pytest.raises(robmon.InvalidInputError, match="at least 2 rows"):
        crossing(np.zeros((1, 4)), LEVELS, 0.5, "mse")
