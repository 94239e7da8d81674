"""Summaries as baselines of format 1 hold them: some ten bins a feature, or counts by name. Their index can be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.drift.columns import Column
from robmon.drift.comparison import MIN_ROWS, FeatureDrift, not_measured, too_few
from robmon.drift.statistics import expected_by_chance, stability_index
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

REASON = "the baseline is of format 1"
REST = "(other)"
MISSING = "(missing)"


@dataclass(frozen=True, eq=False)
class OlderSummaries:
    """Counts of features in their order, without names; new rows are never added to them.

    Attributes:
        edges: of each feature, rising: bin i holds `edges[i - 1] <= x < edges[i]`; the last count is that of NaN.
        counts: of its bins.
        classes: counts by name, of labels in the place of numbers.
    """

    edges: tuple[Float64, ...] = ()
    counts: tuple[NDArray[np.int64], ...] = ()
    classes: Mapping[str, int] | None = None

    @property
    def shares(self) -> list[float]:
        """The share of each class."""
        rows = list((self.classes or {}).values())
        return [each / sum(rows) for each in rows]

    def compare(self, columns: Mapping[str, Column]) -> tuple[FeatureDrift, ...]:
        """The index of the first columns, or of each channel's mean; nothing else is measured."""
        of_channels = {name: column for name, column in columns.items() if name.endswith(".mean")}
        found = list((of_channels or columns).items())
        if self.classes is not None:
            return tuple(self._of_classes(name, column) for name, column in found[:1])
        pairs = zip(found, self.edges, self.counts, strict=False)
        return tuple(_of_numbers(name, column, edges, counts) for (name, column), edges, counts in pairs)

    def _of_classes(self, name: str, column: Column) -> FeatureDrift:
        before, now = self.classes or {}, Counter(column.present_names)
        known = [each for each in before if each not in (REST, MISSING)]
        rest = sum(rows for each, rows in now.items() if each not in known)
        return _measured(
            FeatureDrift(name, column.rows, sum(before.values())),
            np.array([*(before[each] for each in known), before.get(REST, 0), before.get(MISSING, 0)]),
            np.array([*(now[each] for each in known), rest, column.missing]),
        )

    def to_dict(self) -> dict[str, Any]:
        """As it was read."""
        if self.classes is not None:
            return {"counts": dict(self.classes)}
        return {"edges": [each.tolist() for each in self.edges], "counts": [each.tolist() for each in self.counts]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], of_labels: bool) -> OlderSummaries:
        """What was kept of inputs, or of outputs.

        Raises:
            InvalidInputError: it is something else.
        """
        try:
            if of_labels:
                return cls(classes={str(name): int(rows) for name, rows in content["counts"].items()})
            edges = tuple(np.array(row, dtype=np.float64) for row in content["edges"])
            counts = tuple(np.array(row, dtype=np.int64) for row in content["counts"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise InvalidInputError("these are no histograms: edges and counts are needed") from None
        fits = len(edges) == len(counts) and all(
            e.ndim == c.ndim == 1 and c.size == e.size + 2 and bool(np.all(c >= 0)) and bool(np.all(np.diff(e) > 0))
            for e, c in zip(edges, counts, strict=False)
        )
        if not fits:
            raise InvalidInputError("these are no histograms: edges must rise and counts fit them")
        return cls(edges, counts)


def _of_numbers(name: str, column: Column, edges: Float64, counts: NDArray[np.int64]) -> FeatureDrift:
    present = column.numbers[~np.isnan(column.numbers)]
    places = np.searchsorted(edges, present, side="right")
    now = np.append(np.bincount(places, minlength=len(edges) + 1), column.rows - len(present))
    return _measured(FeatureDrift(name, column.rows, int(counts.sum())), counts, now)


def _measured(feature: FeatureDrift, before: NDArray[np.int64], now: NDArray[np.int64]) -> FeatureDrift:
    if min(feature.rows, feature.baseline_rows) < MIN_ROWS:
        return not_measured(feature, too_few(feature.rows, feature.baseline_rows))
    excess = stability_index(before, now) - expected_by_chance(before, now)
    return not_measured(
        FeatureDrift(feature.name, feature.rows, feature.baseline_rows, psi=max(excess, 0.0), excess=excess), REASON
    )
