"""The threshold of embeddings: a distance below which so few pairs of different rows lie that they would be matched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import HOW_TO_SET_THRESHOLD, InvalidInputError
from robmon.robustness.arrays import Array, Float64, to_numpy
from robmon.robustness.embeddings import distances, error_weight
from robmon.robustness.specification import Specification

PAIR_ROWS: Final = 2048
"""Most rows, the first ones, of which pairs are made: 2 million."""
CELLS_PER_OCTAVE: Final = 64
"""Of distances that are kept: each cell is 1.1 % wide."""
EXACT: Final = 1e-6
"""Pairs whose squared distance is less than this share of their squared lengths are measured directly: the fast way
loses their digits."""
DIRECT_NUMBERS: Final = 2**22


@dataclass(frozen=True)
class Threshold:
    """Which distance is one too many; None where none is known, and where it comes from, in a sentence."""

    distance: float | None
    note: str


def given(threshold: float) -> Threshold:
    """The owner's.

    >>> given(0.5).note
    'threshold 0.5: as given'
    """
    return Threshold(float(threshold), f"threshold {threshold:g}: as given")


def pair_distances(embeddings: Float64, distance: str) -> Float64:
    """Distances of all pairs of rows; shape `(n (n - 1) / 2,)`.

    Args:
        embeddings: shape `(n, dimension)`, unit vectors where distances are cosines.
        distance: `l2` or `cosine`.

    >>> pair_distances(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), "l2").round(3).tolist()
    [5.0, 1.0, 4.243]
    """
    centred = embeddings - embeddings.mean(axis=0)
    squares = np.square(centred).sum(axis=1)
    one, other = np.triu_indices(len(centred), 1)
    sizes = squares[one] + squares[other]
    errors = np.maximum(sizes - 2.0 * (centred @ centred.T)[one, other], 0.0)
    near = np.flatnonzero(errors <= EXACT * sizes)
    step = max(1, DIRECT_NUMBERS // max(1, centred.shape[1]))
    for at in range(0, len(near), step):
        some = near[at : at + step]
        errors[some] = np.square(embeddings[one[some]] - embeddings[other[some]]).sum(axis=1)
    return np.asarray(distances(error_weight(distance) * errors, distance))


def different_rows(inputs: NDArray[Any], embeddings: Float64, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first of these rows, no two of them the same in inputs and embedding: a request sent twice is no match of two
    different things."""
    seen: set[bytes] = set()
    kept = []
    for row in rows[:PAIR_ROWS].tolist():
        content = inputs[row].tobytes() + embeddings[row].tobytes()
        if content not in seen:
            seen.add(content)
            kept.append(row)
    return np.array(kept, dtype=np.int64)


def pairs_of(inputs: Array, embeddings: Array, counted: NDArray[np.bool_], distance: str) -> Float64:
    """Distances of all pairs of different rows, of those that count.

    Args:
        inputs: of the rows, shape `(n, *input_shape)`.
        embeddings: shape `(n, dimension)`, unit vectors where distances are cosines.
        counted: shape `(n,)`.
        distance: `l2` or `cosine`.
    """
    rows = np.flatnonzero(counted)[:PAIR_ROWS]
    if not len(rows):
        return np.empty(0)
    end = int(rows[-1]) + 1
    known = to_numpy(embeddings[:end])
    return pair_distances(known[different_rows(to_numpy(inputs[:end]), known, rows)], distance)


def threshold_of(pairs: Float64, rate: float, of: str) -> Threshold:
    """The quantile `rate` of distances between different rows.

    Args:
        pairs: distances, in any order.
        rate: share of the pairs that may be false matches.
        of: whose pairs they are, in words.

    >>> threshold_of(np.arange(1.0, 1002.0), 0.1, "these rows").note
    'threshold 101: nearer than this lie 10 % of the 1001 pairs of these rows'
    """
    if not len(pairs):
        return Threshold(None, f"there is no threshold, which needs 2 different rows: set {HOW_TO_SET_THRESHOLD}")
    return _threshold_at(float(np.quantile(pairs, rate)), len(pairs), rate, of)


def _threshold_at(found: float, count: int, rate: float, of: str) -> Threshold:
    where = f"{100 * rate:.3g} % of the {count} pairs of {of}"
    if found == 0.0:
        return Threshold(
            None, f"there is no threshold: {where} or more have the same embedding: set {HOW_TO_SET_THRESHOLD}"
        )
    note = f"threshold {found:.4g}: nearer than this lie {where}"
    if count * rate < 1.0:
        rows = math.ceil(0.5 + math.sqrt(0.25 + 2.0 / rate))
        note += f"; so few pairs tell little of so small a share: have {rows} rows, or set {HOW_TO_SET_THRESHOLD}"
    return Threshold(found, note)


