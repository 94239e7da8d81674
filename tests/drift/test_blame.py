"""Blame: parts that add up, intervals that cover, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import robmon
from robmon.drift.blame import Blame, blame_in_order

ROWS, Z95 = 256, 1.959964
SPREAD = 0.7
REPEATS = 2000
"""Of which 93 to 97 % must cover: of 400 one in fifteen right intervals would fail."""


def lognormal_errors(rng: np.random.Generator, moved: float, worse: float) -> np.ndarray:
    """Row errors of an old and a new version on baseline and current rows, shape `(2 versions, 2 samples, ROWS)`.

    They are lognormal in a row's difficulty. The new version multiplies those of difficult rows by `worse`; current
    rows are more difficult by `moved`.
    """
    difficulty = rng.normal(0.0, SPREAD, (2, ROWS))
    difficulty[1] += moved
    noise = rng.normal(0.0, 0.3, (2, 2, ROWS))
    errors = np.exp(difficulty + noise)
    errors[1] *= np.where(difficulty > 0.5, worse, 1.0)
    return errors


def true_means(moved: float, worse: float) -> np.ndarray:
    """Means of the four, by numeric integration over the difficulty; shape `(2 versions, 2 samples)`."""
    z = np.linspace(-12.0, 12.0, 20_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    means = np.empty((2, 2))
    for sample, shift in enumerate((0.0, moved)):
        size = np.exp(SPREAD * z + shift) * math.exp(0.3**2 / 2)
        means[0, sample] = np.trapezoid(size * density, z)
        means[1, sample] = np.trapezoid(size * np.where(SPREAD * z + shift > 0.5, worse, 1.0) * density, z)
    return means


def true_parts(means: np.ndarray) -> dict[str, float]:
    """The parts of the change, of means `(2 versions, 2 samples)`."""
    (m_ob, m_oc), (m_nb, m_nc) = means
    return {
        "model": (m_nb - m_ob + m_nc - m_oc) / 2,
        "traffic": (m_oc - m_ob + m_nc - m_nb) / 2,
        "interaction": m_nc - m_oc - (m_nb - m_ob),
        "total": m_nc - m_ob,
    }


@pytest.fixture(scope="module")
def repeats() -> list[Blame]:
    rng = np.random.default_rng(20)
    results = []
    for _ in range(REPEATS):
        old, new = lognormal_errors(rng, moved=0.4, worse=1.3)
        results.append(robmon.blame(old[0], new[0], old[1], new[1]))
    return results


def test_parts_add_up_and_ratios_multiply(repeats: list[Blame]) -> None:
    for result in repeats:
        assert abs(result.model.value + result.traffic.value - result.total.value) <= 1e-12
    old, new = lognormal_errors(np.random.default_rng(1), 0.4, 1.3)
    result = robmon.blame(old[0], new[0], old[1], new[1])
    assert result.model_ratio * result.traffic_ratio == pytest.approx(new[1].mean() / old[0].mean(), rel=1e-12)


@pytest.mark.parametrize("part", ["model", "traffic", "interaction", "total"])
def test_intervals_cover_what_is_true(repeats: list[Blame], part: str) -> None:
    truth = true_parts(true_means(0.4, 1.3))[part]
    effects = [getattr(result, part) for result in repeats]
    covered = np.mean([abs(effect.value - truth) <= Z95 * effect.stderr for effect in effects])
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("part", ["model_ratio", "traffic_ratio"])
def test_intervals_of_ratios_cover_what_is_true(repeats: list[Blame], part: str) -> None:
    (m_ob, m_oc), (m_nb, m_nc) = true_means(0.4, 1.3)
    truth = math.sqrt(m_nb * m_nc / (m_ob * m_oc) if part == "model_ratio" else m_oc * m_nc / (m_ob * m_nb))
    ratios = [getattr(result, part) for result in repeats]
    covered = np.mean([abs(math.log(ratio / truth)) <= Z95 * ratio.log_stderr for ratio in ratios])
    assert 0.93 <= covered <= 0.97


def test_an_order_adds_up_covers_and_says_so() -> None:
    rng, (m_ob, m_oc), (_, m_nc) = np.random.default_rng(3), *true_means(0.4, 1.3)
    covered = np.zeros(3)
    for _ in range(REPEATS):
        old, new = lognormal_errors(rng, 0.4, 1.3)
        stderr = old[0].std(ddof=1) / math.sqrt(ROWS)
        result = blame_in_order(old[0].mean(), stderr, old[1], new[1])
        assert result.model.value + result.traffic.value == pytest.approx(result.total.value, abs=1e-12)
        assert result.interaction is None and result.order == "traffic first, then model"
        parts = zip((result.model, result.traffic, result.total), (m_nc - m_oc, m_oc - m_ob, m_nc - m_ob), strict=True)
        covered += [abs(part.value - truth) <= Z95 * part.stderr for part, truth in parts]
    assert covered.min() >= 0.93 * REPEATS and covered.max() <= 0.97 * REPEATS


def test_each_cause_is_named_and_nothing_without_one() -> None:
    rng = np.random.default_rng(4)
    base, current = rng.chisquare(4, (2, ROWS))
    assert robmon.blame(base, 1.5 * base, current, 1.5 * current).cause == "model"
    assert robmon.blame(base, base, 2 * current, 2 * current).cause == "traffic"
    unchanged = robmon.blame(base, base, current, current)
    assert unchanged.cause is None and unchanged.share("model") is None
    better = robmon.blame(base, 0.5 * base, current, 0.5 * current)
    assert better.cause is None and better.model.value < 0


def test_shares_add_up_to_one() -> None:
    base, current = np.random.default_rng(5).chisquare(4, (2, ROWS))
    result = robmon.blame(base, 1.5 * base, 2 * current, 3 * current)
    assert sum(result.share(cause).value for cause in ("model", "traffic")) == pytest.approx(1.0, abs=1e-12)


def test_of_a_mean_of_nothing_there_is_no_ratio() -> None:
    none, some = np.zeros(10), np.arange(10.0)
    result = robmon.blame(none, none, some, some)
    assert result.model_ratio is None and result.traffic_ratio is None and result.traffic.value == 4.5
    assert blame_in_order(0.0, 0.0, some, some).traffic_ratio is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"new_baseline": np.ones(9)}, "of the same baseline rows"),
        ({"old_current": np.ones((10, 1))}, "of the same current rows"),
        ({"old_current": [1.0], "new_current": [1.0]}, "at least 2 current rows"),
        ({"old_baseline": np.r_[np.nan, np.ones(9)]}, "finite"),
        ({"new_current": np.r_[np.inf, np.ones(9)]}, "finite"),
        ({"new_current": np.r_[-1.0, np.ones(9)]}, "at least 0"),
        ({"new_current": ["a"] * 10}, "not numbers"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(change: dict[str, Any], sentence: str) -> None:
    errors = dict.fromkeys(("old_baseline", "new_baseline", "old_current", "new_current"), np.ones(10)) | change
    with pytest.raises(robmon.InvalidInputError, match=sentence):
        robmon.blame(**errors)


@pytest.mark.parametrize("known", [(math.nan, 0.1), (1.0, math.inf), (-1.0, 0.1)])
def test_a_baseline_that_is_not_known_is_refused(known: tuple[float, float]) -> None:
    with pytest.raises(robmon.InvalidInputError, match="finite"):
        blame_in_order(*known, np.ones(10), np.ones(10))


def test_the_result_is_json() -> None:
    import json

    base, current = np.random.default_rng(6).chisquare(4, (2, ROWS))
    told = json.loads(json.dumps(robmon.blame(base, 2 * base, current, 2 * current).to_dict()))
    assert told["cause"] == "model" and told["model_ratio"]["value"] == pytest.approx(2.0)
