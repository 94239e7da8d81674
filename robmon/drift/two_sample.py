"""Drift between two sets of inputs, feature by feature, and how many of them have drifted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robmon.drift.columns import UNMEASURED, Column, column_of, is_identifier
from robmon.drift.comparison import FeatureDrift, compare_names, compare_numbers, not_measured, with_decisions
from robmon.drift.dyadic import rounded
from robmon.drift.features import array_columns, plain, unique
from robmon.drift.names import has_space, why_not
from robmon.drift.numbers import ATOM_ROWS, ATOM_SHARE
from robmon.drift.reference import NameReference, NumberReference
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.features.channels import choose, named
from robmon.robustness.jsonable import jsonable


@dataclass(frozen=True)
class DriftResult:
    """Drift of all features.

    Attributes:
        features: in the order of the inputs.
        q: the share of the features reported as drifted that have not, at most, on average (false discovery rate).
        baseline_rows, current_rows: rows compared.
    """

    features: tuple[FeatureDrift, ...]
    q: float
    baseline_rows: int
    current_rows: int

    @property
    def drifted_features(self) -> int:
        """Number of features that have drifted."""
        return sum(feature.drifted for feature in self.features)

    @property
    def features_watched(self) -> int:
        """Number of features that are measured."""
        return sum(feature.measured for feature in self.features)

    @property
    def all(self) -> float | None:
        """Mean population stability index of the features measured, minus what chance gives; None where none is
        measured.

        It sees whatever shows in the distribution of a single feature. It sees neither a change in nothing but the
        dependence between features, nor one broken feature among a hundred: for the latter use `drifted_features`.
        """
        return mean_excess(self.features)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON."""
        content = {
            "features": {feature.name: asdict(feature) for feature in self.features},
            "drifted_features": self.drifted_features,
            "features_watched": self.features_watched,
            "all": self.all,
            "q": self.q,
            "baseline_rows": self.baseline_rows,
            "current_rows": self.current_rows,
        }
        told: dict[str, Any] = jsonable(content)
        return told


def mean_excess(features: Sequence[FeatureDrift]) -> float | None:
    """Mean index of the features that are measured, less what chance gives, at least 0; None where none is."""
    found = [feature.excess for feature in features if feature.excess is not None]
    return max(float(np.mean(found)), 0.0) if found else None


def drift(baseline_inputs: Any, current_inputs: Any, q: float = 0.01) -> DriftResult:
    """Measure how far the distribution of current inputs is from that of the baseline, feature by feature.

    Numbers are compared by their Kolmogorov-Smirnov distance; numbers with few distinct values, and categories, by the
    shares of these (chi-square). Rows that are missing, infinite, out of range or of another type are counted
    separately. Which features have drifted is decided by Benjamini & Hochberg's procedure at `q`. A feature that is not
    measured says why: text, identifiers, datetimes, fewer than 30 rows on either side.

    Args:
        baseline_inputs: an array `(n, *input_shape)`, or a DataFrame. For arrays of rank 3 and more the features are
            mean, standard deviation and contrast of each entry of one axis: the last one for rank 3, else the channel
            axis.
        current_inputs: likewise, `(m, *input_shape)`; for a DataFrame the same columns, in any order.
        q: the share of the features reported as drifted that have not, at most, on average (false discovery rate);
            where nothing has drifted at all, the probability that any feature is reported.

    Raises:
        InvalidInputError: features differ, there are no rows, or `q` does not lie between 0 and 1.

    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> result = drift(generator.normal(size=(500, 2)), generator.normal(size=(500, 2)) + [0.0, 2.0])
    >>> [(feature.name, feature.drifted) for feature in result.features], result.drifted_features
    ([('input[0]', False), ('input[1]', True)], 1)
    """
    if isinstance(q, bool) or not isinstance(q, (int, float)) or not 0 < q < 1:
        raise InvalidInputError(f"q must be a number between 0 and 1, not {q!r}")
    if hasattr(baseline_inputs, "columns") or hasattr(current_inputs, "columns"):
        before, now = _of_frames(baseline_inputs, current_inputs)
    else:
        before, now = _of_arrays(baseline_inputs, current_inputs)
    sizes = [next(iter(columns.values())).rows if columns else 0 for columns in (before, now)]
    if not all(sizes):
        raise InvalidInputError("inputs without rows or without features cannot be compared")
    features = [compare(name, column, now[name]) for name, column in before.items()]
    return DriftResult(with_decisions(features, q), float(q), *sizes)


