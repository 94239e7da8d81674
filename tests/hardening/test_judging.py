"""The verdict, from scores alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from robmon.hardening.judging import gain, judge_classes, judge_values


def scores(rows: int, lost: int, gained: int) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.ones(rows), np.ones(rows)
    after[:lost] = 0
    before[lost : lost + gained] = 0
    return before, after


@pytest.mark.parametrize(("lost", "gained"), [(8, 3), (3, 8), (20, 0), (0, 5), (12, 1)])
def test_the_clean_test_of_classes_is_scipys_binomial(lost: int, gained: int) -> None:
    rows, tolerance = 300, 0.01
    found = judge_classes(*scores(rows, lost, gained)[:1], *scores(rows, lost, gained), tolerance)
    changed = lost + gained
    share = min(1.0, (1 + rows * tolerance / changed) / 2)
    assert found.pvalue == pytest.approx(stats.binomtest(lost, changed, share, alternative="greater").pvalue)
    assert (found.lost_rows, found.gained_rows) == (lost, gained)
    assert found.loss == pytest.approx((lost - gained) / rows)
    assert found.passed == (found.pvalue >= 0.05)
    assert found.most_loss is not None and found.most_loss > found.loss


def test_a_loss_of_just_the_tolerance_is_seldom_called_more() -> None:
    generator = np.random.default_rng(0)
    called = 0
    for _ in range(400):
        change = generator.choice([1, -1, 0], p=[0.04, 0.03, 0.93], size=1000)  # a loss of 0.01 in the mean
        before, after = (change >= 0).astype(float), (change <= 0).astype(float)
        called += not judge_classes(before, before, after, 0.01).passed
    assert called <= 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)


def test_no_row_changed() -> None:
    found = judge_classes(np.ones(50), np.ones(50), np.ones(50), 0.0)
    assert found.passed and found.pvalue == 1.0 and found.most_loss is None


def test_values_may_lose_what_is_tolerated_and_not_more() -> None:
    generator = np.random.default_rng(0)
    before = 0.9 + 0.1 * generator.normal(size=500)
    apart = 0.01 * generator.normal(size=500)
    assert judge_values(before, before, before + apart, 0.01).passed
    assert judge_values(before, before, before - 0.008 + apart, 0.01).passed
    lost = judge_values(before, before, before - 0.03 + apart, 0.01)
    assert not lost.passed and lost.loss == pytest.approx(0.03, abs=0.002)
    assert lost.most_loss is not None and lost.loss < lost.most_loss < 0.04


def test_a_gain_is_one_beyond_chance_and_a_failure_is_none() -> None:
    generator = np.random.default_rng(1)
    before = generator.random(400)
    noise = 0.2 * generator.normal(size=400)
    assert gain(before, before + 0.1 + noise).passed
    assert not gain(before, before + noise - noise.mean()).passed
    assert not gain(before, before - 0.1 + noise).passed
    broken = before + 0.1
    broken[7] = -np.inf
    assert not gain(before, broken).passed
