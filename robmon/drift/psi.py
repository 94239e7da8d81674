"""Population stability index: how far the distribution of one feature, or of classes, is from its reference.

`PSI = sum_i (q_i - p_i) ln(q_i / p_i)` over bins, with p the reference's shares and q the current ones: the symmetrised
Kullback-Leibler divergence (Jeffreys 1946; Siddiqi, Credit Risk Scorecards, 2006). Customary reading: under 0.1 no
change to speak of, over 0.25 a large one. Two samples of n and m rows from the same distribution give about
`(B - 1) (1/n + 1/m)` for B bins all the same (Yurdakul & Naranjo, J. Risk Model Validation 14, 2020), so small
samples need more bins' worth of caution: with 10 bins, 256 rows against 1024 give 0.044.

A reference is counts in fixed bins: bounded, mergeable, and without any row of the inputs it was made from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robmon.drift.statistics import stability_index
from robmon.errors import InvalidInputError

Counts = NDArray[np.int64]
BINS = 10
CATEGORIES = 50
OTHER = "(other)"
MISSING = "(missing)"


@dataclass(frozen=True, eq=False)
class Histograms:
    """Reference counts of several numeric features; `fit` makes one, `updated` and `merged` make larger ones.

    Attributes:
        edges: per feature, rising cut points; bin i holds `edges[i - 1] <= x < edges[i]`, the outer ones are open.
        counts: per feature, counts of the bins and, last, of NaN.

    >>> values = np.random.default_rng(0).normal(size=(4000, 2))
    >>> reference = Histograms.fit(values[:2000])
    >>> shifted = values[2000:] + np.array([0.0, 1.0])
    >>> reference.psi(shifted).round(1).tolist()
    [0.0, 1.0]
    """

    edges: tuple[NDArray[np.float64], ...]
    counts: tuple[Counts, ...]

    @classmethod
    def fit(cls, values: ArrayLike, bins: int = BINS) -> Histograms:
        """Bins after these rows, and their counts.

        They lie between the quantiles of the rows. A feature with at most `bins` distinct values, constants among them,
        has one bin a value and one to either side of them all.

        Args:
            values: shape `(n, features)`.
            bins: number of bins.

        Raises:
            InvalidInputError: no rows, not a matrix, or fewer than 2 bins.
        """
        rows = _matrix(values)
        if bins < 2:
            raise InvalidInputError(f"at least 2 bins are needed, not {bins}")
        if not len(rows):
            raise InvalidInputError("at least 1 row is needed for a reference")
        edges = tuple(_edges(column[~np.isnan(column)], bins) for column in rows.T)
        return cls(edges, _count(rows, edges))

    def updated(self, values: ArrayLike) -> Histograms:
        """With further rows, shape `(n, features)`, in the same bins."""
        return Histograms(self.edges, _added(self.counts, self._counts_of(values)))

    def merged(self, other: Histograms) -> Histograms:
        """Both together; they must have the same bins.

        Raises:
            InvalidInputError: they have not.
        """
        if len(self.edges) != len(other.edges) or not all(map(np.array_equal, self.edges, other.edges)):
            raise InvalidInputError("histograms with different bins cannot be merged")
        return Histograms(self.edges, _added(self.counts, other.counts))

    def psi(self, values: ArrayLike) -> NDArray[np.float64]:
        """PSI of these rows, shape `(n, features)`, against the reference; shape `(features,)`."""
        current = self._counts_of(values)
        return np.array([stability_index(p, q) for p, q in zip(self.counts, current, strict=True)])

    @property
    def rows(self) -> int:
        """Rows counted."""
        return int(self.counts[0].sum()) if self.counts else 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "edges": [edges.tolist() for edges in self.edges],
            "counts": [counts.tolist() for counts in self.counts],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Histograms:
        """What `to_dict` gave.

        Raises:
            InvalidInputError: it is something else.
        """
        try:
            edges = tuple(np.array(row, dtype=np.float64) for row in content["edges"])
            counts = tuple(np.array(row, dtype=np.int64) for row in content["counts"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InvalidInputError("these are no histograms: edges and counts are needed") from None
        fits = len(edges) == len(counts) and all(
            e.ndim == c.ndim == 1 and c.size == e.size + 2 and bool(np.all(c >= 0)) and bool(np.all(np.diff(e) > 0))
            for e, c in zip(edges, counts, strict=False)
        )
        if not fits:
            raise InvalidInputError("these are no histograms: edges must rise and counts fit them")
        return cls(edges, counts)

    def _counts_of(self, values: ArrayLike) -> tuple[Counts, ...]:
        rows = _matrix(values)
        if rows.shape[1] != len(self.edges):
            raise InvalidInputError(f"{rows.shape[1]} features do not fit a reference of {len(self.edges)}")
        return _count(rows, self.edges)


@dataclass(frozen=True)
class Categories:
    """Reference counts of classes, or of the categories of one column: shares per class.

    At most 50 categories are kept by name, those that come first among the most frequent; the rest is one more.

    >>> reference = Categories.fit(["cat"] * 50 + ["dog"] * 50)
    >>> round(reference.psi(["cat"] * 90 + ["dog"] * 10), 2)
    0.85
    """

    counts: Mapping[str, int]

    @classmethod
    def fit(cls, labels: Any) -> Categories:
        """Counts of these labels, shape `(n,)`: integers, text, None or NaN for a missing one.

        Raises:
            InvalidInputError: there are none.
        """
        counts = _tally(labels)
        if not counts:
            raise InvalidInputError("at least 1 row is needed for a reference")
        frequent = sorted(counts, key=lambda name: (-counts[name], name))[:CATEGORIES]
        return cls({name: counts[name] for name in frequent} | _rest(counts, frequent))

    def updated(self, labels: Any) -> Categories:
        """With further labels; new ones are kept by name while there is room."""
        return self.merged(Categories(_tally(labels)))

    def merged(self, other: Categories) -> Categories:
        """Both together."""
        names = [name for name in (*self.counts, *other.counts) if name != OTHER]
        kept = list(dict.fromkeys(names))[:CATEGORIES]
        total = {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in dict.fromkeys([*names, OTHER])}
        return Categories({name: total[name] for name in kept} | _rest(total, kept))

    def psi(self, labels: Any) -> float:
        """PSI of these labels, shape `(n,)`, against the reference. Labels it does not know by name are one bin."""
        current = _tally(labels)
        known = [name for name in self.counts if name != OTHER]
        p, q = dict(self.counts), {name: current.get(name, 0) for name in known} | _rest(current, known)
        return stability_index(
            [p.get(name, 0) for name in (*known, OTHER)], [q.get(name, 0) for name in (*known, OTHER)]
        )

    @property
    def rows(self) -> int:
        """Rows counted."""
        return sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"counts": dict(self.counts)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Categories:
        """What `to_dict` gave.

        Raises:
            InvalidInputError: it is something else.
        """
        try:
            counts = {str(name): int(count) for name, count in content["counts"].items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InvalidInputError("these are no categories: counts by name are needed") from None
        return cls(counts)


def _matrix(values: ArrayLike) -> NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2:
        raise InvalidInputError(f"values must be of shape (rows, features), not {rows.shape}")
    return rows


def _edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    # Infinite values belong to the outer bins and must not become cut points.
    values = values[np.isfinite(values)]
    distinct = np.unique(values)
    if not distinct.size:
        return np.zeros(0)
    if distinct.size <= bins:
        steps = np.diff(distinct)
        margin = (steps.min() if steps.size else max(abs(float(distinct[0])), 1e-9) * 1e-9) / 2
        return np.unique([distinct[0] - margin, *(distinct[:-1] + steps / 2), distinct[-1] + margin])
    return _off_the_rows(np.quantile(values, np.arange(1, bins) / bins))


def _off_the_rows(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles moved to a coarse grid, a hundredth of their spread: a reference is kept, and must not hold inputs."""
    spread = float(quantiles[-1] - quantiles[0])
    if spread == 0 or not math.isfinite(spread):
        return np.unique(quantiles)
    grid = 10.0 ** (math.floor(math.log10(spread)) - 2)
    return np.unique((np.floor(quantiles / grid) + 0.5) * grid)


def _count(rows: NDArray[np.float64], edges: Sequence[NDArray[np.float64]]) -> tuple[Counts, ...]:
    counts = []
    for column, cuts in zip(rows.T, edges, strict=True):
        missing = np.isnan(column)
        places = np.searchsorted(cuts, column[~missing], side="right")
        counts.append(np.append(np.bincount(places, minlength=cuts.size + 1), missing.sum()).astype(np.int64))
    return tuple(counts)


def _added(first: Sequence[Counts], second: Sequence[Counts]) -> tuple[Counts, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _tally(labels: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for label in np.asarray(labels).ravel().tolist():
        name = MISSING if label is None or label != label else _name(label)
        counts[name] = counts.get(name, 0) + 1
    return counts


def _name(label: Any) -> str:
    """3 and 3.0 are one class."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _rest(counts: Mapping[str, int], named: Sequence[str]) -> dict[str, int]:
    rest = sum(counts.values()) - sum(counts.get(name, 0) for name in named)
    return {OTHER: rest} if rest else {}
