"""What sees a change of several features at once: MMD, and a domain classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import robmon
from robmon.drift.classifier import _fitted, area_under_curve, domain_classifier
from robmon.drift.mmd import maximum_mean_discrepancy
from robmon.errors import InvalidInputError


def pair(r: np.random.Generator, correlation: float, rows: int = 200) -> np.ndarray[Any, Any]:
    return r.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], rows)


def test_mmd_by_its_definition() -> None:
    r = np.random.default_rng(0)
    first, second = r.normal(size=(7, 3)), r.normal(0.5, 2.0, size=(5, 3))
    result = maximum_mean_discrepancy(first, second, permutations=1)
    x, y = ((rows - first.mean(axis=0)) / first.std(axis=0) for rows in (first, second))
    distances = [np.linalg.norm(x[i] - x[j]) for i in range(7) for j in range(i)]
    bandwidth = np.sqrt(np.median(np.square(distances)))

    def kernel(a: Any, b: Any) -> float:
        return float(np.exp(-np.sum((a - b) ** 2) / (2 * bandwidth**2)))

    within = np.mean([kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    other = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert result.bandwidth == pytest.approx(bandwidth)
    assert result.mmd2 == pytest.approx(within + other - 2 * across, abs=1e-12)


def test_mmd_sees_a_change_of_dependence_which_no_feature_shows() -> None:
    r = np.random.default_rng(1)
    before, now = pair(r, 0.6), pair(r, 0.0)
    assert robmon.drift(before, now).drifted_features == 0
    assert maximum_mean_discrepancy(before, now).pvalue == 0.005
    assert maximum_mean_discrepancy(before, pair(r, 0.6)).pvalue > 0.01


@pytest.mark.parametrize("unit", [1e300, 1e-300])
def test_the_unit_of_a_feature_decides_nothing(unit: float) -> None:
    """Squares of such numbers are infinite, or 0."""
    r = np.random.default_rng(6)
    before, now = r.normal(size=(100, 2)), r.normal(0.5, 1, size=(80, 2))
    for of in (maximum_mean_discrepancy, domain_classifier):
        found, usual = (list(vars(of(*rows)).values()) for rows in ((unit * before, unit * now), (before, now)))
        assert found == pytest.approx(usual, rel=1e-9)


def test_mmd_has_the_law_that_is_said() -> None:
    r = np.random.default_rng(2)
    found = [
        maximum_mean_discrepancy(r.normal(size=(40, 2)), r.normal(size=(20, 2)), permutations=19).pvalue
        for _ in range(300)
    ]
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=0.1)


def test_mmd_of_any_rows() -> None:
    r = np.random.default_rng(3)
    many = maximum_mean_discrepancy(r.normal(size=(3000, 2)), r.normal(size=(50, 2)), permutations=9, max_rows=100)
    assert (many.baseline_rows, many.current_rows) == (100, 50)
    constant = maximum_mean_discrepancy(np.ones((30, 2)), np.ones((30, 2)) * 2)
    assert constant.pvalue == 0.005 and maximum_mean_discrepancy(np.ones((30, 2)), np.ones((30, 2))).pvalue == 1.0
    holes = r.normal(size=(50, 2))
    holes[:10, 0] = np.nan
    assert maximum_mean_discrepancy(holes, holes).baseline_rows == 40


def test_auc_is_that_of_scikit_learn() -> None:
    r = np.random.default_rng(4)
    for draw in (lambda n: r.normal(size=n), lambda n: r.integers(0, 4, n).astype(float)):
        for shift in (-1.0, 0.0, 0.7):
            negatives, positives = draw(80), draw(50) + shift
            labels = np.repeat([0, 1], [80, 50])
            theirs = roc_auc_score(labels, np.concatenate([negatives, positives]))
            result = area_under_curve(negatives, positives)
            assert result.auc == pytest.approx(theirs, abs=1e-12) and result.low <= result.auc <= result.high
    assert area_under_curve([0, 1], [2, 3]).low == 1.0


def test_an_interval_covers_as_often_as_it_says() -> None:
    r = np.random.default_rng(5)
    true = 0.7602499389065233  # P(N(1, 1) > N(0, 1))
    results = [area_under_curve(r.normal(size=60), r.normal(1, size=40)) for _ in range(400)]
    covered = np.mean([result.low <= true <= result.high for result in results])
    assert covered == pytest.approx(0.95, abs=0.035)


def test_the_classifier_is_a_logistic_regression() -> None:
    r = np.random.default_rng(6)
    rows = r.normal(size=(200, 3))
    labels = (r.random(200) < 1 / (1 + np.exp(-rows[:, 0]))).astype(float)
    theirs = LogisticRegression(C=1.0, tol=1e-10).fit(rows, labels)
    ours = _fitted(np.column_stack([np.ones(200), rows]), labels)
    assert ours == pytest.approx([theirs.intercept_[0], *theirs.coef_[0]], abs=1e-5)


def test_a_domain_classifier_tells_spread_and_shift_and_nothing_where_there_is_none() -> None:
    r = np.random.default_rng(7)
    before = r.normal(size=(500, 4))
    assert domain_classifier(before, r.normal(size=(300, 4)) * 2).low > 0.7
    assert domain_classifier(before, r.normal(0.5, size=(300, 4))).low > 0.6
    same = [domain_classifier(before, r.normal(size=(300, 4)), seed=seed) for seed in range(20)]
    assert np.mean([result.auc for result in same]) == pytest.approx(0.5, abs=0.03)
    assert domain_classifier(before, before + 1000).auc == 1.0


@pytest.mark.parametrize("measure", [maximum_mean_discrepancy, domain_classifier])
@pytest.mark.parametrize(
    "rows", [([[1.0]], [[1.0]]), (np.zeros((9, 2)), np.zeros((9, 3))), (np.zeros(9), np.zeros(9)), ("a", "b")]
)
def test_what_cannot_be_compared_is_refused(measure: Any, rows: Any) -> None:
    with pytest.raises(InvalidInputError):
        measure(*rows)


def test_what_is_no_number_of_permutations_or_confidence_is_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 2))
    for permutations in (0, True, 1.5):
        with pytest.raises(InvalidInputError):
            maximum_mean_discrepancy(rows, rows, permutations=permutations)  # type: ignore[arg-type]
    for confidence in (0.0, 1.0):
        with pytest.raises(InvalidInputError):
            domain_classifier(rows, rows, confidence=confidence)
