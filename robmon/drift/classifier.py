"""A domain classifier: how well a simple model tells current rows from the baseline's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from robmon.drift.matrices import standardised
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

FOLDS = 5
PENALTY = 1.0
"""Of the squared weights, as scikit-learn's `C=1` has it."""
STEPS = 30
"""Of Newton's method: it converges in fewer than ten."""


@dataclass(frozen=True)
class Separation:
    """Area under the ROC curve: 0.5 is chance, 1 tells every current row from every row of the baseline.

    Attributes:
        auc: the probability that a current row scores higher than a row of the baseline.
        low, high: limits of its interval at `confidence`.
        confidence: of the interval.
    """

    auc: float
    low: float
    high: float
    confidence: float


def domain_classifier(baseline: Any, current: Any, *, seed: int = 0, confidence: float = 0.95) -> Separation:
    """How well a classifier tells current rows from the baseline's: AUC of a logistic regression, 5-fold
    cross-validated.

    The regression is on standardised features and their squares, and every row is scored by a model fitted without it.
    It sees the means and spreads of all features together; for the dependence between features use
    `maximum_mean_discrepancy`. The interval (DeLong) takes the scores as given: that they come from five fits is not
    accounted for.

    Args:
        baseline: numbers of shape `(n, features)`; rows with a missing or infinite value are left out.
        current: likewise, shape `(m, features)`.
        seed: of the folds.
        confidence: of the interval.

    Raises:
        InvalidInputError: fewer than 5 rows on either side, different features, or an impossible confidence.

    >>> import numpy as np
    >>> r = np.random.default_rng(0)
    >>> domain_classifier(r.normal(size=(300, 3)), r.normal(size=(300, 3)) * 2).low > 0.7
    True
    """
    first, second = standardised(baseline, current)
    if min(len(first), len(second)) < FOLDS:
        raise InvalidInputError(f"at least {FOLDS} rows are needed on either side")
    rows = np.concatenate([first, second])
    design = np.column_stack([np.ones(len(rows)), rows, np.clip(rows**2, 0, 100.0) - 1])
    is_current = np.repeat([0.0, 1.0], [len(first), len(second)])
    generator = np.random.default_rng(seed)
    fold = np.concatenate([generator.permutation(np.arange(len(part)) % FOLDS) for part in (first, second)])
    scores = np.empty(len(rows))
    for number in range(FOLDS):
        inside = fold != number
        scores[~inside] = design[~inside] @ _fitted(design[inside], is_current[inside])
    return area_under_curve(scores[: len(first)], scores[len(first) :], confidence)


def area_under_curve(negatives: ArrayLike, positives: ArrayLike, confidence: float = 0.95) -> Separation:
    """The AUC of scores, ties counted half, with DeLong's interval on the logit.

    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), by midranks as in Sun & Xu (2014). Where all scores
    are in order the variance is 0, and so is the width of the interval.

    Args:
        negatives: scores, shape `(n,)`, at least 2.
        positives: likewise, shape `(m,)`.
        confidence: of the interval.

    Raises:
        InvalidInputError: there are fewer, or no confidence.

    >>> area_under_curve([0.1, 0.4, 0.4], [0.4, 0.8, 0.9]).auc
    0.8888888888888888
    """
    low, high = np.asarray(negatives, dtype=np.float64), np.asarray(positives, dtype=np.float64)
    if min(low.size, high.size) < 2 or not 0 < confidence < 1:
        raise InvalidInputError("an AUC needs 2 scores on either side, and a confidence between 0 and 1")
    together = _midranks(np.concatenate([low, high]))
    above = (together[low.size :] - _midranks(high)) / low.size  # of each positive, the share of negatives below
    below = 1 - (together[: low.size] - _midranks(low)) / high.size
    auc = float(above.mean())
    variance = float(above.var(ddof=1) / high.size + below.var(ddof=1) / low.size)
    if not 0 < auc < 1 or variance == 0:
        return Separation(auc, auc, auc, confidence)
    width = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance) / (auc * (1 - auc))
    at = math.log(auc / (1 - auc))
    return Separation(auc, _logistic(at - width), _logistic(at + width), confidence)


def _fitted(design: Float64, labels: Float64) -> Float64:
    """Weights of a logistic regression with a ridge penalty on all but the first, by Newton's method."""
    weights = np.zeros(design.shape[1])
    ridge = np.full(design.shape[1], PENALTY)
    ridge[0] = 1e-9
    for _ in range(STEPS):
        shares = 1 / (1 + np.exp(-np.clip(design @ weights, -500, 500)))
        slope = design.T @ (labels - shares) - ridge * weights
        curvature = (design * (shares * (1 - shares))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, slope)
        weights = weights + step
        if float(np.abs(step).max()) < 1e-8:
            break
    return weights


def _midranks(values: Float64) -> Float64:
    """Ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
