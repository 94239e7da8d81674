"""The statistics against SciPy's, to 1e-12, and what their p-values promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from scipy.spatial.distance import jensenshannon

import robmon
from robmon.drift.pvalues import (
    adjusted,
    chi_square_pvalue,
    exceedance_pvalue,
    kolmogorov_smirnov_pvalue,
    share_pvalue,
)
from robmon.drift.statistics import (
    chi_square,
    distances,
    expected_by_chance,
    jensen_shannon,
    stability_index,
)
from robmon.errors import InvalidInputError

COUNTS = st.lists(st.integers(0, 1000), min_size=3, max_size=8)


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def test_index_by_its_formula() -> None:
    p, q = np.array([30.5, 50.5, 20.5]) / 101.5, np.array([60.5, 20.5, 20.5]) / 101.5
    assert stability_index([30, 50, 20], [60, 20, 20]) == near(np.sum((q - p) * np.log(q / p)))
    assert stability_index([30, 50, 20, 0], [60, 20, 20, 0]) == stability_index([30, 50, 20], [60, 20, 20])


@given(COUNTS, COUNTS)
def test_statistics_of_counts_are_those_of_scipy(p: list[int], q: list[int]) -> None:
    size = min(len(p), len(q))
    p, q = p[:size], q[:size]
    assert stability_index(p, q) >= 0.0 and stability_index(p, p) == 0.0
    if not sum(p) or not sum(q):
        return
    assert jensen_shannon(p, q) == pytest.approx(np.nan_to_num(jensenshannon(p, q, base=2)), abs=2e-8)
    assert jensen_shannon(p, q) ** 2 == near(np.nan_to_num(jensenshannon(p, q, base=2)) ** 2)
    used = [(a, b) for a, b in zip(p, q, strict=True) if a + b]
    if len(used) > 1:
        theirs = stats.chi2_contingency(np.transpose(used), correction=False)
        statistic, degrees = chi_square(p, q)
        assert (statistic, degrees) == (near(theirs.statistic), theirs.dof)
        assert chi_square_pvalue(statistic, degrees) == near(theirs.pvalue)


@pytest.mark.parametrize("law", ["normal", "few", "cauchy", "large"])
def test_distances_are_those_of_scipy(law: str) -> None:
    r = np.random.default_rng(0)
    draw = {
        "normal": lambda n: r.normal(size=n),
        "few": lambda n: r.poisson(2, n).astype(float),
        "cauchy": lambda n: r.standard_cauchy(n),
        "large": lambda n: 1e12 + r.normal(size=n),
    }[law]
    for sizes in ((5, 3), (30, 2), (300, 200), (1024, 64)):
        first, second = draw(sizes[0]), draw(sizes[1]) * 1.1
        ks, area = distances(first, second)
        assert ks == near(stats.ks_2samp(first, second, method="asymp").statistic)
        assert area == near(stats.wasserstein_distance(first, second))
        values, counts = np.unique(first, return_counts=True)
        assert distances(values, second, counts) == (near(ks), near(area))
        assert distances(second, values, None, counts) == (near(ks), near(area))
    with pytest.raises(InvalidInputError):
        distances([], [1.0])


def test_distances_of_the_largest_numbers_do_not_overflow() -> None:
    assert distances([-1.7e308, 1.7e308], [1.7e308, 1.7e308]) == (0.5, near(1.7e308))


@pytest.mark.parametrize("laws", ["normal", "few", "shifted"])
def test_drift_has_the_statistics_of_scipy(laws: str) -> None:
    r = np.random.default_rng(1)
    before = r.normal(size=(500, 2)) if laws != "few" else r.poisson(30, (500, 2)).astype(float)
    now = before[:200] * 1.01 + r.normal(0.1 if laws == "shifted" else 0.0, 0.01, (200, 2))
    if laws == "few":
        now = r.poisson(31, (200, 2)).astype(float)
    for at, feature in enumerate(robmon.drift(before, now).features):
        theirs = stats.ks_2samp(before[:, at], now[:, at], method="asymp")
        assert feature.ks == near(theirs.statistic)
        area = stats.wasserstein_distance(before[:, at], now[:, at])
        assert feature.wasserstein == near(area / before[:, at].std())


def test_pvalues_are_those_of_scipy() -> None:
    for distance in np.linspace(0.005, 1, 60):
        at = distance * np.sqrt(256 * 1024 / (256 + 1024))
        assert kolmogorov_smirnov_pvalue(distance, 1024, 256) == near(special.kolmogorov(at))
    for degrees in range(1, 60):
        for statistic in (1e-6, 0.5, 3.0, 20.0, 150.0):
            theirs = stats.chi2.sf(statistic, degrees)
            assert chi_square_pvalue(statistic, degrees) == near(theirs)
            assert chi_square_pvalue(statistic, degrees) == pytest.approx(theirs, rel=1e-9)
    for before, rows, now, sample in ((0, 1024, 3, 64), (10, 500, 0, 500), (500, 1000, 30, 60), (7, 7, 3, 5)):
        law = stats.hypergeom(rows + sample, before + now, sample)
        assert share_pvalue(before, rows, now, sample) == near(min(2 * min(law.cdf(now), law.sf(now - 1)), 1))
    assert kolmogorov_smirnov_pvalue(0.5, 0, 10) == chi_square_pvalue(3.0, 0) == 1.0


def test_a_distance_s_pvalue_is_on_the_safe_side_of_the_exact_one() -> None:
    for rows in (64, 256):
        for distance in (0.25, 0.3, 0.4):
            k = round(distance * rows)
            exact = stats.ks_2samp(np.arange(rows), np.arange(rows) + k - 0.5, method="exact")
            assert exact.pvalue < 0.05 and exact.pvalue <= kolmogorov_smirnov_pvalue(exact.statistic, rows, rows)


def test_rows_beyond_the_range_have_the_law_that_is_said() -> None:
    r = np.random.default_rng(2)
    rows = r.normal(size=(20_000, 60))
    beyond = (rows[:, 40:] > rows[:, :40].max(axis=1, keepdims=True)).sum(axis=1)
    for k in (1, 2, 4):
        share = exceedance_pvalue(k, 40, 20)
        assert np.mean(beyond >= k) == pytest.approx(share, abs=4 * np.sqrt(share / 20_000))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_false_discoveries_are_controlled_as_by_scipy(pvalues: list[float]) -> None:
    assert adjusted(pvalues) == near(stats.false_discovery_control(pvalues))


def test_what_is_no_probability_is_refused() -> None:
    for pvalues in ([1.1], [-0.1], [np.nan], [[0.1]]):
        with pytest.raises(InvalidInputError):
            adjusted(pvalues)
    assert adjusted([]).tolist() == []


def test_chance_gives_what_is_said() -> None:
    r = np.random.default_rng(3)
    before, now = (r.multinomial(rows, [0.1] * 10, 500) for rows in (4000, 500))
    found = list(map(stability_index, before, now))
    assert np.mean(found) == pytest.approx(expected_by_chance([400] * 10, [50] * 10), rel=0.1)


def test_any_feature_is_said_to_have_drifted_at_most_as_often_as_promised() -> None:
    """A small one of `tests/benchmarks/drift.py`."""
    r = np.random.default_rng(4)
    found = [robmon.drift(r.normal(size=(1024, 20)), r.normal(size=(64, 20))).drifted_features for _ in range(60)]
    assert np.count_nonzero(found) <= 4  # more has a probability of 0.0003 at 1 %
