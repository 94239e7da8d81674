"""The beta distribution against SciPy's, and the limits of a share against their promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from robmon.robustness.statistics import beta

SHAPES = [(1, 1), (0.5, 7.0), (1, 99), (99, 1), (20, 20), (70.5, 30), (990, 11), (5000, 5001), (1, 10_000)]


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_distribution_and_quantile_are_scipys(a, b):
    law = stats.beta(a, b)
    for p in (1e-6, 0.025, 0.05, 0.5, 0.95, 0.999):
        x = beta.quantile(p, a, b)
        assert x == pytest.approx(law.ppf(p), abs=1e-12)
        assert beta.cdf(x, a, b) == pytest.approx(p, rel=1e-9)
    assert (beta.cdf(0.0, a, b), beta.cdf(1.0, a, b)) == (0.0, 1.0)


@pytest.mark.parametrize("of", [1, 19, 256])
def test_limits_are_those_of_clopper_and_pearson(of):
    for count in sorted({0, 1, of // 2, of - 1, of}):
        interval = stats.binomtest(count, of).proportion_ci(0.9, method="exact")
        assert beta.lower_limit(count, of, 0.95) == pytest.approx(interval.low, abs=1e-12)
        assert beta.upper_limit(count, of, 0.95) == pytest.approx(interval.high, abs=1e-12)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_limits_hold_as_stated_whatever_the_share(share):
    """Summed over all counts, not sampled: the coverage is known exactly."""
    counts = np.arange(100)
    chance = stats.binom(99, share).pmf(counts)
    below = np.array([beta.lower_limit(count, 99, 0.95) <= share for count in counts])
    above = np.array([beta.upper_limit(count, 99, 0.95) >= share for count in counts])
    assert chance @ below >= 0.95
    assert chance @ above >= 0.95