def compare(name: str, baseline: Column, current: Column) -> FeatureDrift:
    """Drift of one column between two samples of it."""
    if baseline.kind in UNMEASURED:
        return not_measured(FeatureDrift(name, current.rows, baseline.rows), baseline.kind)
    if baseline.kind == "name":
        return compare_names(name, _names(baseline), current)
    return compare_numbers(name, _numbers(name, baseline), current)


def _numbers(name: str, column: Column) -> NumberReference:
    finite = column.numbers[np.isfinite(column.numbers)]
    places, weights = np.unique(finite, return_counts=True)
    infinite = int(np.isinf(column.numbers).sum())
    frequent = places[weights >= max(ATOM_ROWS, ATOM_SHARE * len(finite))]

    alike = rounded(frequent)

    def snapped(values: Float64) -> Float64:
        """A value that the baseline has not is the frequent one that is the same in float32."""
        if not len(frequent):
            return values
        precise = rounded(values)
        at = np.minimum(np.searchsorted(alike, precise), len(alike) - 1)
        return np.where((alike[at] == precise) & ~np.isin(values, places), frequent[at], values)

    low, high = (float(places[0]), float(places[-1])) if len(places) else (np.nan, np.nan)
    return NumberReference(
        places=places,
        weights=weights.astype(np.int64),
        low=low,
        high=high,
        rows=column.rows,
        missing=column.missing,
        infinite=infinite,
        other=column.rows - column.missing - infinite - len(finite),
        identifier=bool(is_identifier(name, column)),
        snapped=snapped,
    )


def _names(column: Column) -> NameReference:
    names = column.present_names
    counts = Counter(names)
    reason = why_not(sum(rows == 1 for rows in counts.values()), len(names), sum(map(has_space, names)))
    return NameReference(
        counts=counts,
        key=str,
        rest=0,
        rows=column.rows,
        missing=column.missing,
        other=column.rows - column.missing - len(names),
        reason="" if column.declared else reason,
    )


def _of_arrays(baseline: Any, current: Any) -> tuple[Mapping[str, Column], Mapping[str, Column]]:
    for inputs in (baseline, current):
        if not hasattr(inputs, "shape"):
            raise InvalidInputError(f"inputs must be an array or a DataFrame, not {type(inputs).__name__}")
    if tuple(baseline.shape[1:]) != tuple(current.shape[1:]):
        raise InvalidInputError(
            f"inputs of shapes {tuple(baseline.shape)} and {tuple(current.shape)} differ in features"
        )
    first, second = plain(baseline), plain(current)
    if not first.size or not second.size:
        return {}, {}
    axis = choose(first, refuses=False)
    names = named(axis, first.shape, None)
    return array_columns(first, names, axis), array_columns(second, names, axis)


def _of_frames(baseline: Any, current: Any) -> tuple[Mapping[str, Column], Mapping[str, Column]]:
    if not (hasattr(baseline, "columns") and hasattr(current, "columns")):
        raise InvalidInputError("a DataFrame can only be compared with another DataFrame")
    if not (hasattr(baseline, "iloc") and hasattr(current, "iloc")):
        raise InvalidInputError("DataFrames must be those of pandas: convert others with .to_pandas()")
    titles = list(baseline.columns)
    if set(titles) != set(current.columns) or len(set(titles)) != len(titles):
        raise InvalidInputError("both DataFrames must have the same columns, each once")
    before: dict[str, Column] = {}
    now: dict[str, Column] = {}
    for title, name in zip(titles, unique(titles), strict=True):
        before[name] = column_of(baseline[title])
        now[name] = column_of(current[title], before[name].declared)
    return before, now
