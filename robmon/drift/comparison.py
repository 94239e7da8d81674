"""Drift of one feature: current rows of a column against the reference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.drift.columns import Column
from robmon.drift.pvalues import (
    adjusted,
    chi_square_pvalue,
    exceedance_pvalue,
    kolmogorov_smirnov_pvalue,
    new_names_pvalue,
    share_pvalue,
)
from robmon.drift.reference import NameReference, NumberReference, fitting_groups
from robmon.drift.statistics import chi_square, distances, expected_by_chance, jensen_shannon, stability_index
from robmon.robustness.arrays import Float64

MIN_ROWS = 30
"""On either side: with fewer, nothing is measured."""
FEW_VALUES = 10
"""A column of numbers with at most so many different ones is compared by their shares."""
MIN_EXPECTED = 5.0
"""Rows of a group on either side, if nothing changed: below, chi-square is not chi-square (Cochran 1954)."""

FREQUENT_ROWS = 25.0
"""Of a name in a baseline of which not all names are known, at least, for it to stand for itself in the test."""


@dataclass(frozen=True)
class FeatureDrift:
    """Drift of one feature, of `rows` current rows against `baseline_rows`.

    Attributes:
        name: the column's name, `input[i]`, or `channel_i.mean`, `.std`, `.contrast`.
        psi: population stability index minus what chance gives; at least 0.
        js: Jensen-Shannon distance over the same groups of values, from 0 to 1.
        ks: Kolmogorov-Smirnov distance of the finite numbers, from 0 to 1. None for categories.
        wasserstein: distance in standard deviations of the baseline (divisor n); infinite where a constant changed.
            None for categories.
        missing, infinite, type_changed: share of rows that hold nothing, an infinity, or another type than the
            baseline's, minus the baseline's share.
        unseen: share of rows with a category that the baseline does not have; None for numbers, and where not all
            categories are known.
        out_of_range: share of rows with a number outside the baseline's range. None for categories.
        pvalue: of the test, see `test`; None where the feature is not measured.
        drifted: whether the feature counts as drifted, all features taken together.
        measured: whether it is measured; if not, `reason` says why, and the statistics are None.
        test: `ks` or `chi_square`; the shares above are tested as well, each as one of several tests (Bonferroni).
        excess: the index minus what chance gives, which may be below 0 by chance.
        shares: of the current rows, by problem, where the shares above are the increase over the baseline's.
    """

    name: str
    rows: int
    baseline_rows: int
    psi: float | None = None
    js: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    missing: float | None = None
    unseen: float | None = None
    out_of_range: float | None = None
    infinite: float | None = None
    type_changed: float | None = None
    pvalue: float | None = None
    drifted: bool = False
    measured: bool = True
    reason: str = ""
    test: Literal["ks", "chi_square", ""] = ""
    excess: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)

    def rise(self, problem: str) -> float:
        """By how much the share of rows with that problem exceeds the baseline's; 0 where it is not known."""
        return getattr(self, problem) or 0.0


def not_measured(feature: FeatureDrift, reason: str) -> FeatureDrift:
    """The feature with its shares alone."""
    return replace(feature, measured=False, reason=reason)


