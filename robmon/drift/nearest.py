"""Which distance between two rows is nearer than chance brings any, learnt from pairs of rows that nobody doubts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

SMALLEST: Final = 64
"""So many of the smallest distances are kept."""
FEWEST: Final = 16
"""Of them, before anything is said: so few already tell how fast pairs become rare."""
CHANCE_PAIRS: Final = 0.01
"""Pairs nearer than the threshold that chance brings, on average, to rows that are compared at once."""


@dataclass(frozen=True, eq=False)
class NearestPairs:
    """The smallest distances between different rows, of so many pairs: numbers alone, no row.

    Attributes:
        pairs: how many were looked at.
        smallest: rising, `SMALLEST` at most, shape `(k,)`.
    """

    pairs: int
    smallest: Float64

    @classmethod
    def none(cls) -> NearestPairs:
        """Pairs of nothing yet."""
        return cls(0, np.empty(0))

    def added(self, distances: Float64) -> NearestPairs:
        """With these too, all of which are new."""
        found = np.concatenate([self.smallest, distances])
        if len(found) > SMALLEST:
            found = np.partition(found, SMALLEST - 1)[:SMALLEST]
        return NearestPairs(self.pairs + len(distances), np.sort(found))

    def threshold(self, pairs: int) -> float | None:
        """The distance below which chance brings `CHANCE_PAIRS` of so many pairs; None where too few are known.

        Small distances follow a power law whose exponent is their dimension: Hill's estimator of it (Ann. Statist. 3,
        1975), carried on to rarer ones as Weissman does (JASA 73, 1978). Never above the smallest that is known, so
        that whatever the rows do by themselves, such as sensors at rest, is no news; among ties the tie itself.

        >>> r = np.random.default_rng(0)
        >>> known = NearestPairs.none().added(r.random(100_000) ** (1 / 5))
        >>> round(known.threshold(10_000), 2), round((CHANCE_PAIRS / 10_000) ** (1 / 5), 2)
        (0.05, 0.06)
        """
        kept = len(self.smallest)
        if kept < FEWEST or pairs < 1:
            return None
        largest, least = float(self.smallest[-1]), float(self.smallest[0])
        if least == 0.0:
            return 0.0
        spread = float(np.log(largest / self.smallest[:-1]).sum())
        if spread == 0.0:
            return largest
        exponent = (kept - 1) / spread
        rarer = CHANCE_PAIRS / pairs / (kept / self.pairs)
        return min(least, largest * math.exp(min(math.log(rarer), 0.0) / exponent))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"pairs": self.pairs, "smallest": self.smallest.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NearestPairs:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: it is no such dictionary.
        """
        pairs, smallest = int(data["pairs"]), np.array(data["smallest"], dtype=np.float64)
        is_whole = smallest.ndim == 1 and len(smallest) <= min(SMALLEST, pairs) and np.all(np.diff(smallest) >= 0)
        if not is_whole or not np.all(np.isfinite(smallest) & (smallest >= 0)):
            raise InvalidInputError("the nearest pairs of a baseline are damaged: record it again")
        return cls(pairs, smallest)
