"""Running moments of columns: they see rows batch by batch and keep none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robmon.robustness.arrays import Array, Float64, namespace, to_numpy

LARGEST = 1e140
"""Numbers beyond it are left out: sums of their squares overflow."""


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of columns, merged batch by batch (Chan, Golub & LeVeque 1983).

    Numbers that are not finite, or beyond `LARGEST`, are left out, column by column.

    >>> moments = Moments.of_columns(2)
    >>> moments.update(np.array([[1.0, 5.0], [3.0, np.nan]]))
    >>> moments.variance.tolist()
    [1.0, 0.0]
    """

    count: Float64
    mean: Float64
    squares: Float64

    @classmethod
    def of_columns(cls, columns: int) -> Moments:
        """Moments of nothing yet."""
        return cls(np.zeros(columns), np.zeros(columns), np.zeros(columns))

    def update(self, values: Array) -> None:
        """Merge more rows, float64, shape `(n, columns)`, NumPy array or torch tensor on any device."""
        counted = namespace(values).abs(values) <= LARGEST
        count: Float64 | float
        # Most often nothing is left out. On a device one would have to wait for the answer.
        if isinstance(values, np.ndarray) and len(values) and counted.all():
            count, mean = float(len(values)), values.mean(axis=0)
            squares = ((values - mean) ** 2).sum(axis=0)
        else:
            count, mean, squares = _of_counted(values, counted)
        total = np.maximum(self.count + count, 1)
        difference = np.where(count > 0, mean - self.mean, 0.0)
        self.squares += squares + difference**2 * self.count * count / total
        self.mean += difference * count / total
        self.count += count

    def pooled(self, groups: Sequence[int]) -> Moments:
        """The moments of columns that are one feature, given the feature of each column; again one entry a column."""
        of = np.asarray(groups)
        count = np.bincount(of, self.count)
        mean = np.bincount(of, self.count * self.mean) / np.maximum(count, 1)
        squares = np.bincount(of, self.squares + self.count * (self.mean - mean[of]) ** 2)
        return Moments(count[of], mean[of], squares[of])

    @property
    def variance(self) -> Float64:
        """Variance (divisor n) of each column; 0 where it is only rounding."""
        variance = self.squares / np.maximum(self.count, 1)
        return np.where(variance > (1e-14 * np.abs(self.mean)) ** 2, variance, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"count": self.count.tolist(), "mean": self.mean.tolist(), "squares": self.squares.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Moments:
        """Inverse of `to_dict`."""
        return cls(*(np.asarray(data[name], dtype=np.float64) for name in ("count", "mean", "squares")))


def _of_counted(values: Array, counted: Array) -> Float64:
    """Count, mean and sum of squared deviations of the values of each column that count; shape `(3, columns)`."""
    xp = namespace(values)
    counts = xp.sum(xp.astype(counted, xp.float64), axis=0)
    means = xp.sum(xp.where(counted, values, 0.0), axis=0) / xp.maximum(counts, xp.ones_like(counts))
    sums = xp.sum(xp.where(counted, values - means, 0.0) ** 2, axis=0)
    return np.asarray(to_numpy(xp.stack([counts, means, sums])))


@dataclass
class CoMoments:
    """Count, mean and sums of products of deviations of columns, merged batch by batch as `Moments` are.

    A number that `Moments` leave out stands at its column's mean in its batch. That keeps the sums those of one real
    matrix, so that the correlation is always positive semidefinite; it draws the correlation of columns with gaps
    towards 0.

    >>> moments = CoMoments.of_columns(2)
    >>> moments.update(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]))
    >>> moments.correlation.round(12).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    count: int
    mean: Float64
    products: Float64

    @classmethod
    def of_columns(cls, columns: int) -> CoMoments:
        """Moments of nothing yet."""
        return cls(0, np.zeros(columns), np.zeros((columns, columns)))

    def update(self, values: Float64) -> None:
        """Merge more rows, shape `(n, columns)`."""
        counted = np.abs(values) <= LARGEST
        mean = np.where(counted, values, 0.0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
        deviations = np.where(counted, values - mean, 0.0)
        total, difference = self.count + len(values), mean - self.mean
        self.products += deviations.T @ deviations
        self.products += np.outer(difference, difference) * self.count * len(values) / max(total, 1)
        self.mean += difference * len(values) / max(total, 1)
        self.count = total

    @property
    def correlation(self) -> Float64:
        """Pearson's correlations, shape `(columns, columns)`; a column that does not vary has none but with itself."""
        deviation = np.sqrt(np.diag(self.products))
        varies = deviation > 1e-14 * np.abs(self.mean) * max(self.count, 1) ** 0.5
        inverse = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
        correlation = np.asarray(np.clip(self.products * np.outer(inverse, inverse), -1.0, 1.0))
        np.fill_diagonal(correlation, 1.0)
        return correlation

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"count": self.count, "mean": self.mean.tolist(), "products": self.products.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CoMoments:
        """Inverse of `to_dict`."""
        mean, products = (np.asarray(data[name], dtype=np.float64) for name in ("mean", "products"))
        return cls(int(data["count"]), mean, products)