def compare_numbers(name: str, reference: NumberReference, column: Column) -> FeatureDrift:
    """Drift of a column that holds numbers in the baseline."""
    values, rows = column.numbers, column.rows
    finite = reference.snapped(values[np.isfinite(values)])
    infinite = int(np.isinf(values).sum())
    other = rows - column.missing - infinite - len(finite)
    below, above = int((finite < reference.low).sum()), int((finite > reference.high).sum())
    now = {"missing": column.missing, "infinite": infinite, "type_changed": other, "out_of_range": below + above}
    was = {"missing": reference.missing, "infinite": reference.infinite, "type_changed": reference.other}
    feature = _with_shares(FeatureDrift(name, rows, reference.rows), now, was)
    if min(rows, reference.rows) < MIN_ROWS:
        return not_measured(feature, too_few(rows, reference.rows))
    if reference.identifier:
        return not_measured(feature, "identifier")
    cuts = reference.cuts(fitting_groups(reference.rows, rows))
    apart = ((reference.missing, column.missing), (reference.infinite, infinite), (reference.other, other))
    before = _grouped(cuts, reference.places, reference.weights, [pair[0] for pair in apart])
    after = _grouped(cuts, finite, None, [pair[1] for pair in apart])
    by_share = len(reference.places) <= FEW_VALUES
    pvalues = [_pooled_pvalue(before, after)] if by_share else []
    if len(finite) and reference.finite:
        ks, area = distances(reference.places, finite, reference.weights)
        deviation = reference.deviation
        feature = replace(feature, ks=ks, wasserstein=area / deviation if deviation else math.inf if area else 0.0)
        beyond = [exceedance_pvalue(count, reference.finite, len(finite)) for count in (below, above) if count]
        pvalues += [min(2 * min(beyond), 1.0)] if beyond else []
        pvalues += [] if by_share else [kolmogorov_smirnov_pvalue(ks, reference.finite, len(finite))]
    if not by_share:
        pvalues += [share_pvalue(few, reference.rows, count, rows) for few, count in apart if few or count]
    return _measured(feature, before, after, pvalues, "chi_square" if by_share else "ks")


def compare_names(name: str, reference: NameReference, column: Column) -> FeatureDrift:
    """Drift of a column that holds names in the baseline."""
    rows, told = column.rows, Counter(column.present_names)
    by_key: Counter[str] = Counter()
    for each, count in told.items():
        by_key[reference.key(each)] += count
    other = rows - column.missing - sum(told.values())
    unseen = sum(count for key, count in by_key.items() if key not in reference.counts)
    shares = {"missing": column.missing, "type_changed": other} | ({"unseen": unseen} if reference.is_complete else {})
    was = {"missing": reference.missing, "type_changed": reference.other}
    feature = _with_shares(FeatureDrift(name, rows, reference.rows), shares, was)
    if min(rows, reference.rows) < MIN_ROWS:
        return not_measured(feature, too_few(rows, reference.rows))
    if reference.reason:
        return not_measured(feature, reference.reason)
    groups = reference.groups(fitting_groups(reference.rows, rows))
    count = max(groups.values(), default=-1) + 1
    # Of the next rows names that occurred k times hold the share that those of k + 1 rows have here (Good 1953): those
    # of one row stand for new names, those of two for the ones that occurred once.
    seldom = Counter(reference.counts.values())
    before, now = np.zeros(count + 4), np.zeros(count + 4)
    for key, number in reference.counts.items():
        if number > 2:
            before[groups[key]] += number
    for key, number in by_key.items():
        if key in reference.counts:
            now[groups.get(key, count)] += number
    before[count:] = 2 * seldom[2], seldom[1] + reference.rest, reference.missing, reference.other
    now[count:] += 0, unseen, column.missing, other
    return _measured(feature, before, now, _name_pvalues(reference, by_key, column.missing, other), "chi_square")


def _name_pvalues(reference: NameReference, by_key: Mapping[str, int], missing: int, other: int) -> list[float]:
    """Of the shares of names; where some are seldom, of how many rows have a new one, and of how many lost theirs.

    Each name stands for itself here, and which ones are seldom is asked of both samples together: groups that are
    chosen by the baseline's counts fit the baseline better than any other sample of the same law. Where no more than
    the most frequent names are known, those count that are so by more than chance.
    """
    least = min(reference.counts.values(), default=0)
    bar = 0.0 if reference.is_complete else max(FREQUENT_ROWS, least + 6 * math.sqrt(least))
    names = sorted(key for key in reference.counts.keys() | by_key.keys() if reference.counts.get(key, 0) >= bar)
    before = np.array([reference.counts.get(key, 0) for key in names], dtype=np.float64)
    now = np.array([by_key.get(key, 0) for key in names], dtype=np.float64)
    totals = np.array([[reference.rows, reference.missing, reference.other], [sum(by_key.values()), missing, other]])
    totals[0, 0] -= reference.missing + reference.other
    totals[:, 0] -= [int(before.sum()), int(now.sum())]
    shares = _pooled_pvalue(np.append(before, totals[0]), np.append(now, totals[1]))
    if not reference.is_complete:
        return [shares, _known_names_pvalue(reference, by_key, least)]
    is_seldom = _expected(before + now, reference.rows, sum(by_key.values()) + missing + other) < MIN_EXPECTED
    return [shares, new_names_pvalue(before, now), new_names_pvalue(now, before)] if is_seldom.any() else [shares]