def chosen_threshold(
    specification: Specification,
    of_baseline: Threshold | None,
    inputs: Array,
    clean: Array,
    finite: NDArray[np.bool_],
) -> Threshold:
    """The owner's threshold, else the baseline's, else that of these rows.

    Args:
        specification: whether the owner has set one, and the rate of false matches.
        of_baseline: the baseline's, where there is one.
        inputs: of the rows, shape `(n, *input_shape)`.
        clean: their embeddings, shape `(n, dimension)`.
        finite: shape `(n,)`, which of them count.
    """
    if specification.threshold is not None:
        return given(specification.threshold)
    if of_baseline is not None:
        return of_baseline
    pairs = pairs_of(inputs, clean, finite, specification.distance)
    return threshold_of(pairs, specification.false_match_rate, "these rows")


@dataclass(frozen=True, eq=False)
class PairDistances:
    """Distances of pairs of different rows, counted in logarithmic cells, so that those of several samples add up.

    Pairs are of rows of one sample: those of rows of different ones would need the rows.

    Attributes:
        distance: `l2` or `cosine`.
        zeros: pairs of the same embedding.
        cells: shape `(cells,)`, rising: cell c holds distances from `2**(c / 64)` to `2**((c + 1) / 64)`.
        counts: shape `(cells,)`, pairs in each.
    """

    distance: str
    zeros: int
    cells: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Float64, distance: str) -> PairDistances:
        """What is kept of distances in any order."""
        positive = pairs[pairs > 0]
        with np.errstate(divide="ignore"):
            cells = np.floor(CELLS_PER_OCTAVE * np.log2(positive)).astype(np.int64)
        known, counts = np.unique(cells, return_counts=True)
        return cls(distance, len(pairs) - len(positive), known, counts)

    @property
    def pairs(self) -> int:
        """How many there are."""
        return self.zeros + int(self.counts.sum())

    def merged(self, other: PairDistances) -> PairDistances:
        """The distances of both."""
        cells, which = np.unique(np.concatenate([self.cells, other.cells]), return_inverse=True)
        counts = np.zeros(len(cells), dtype=np.int64)
        np.add.at(counts, which, np.concatenate([self.counts, other.counts]))
        return PairDistances(self.distance, self.zeros + other.zeros, cells, counts)

    def threshold(self, rate: float, of: str) -> Threshold:
        """As `threshold_of`, to within a cell.

        >>> pairs = np.arange(1.0, 1002.0)
        >>> PairDistances.of(pairs, "l2").threshold(0.1, "the baseline's rows").note
        "threshold 101.4: nearer than this lie 10 % of the 1001 pairs of the baseline's rows"
        """
        if not self.pairs:
            return threshold_of(np.empty(0), rate, of)
        rank = rate * (self.pairs - 1)
        low, high = self._at(math.floor(rank)), self._at(math.ceil(rank))
        return _threshold_at(low + (rank - math.floor(rank)) * (high - low), self.pairs, rate, of)

    def _at(self, rank: int) -> float:
        """The distance of this rank, counted from 0."""
        rank -= self.zeros
        if rank < 0:
            return 0.0
        ends = np.cumsum(self.counts)
        at = int(np.searchsorted(ends, rank, side="right"))
        within = (rank - (ends[at] - self.counts[at]) + 0.5) / self.counts[at]
        return float(np.exp2((self.cells[at] + within) / CELLS_PER_OCTAVE))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "distance": self.distance,
            "zeros": self.zeros,
            "cells": self.cells.tolist(),
            "counts": self.counts.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Any) -> PairDistances:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: it is no such dictionary.
        """
        try:
            cells, counts = (np.array(data[name], dtype=np.int64) for name in ("cells", "counts"))
            found = cls(str(data["distance"]), int(data["zeros"]), cells, counts)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InvalidInputError("the distances of a baseline are damaged: record it again") from None
        is_whole = cells.shape == counts.shape and cells.ndim == 1 and np.all(np.diff(cells) > 0) and np.all(counts > 0)
        if not isinstance(data, Mapping) or not is_whole or found.zeros < 0:
            raise InvalidInputError("the distances of a baseline are damaged: record it again")
        return found
