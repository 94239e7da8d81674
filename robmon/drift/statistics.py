"""How far two samples of one feature are apart: the statistics, as functions of counts or of places with weights.

- Population stability index, `sum (q - p) ln(q / p)` over bins: the symmetrised Kullback-Leibler divergence (Jeffreys
  1946; Siddiqi, Credit Risk Scorecards, 2006). Customary reading: under 0.1 no change to speak of, over 0.25 a large
  one. It has no upper end: of supports that do not meet it grows with the number of rows.
- Jensen-Shannon distance, the root of the divergence in bits (Endres & Schindelin 2003): from 0 to 1.
- Kolmogorov-Smirnov distance, the largest difference of the two distribution functions: from 0 to 1.
- Wasserstein distance of order 1, the area between them: in the units of the feature.
- Pearson's chi-square of the two rows of counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

SMOOTHING = 0.5
"""Added to every bin's count, so that an empty bin gives a large index and not an infinite one."""
LARGEST_SAFE = 1e150
"""Differences of numbers beyond it may overflow when they are added up."""


def stability_index(reference: ArrayLike, current: ArrayLike) -> float:
    """PSI of two rows of counts over the same bins.

    Bins that are empty in both are left out; 0.5 is added to the counts of the others.

    Args:
        reference, current: shape `(bins,)`, counts.

    Returns:
        at least 0; 0 where either has no counts.

    >>> stability_index([50, 50], [50, 50]), round(stability_index([50, 50], [90, 10]), 2)
    (0.0, 0.85)
    """
    p, q = _used(reference, current)
    if not p.sum() or not q.sum():
        return 0.0
    p, q = p + SMOOTHING, q + SMOOTHING
    p, q = p / p.sum(), q / q.sum()
    return max(float(np.sum((q - p) * np.log(q / p))), 0.0)


def expected_by_chance(reference: ArrayLike, current: ArrayLike) -> float:
    """What the PSI of two samples of one law is about, `(B - 1) (1/n + 1/m)` for B bins that are used.

    Source: Yurdakul & Naranjo, J. Risk Model Validation 14 (2020).

    >>> expected_by_chance([512, 512], [100, 100])
    0.0059765625
    """
    p, q = _used(reference, current)
    if not p.sum() or not q.sum():
        return 0.0
    return float((p.size - 1) * (1 / p.sum() + 1 / q.sum()))


def jensen_shannon(reference: ArrayLike, current: ArrayLike) -> float:
    """Jensen-Shannon distance of two rows of counts over the same bins: from 0 to 1.

    >>> jensen_shannon([10, 0], [0, 10]), jensen_shannon([5, 5], [1, 1])
    (1.0, 0.0)
    """
    p, q = _used(reference, current)
    if not p.sum() or not q.sum():
        return 0.0
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return float(np.sqrt(max((_entropy(p, middle) + _entropy(q, middle)) / 2, 0.0)))


def chi_square(reference: ArrayLike, current: ArrayLike) -> tuple[float, int]:
    """Pearson's statistic of a table of two rows, and its degrees of freedom; bins empty in both are left out.

    >>> chi_square([50, 50], [70, 30])
    (8.333333333333334, 1)
    """
    table = np.stack(_used(reference, current))
    total = table.sum()
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 0.0, 0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / total
    return float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1


def distances(
    reference: ArrayLike, current: ArrayLike, weights: ArrayLike | None = None, current_weights: ArrayLike | None = None
) -> tuple[float, float]:
    """Kolmogorov-Smirnov and Wasserstein distance of two samples, from one sort.

    Args:
        reference, current: shapes `(N,)` and `(n,)`, at least one number each, all finite.
        weights, current_weights: how often each counts; None: once.

    >>> distances([0.0, 1.0], [0.0, 3.0])
    (0.5, 1.0)
    """
    first, second = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if not first.size or not second.size:
        raise InvalidInputError("at least one number is needed on either side")
    largest = max(float(np.abs(first).max()), float(np.abs(second).max()))
    scale = largest if largest > LARGEST_SAFE else 1.0
    values = np.concatenate([first, second]) / scale
    order = np.argsort(values, kind="stable")
    share = np.concatenate([_shares(first.size, weights), np.zeros(second.size)])
    other = np.concatenate([np.zeros(first.size), _shares(second.size, current_weights)])
    difference = np.abs(np.cumsum(share[order]) / share.sum() - np.cumsum(other[order]) / other.sum())
    values = values[order]
    is_last = np.append(values[1:] != values[:-1], True)
    with np.errstate(over="ignore"):
        area = float(np.sum(difference[:-1] * np.diff(values))) * scale
    return min(float(difference[is_last][:-1].max(initial=0.0)), 1.0), area


def _used(reference: ArrayLike, current: ArrayLike) -> tuple[Float64, Float64]:
    p, q = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if p.shape != q.shape:
        raise InvalidInputError(f"counts of {p.size} and {q.size} bins cannot be compared")
    used = (p + q) > 0
    return p[used], q[used]


def _entropy(p: Float64, middle: Float64) -> float:
    some = p > 0
    return float(np.sum(p[some] * np.log2(p[some] / middle[some])))


def _shares(size: int, weights: ArrayLike | None) -> Float64:
    return np.ones(size) if weights is None else np.asarray(weights, dtype=np.float64)