def _known_names_pvalue(reference: NameReference, by_key: Mapping[str, int], least: int) -> float:
    """Whether the share of rows with one of the most frequent names, of more than `least` rows each, changed.

    Names with at least k rows in a sample hold the share of the next one that those with k + 1 or more hold in it
    (Good, Biometrika 40, 1953). Rows of the baseline come and go there by the name, so that they weigh less.
    """
    known = sum(rows for rows in reference.counts.values() if rows >= least + 2)
    rows = reference.rows - reference.missing - reference.other
    known_now = sum(count for key, count in by_key.items() if reference.counts.get(key, 0) > least)
    rows_now = sum(by_key.values())
    before = np.array([known, rows - known]) / (least + 2)
    return _pooled_pvalue(before, np.array([known_now, rows_now - known_now], dtype=np.float64))


def with_decisions(features: Sequence[FeatureDrift], q: float) -> tuple[FeatureDrift, ...]:
    """The features, and which of them have drifted where a share `q` of those said to have has not.

    Benjamini & Hochberg, over the features that are measured.
    """
    found = adjusted([feature.pvalue for feature in features if feature.pvalue is not None]) <= q
    decisions = iter(found.tolist())
    return tuple(
        replace(feature, drifted=next(decisions)) if feature.pvalue is not None else feature for feature in features
    )


def too_few(rows: int, baseline_rows: int) -> str:
    """Why nothing is measured."""
    return f"too few rows: {rows} against {baseline_rows}, and {MIN_ROWS} are needed"


def _measured(
    feature: FeatureDrift, before: Float64, now: Float64, pvalues: list[float], test: Literal["ks", "chi_square"]
) -> FeatureDrift:
    excess = stability_index(before, now) - expected_by_chance(before, now)
    pvalue = min(len(pvalues) * min(pvalues), 1.0) if pvalues else 1.0
    return replace(
        feature, psi=max(excess, 0.0), excess=excess, js=jensen_shannon(before, now), pvalue=pvalue, test=test
    )


def _grouped(cuts: Float64, values: Float64, weights: NDArray[np.int64] | None, apart: list[int]) -> Float64:
    groups = np.searchsorted(cuts, values, side="right")
    return np.append(np.bincount(groups, weights=weights, minlength=len(cuts) + 1), apart)


def _pooled_pvalue(before: Float64, now: Float64) -> float:
    """Chi-square of two rows of counts, of which those that are expected to be small stand together."""
    both = before + now
    expected = _expected(both, before.sum(), now.sum())
    is_small = expected < MIN_EXPECTED
    if is_small.any() and not is_small.all() and expected[is_small].sum() < MIN_EXPECTED:
        is_small[np.flatnonzero(~is_small)[np.argmin(expected[~is_small])]] = True
    table = [np.append(counts[~is_small], counts[is_small].sum()) for counts in (before, now)]
    return chi_square_pvalue(*chi_square(*table))


def _expected(both: Float64, before: float, now: float) -> Float64:
    """Rows of each group in the smaller sample, if nothing changed."""
    return both * min(before, now) / max(before + now, 1)


def _with_shares(feature: FeatureDrift, now: Mapping[str, int], before: Mapping[str, int]) -> FeatureDrift:
    rows, baseline_rows = max(feature.rows, 1), max(feature.baseline_rows, 1)
    risen: dict[str, Any] = {each: count / rows - before.get(each, 0) / baseline_rows for each, count in now.items()}
    return replace(feature, shares={each: count / rows for each, count in now.items()}, **risen)
