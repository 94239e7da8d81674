"""What a baseline keeps of features: it grows, adds up, is small, tells no value, and compares as the rows would."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import robmon
from robmon.drift.columns import Column, column_of
from robmon.drift.dyadic import Cells, cells_of, narrowest, rounded
from robmon.drift.features import array_columns
from robmon.drift.names import Names
from robmon.drift.numbers import Numbers
from robmon.drift.older import OlderSummaries
from robmon.drift.summaries import Summaries, Unmeasured
from robmon.drift.two_sample import compare
from robmon.errors import InvalidInputError

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def numbers(*batches: Any) -> Numbers:
    known = Numbers.none()
    for batch in batches:
        known = known.added("x", Column("number", np.asarray(batch, dtype=np.float64)))
    return known


def columns(frame: pd.DataFrame) -> dict[str, Column]:
    return {str(name): column_of(frame[name]) for name in frame}


def learnt(frame: pd.DataFrame, rows: int) -> Summaries:
    """From batches of so many rows, as a daemon learns it."""
    known = Summaries.none()
    for start in range(0, len(frame), rows):
        known = known.added(columns(frame.iloc[start : start + rows]))
    return Summaries.from_dict(json.loads(json.dumps(known.to_dict(), allow_nan=False)))


@given(st.lists(FLOATS, min_size=1, max_size=60), st.lists(FLOATS, min_size=1, max_size=60))
@settings(max_examples=60)
def test_every_number_is_counted_once_and_lies_on_no_edge(first: list[float], second: list[float]) -> None:
    known = numbers(first, second)
    assert known.rows == len(first) + len(second)
    values = np.append(rounded(np.array(first), numbers(first).bits), rounded(np.array(second), known.bits))
    assert np.all((known.atoms.find(values) >= 0) | (known.cells.find(values) >= 0))
    for cells in (known.cells, known.atoms):
        assert not np.isin(values, [*cells.left, *cells.right]).any()
        assert Cells.from_list(cells.to_list()).to_list() == cells.to_list()
    reference = known.reference()
    assert reference.low < values.min() and values.max() < reference.high
    assert Numbers.from_dict(json.loads(json.dumps(known.to_dict()))).to_dict() == known.to_dict()


@given(st.lists(FLOATS, min_size=1, max_size=80), st.integers(1, 12))
@settings(max_examples=60)
def test_cells_nest_add_up_and_are_bounded(values: list[float], most: int) -> None:
    distinct, counts = np.unique(rounded(np.array(values)), return_counts=True)
    cells = cells_of(distinct, counts, narrowest(distinct))
    few = cells.bounded(most)
    assert few.rows == len(values) and len(few.counts) <= most
    assert np.bincount(few.find(distinct), counts, len(few.counts)).tolist() == few.counts.tolist()
    both = few.joined(cells)
    assert both.to_list() == cells.joined(few).to_list()
    assert both.to_list() == few.counted(2 * few.counts).to_list()


def test_pods_add_up_in_any_order() -> None:
    r = np.random.default_rng(0)
    parts = [numbers(r.normal(size=300)), numbers(r.normal(3, 2, size=200)), numbers([0.0] * 50)]
    total = parts[0].merged(parts[1]).merged(parts[2])
    assert total.rows == 550 and total.to_dict() == parts[1].merged(parts[0]).merged(parts[2]).to_dict()
    names = [Names.none().added(column_of(np.array(list(text), dtype=object))) for text in ("aabbb", "bccc")]
    assert names[0].merged(names[1]).counts == names[1].merged(names[0]).counts
    assert sorted(names[0].merged(names[1]).counts.values()) == [2, 3, 4]


def test_a_stream_that_rises_is_not_measured_by_its_first_rows() -> None:
    """954 of 1,024 rows were in one bin, and a shift of five deviations read 0.199."""
    r = np.random.default_rng(1)
    frame = pd.DataFrame({"x": np.linspace(0, 20, 1024) + r.normal(size=1024)})
    known = learnt(frame, 64)
    (same,) = known.compare(columns(frame.sample(256, random_state=0)), q=0.01)
    (moved,) = known.compare(columns(frame.sample(256, random_state=0) + 5 * frame["x"].std()), q=0.01)
    assert not same.drifted and same.psi < 0.1
    assert moved.drifted and moved.psi > 2 and moved.wasserstein == pytest.approx(5, rel=0.02)


CLOSE: dict[str, Callable[[np.random.Generator, int, float], Any]] = {
    "far from 0": lambda r, rows, shift: 1e9 + r.normal(shift, 1, rows),
    "one place": lambda r, rows, shift: 48.123456 + 1e-6 * r.normal(shift, 1, rows),
    "codes": lambda r, rows, shift: 50_000_000 + r.integers(10 * shift, 20, rows),
    "two codes": lambda r, rows, shift: 50_000_000 + (r.random(rows) < 0.2 + 0.5 * shift),
    "beside zeros": lambda r, rows, shift: np.where(r.random(rows) < 0.6, 0.0, 1e9 + r.normal(3 * shift, 1, rows)),
    "float32": lambda r, rows, shift: (1e9 + 200 * r.normal(shift, 1, rows)).astype(np.float32),
    "rounding": lambda r, rows, shift: (0.1 + 0.4 * shift) * (1 + 2.0**-52 * r.integers(0, 4, rows)),
}


@pytest.mark.parametrize("law", CLOSE)
def test_numbers_that_differ_by_little_beside_their_size_are_told_apart(law: str) -> None:
    """What float32 takes for one, such as codes of eight digits: their changes were invisible, or shifted by one."""
    r = np.random.default_rng(0)
    before, same, moved = (pd.DataFrame({"x": CLOSE[law](r, *how)}) for how in ((1024, 0), (256, 0), (256, 1)))
    known = learnt(before, 256)
    for now, is_drift in ((same, False), (moved, True)):
        (by_rows,), (by_summary,) = robmon.drift(before, now).features, known.compare(columns(now), 0.01)
        assert by_rows.drifted == by_summary.drifted == is_drift
        assert by_summary.js == pytest.approx(by_rows.js, abs=0.1)
        far = [min(each.wasserstein, 1e6) for each in (by_summary, by_rows)]
        assert far[0] == pytest.approx(far[1], rel=0.1, abs=0.1)


def mixed(r: np.random.Generator, rows: int, shift: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "normal": r.normal(280 + 0.02 * shift, 0.02, rows),
            "skewed": np.exp(r.normal(shift, 1.5, rows)),
            "zeros": np.where(r.random(rows) < 0.6 - 0.2 * shift, 0.0, r.exponential(1, rows)),
            "count": r.poisson(3 + 2 * shift, rows),
            "flag": r.random(rows) < 0.3 + 0.2 * shift,
            "kind": r.choice(
                ["a", "b", "(other)", "(missing)"], rows, p=[0.4 - 0.2 * shift, 0.3, 0.2, 0.1 + 0.2 * shift]
            ),
            "holes": np.where(r.random(rows) < 0.1 + 0.2 * shift, np.nan, r.normal(size=rows)),
            "object": pd.Series(
                [None if i % 7 == 0 else x for i, x in enumerate(r.normal(shift, 1, rows))], dtype=object
            ),
        }
    )


@pytest.mark.parametrize("batch", [16, 256, 1024])
def test_summaries_compare_as_the_rows_do(batch: int) -> None:
    r = np.random.default_rng(2)
    before, same, moved = mixed(r, 1024), mixed(r, 256), mixed(r, 256, shift=1.0)
    known = learnt(before, batch)
    for now, is_drift in ((same, False), (moved, True)):
        by_rows = robmon.drift(before, now).features
        by_summary = known.compare(columns(now), q=0.01)
        for one, other in zip(by_rows, by_summary, strict=True):
            assert one.name == other.name and one.drifted == other.drifted == is_drift, (one, other)
            for statistic, tolerance in (("js", 0.06), ("ks", 0.03), ("missing", 1e-12), ("unseen", 1e-12)):
                mine, theirs = getattr(one, statistic), getattr(other, statistic)
                assert (mine is None) == (theirs is None)
                assert mine is None or mine == pytest.approx(theirs, abs=tolerance), (one, other)
            if one.wasserstein is not None:
                assert other.wasserstein == pytest.approx(one.wasserstein, rel=0.06, abs=0.02), (one, other)


def test_frequent_values_are_found_whenever_they_come() -> None:
    r = np.random.default_rng(3)
    quiet = [np.where(r.random(10) < 0.5, 7.5, r.normal(size=10)) for _ in range(100)]
    known = numbers(*quiet)
    (at,) = known.atoms.find(np.array([7.5]))
    assert at >= 0 and known.atoms.counts[at] == pytest.approx(500, abs=80)


def test_features_that_are_not_measured_are_named() -> None:
    r = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "customer_id": r.choice(10**9, 600, replace=False),
            "note": [f"words of customer {i}" for i in range(600)],
            "at": pd.date_range("2026-01-01", periods=600, freq="min"),
            "lists": [[1, 2]] * 600,
            "x": r.normal(size=600),
        }
    )
    reasons = {"customer_id": "identifier", "note": "text", "at": "datetime", "lists": "object"}
    known = learnt(frame, 100)
    assert known.reasons == reasons
    features = known.compare(columns(frame.iloc[:200].drop(columns="x").assign(new=1.0)), q=0.01)
    assert {f.name: f.reason for f in features} == reasons | {"new": "not in the baseline", "x": "not in these inputs"}
    assert not any(feature.measured or feature.drifted for feature in features)


def test_a_column_that_begins_with_nothing_is_what_comes_then() -> None:
    empty = {"x": column_of(np.array([None] * 40, dtype=object))}
    for cells, kind in ((["a", "b"], Names), ([1.0, 2.0], Numbers)):
        known = Summaries.none().added(empty).added({"x": column_of(np.array(cells, dtype=object))})
        summary = known.features["x"]
        assert isinstance(summary, kind) and (summary.rows, summary.missing) == (42, 40)
    both = Summaries.none().added(empty).merged(known)
    assert both.features["x"].rows == 82 and isinstance(both.features["x"], Numbers)
    other = Summaries.none().added({"x": column_of(np.array(["a"], dtype=object))})
    assert known.merged(other).features["x"] == Unmeasured("object", 43)


def test_categories_are_bounded_and_a_name_is_never_a_sentinel() -> None:
    cells = [f"user{i}" for i in range(1000)] + ["often"] * 20 + ["(other)"] * 16 + ["five"] * 5 + [None] * 3
    known = Names.none().added(column_of(np.array(cells, dtype=object)))
    assert len(known.counts) == 200 and known.rows == 1044 and known.missing == 3
    assert sorted(known.names.values()) == ["(other)", "often"] and known.rest == 1000 - 197
    (feature,) = Summaries({"x": known}).compare({"x": column_of(np.array(cells, dtype=object))}, q=0.01)
    assert feature.unseen is None  # the names of most rows are not known
    many = Names.none().added(column_of(np.repeat([f"kind{i}" for i in range(80)], 10)))
    assert len(many.names) == 50 and many.rest == 0 and not many.reason


def test_many_features_stay_small_and_a_wide_model_is_not_slow_to_write() -> None:
    r = np.random.default_rng(5)
    few, many = (
        Summaries.none().added(array_columns(r.normal(size=(400, count)), [f"f{i}" for i in range(count)]))
        for count in (10, 400)
    )
    assert max(len(each.cells.counts) for each in few.features.values() if isinstance(each, Numbers)) > 80
    assert len(json.dumps(many.to_dict())) < 600_000


PLANTED = {
    "integer": 117530917,  # the largest
    "float": 13675309.0625,
    "small": 0.0008675309,
    "text": "Waldo Emersonovich",
    "category": "Waldo Emersonovich",
    "decimal": 86753.09,
}


def test_no_value_of_an_input_or_output_is_kept() -> None:
    """Each is planted in few rows among others; only the name of a category that many hold is kept."""
    from robmon.history.baseline.baseline import Baseline
    from robmon.history.baseline.format import baseline_to_dict
    from robmon.robustness.features.channels import FeatureAxis
    from robmon.robustness.features.whole_numbers import Whole

    r = np.random.default_rng(6)
    rows = 1024
    frame = pd.DataFrame(
        {
            "integer": r.integers(0, 10**8, rows),
            "float": r.normal(8e6, 1e6, rows),
            "small": r.normal(0, 1e-3, rows),
            "text": [f"a sentence, number {i}, of somebody" for i in range(rows)],
            "category": r.choice(["red", "green"], rows),
            "decimal": r.normal(size=rows),
        }
    ).astype({"decimal": object})
    whole = Whole.of_columns([np.dtype("int64"), None, None, None])
    baseline = Baseline.empty([0.0, 0.1], np.zeros((rows, 4)), FeatureAxis(1), whole=whole, integers=["integer"])
    for start in range(0, rows, 128):
        part = frame.iloc[start : start + 128].reset_index(drop=True)
        for name, value in PLANTED.items():
            if name != "category" or start in (0, 128):  # a name of its own in two rows
                part.loc[3 :: 128 if name == "category" else 60, name] = value
        array = part[["integer", "float", "small", "decimal"]].to_numpy(dtype=np.float64)
        baseline.learn_inputs(array, columns(part))
        baseline.learn_results("value", 2.0 * array, np.ones((len(part), 2)))
    seen = baseline.inputs_seen
    assert isinstance(seen, Summaries) and all(summary.rows == rows for summary in seen.features.values())
    stored = json.dumps(baseline_to_dict(baseline), allow_nan=False)
    assert "red" in stored and frame["float"].round(3).astype(str)[0] not in stored
    for value in PLANTED.values():
        for form in {
            repr(value),
            str(value),
            *([repr(2.0 * value), f"{value:.6g}"] if not isinstance(value, str) else []),
        }:
            digits = form.removesuffix(".0").strip("'").lstrip("0.").replace(".", "")
            assert digits not in stored.replace(".", "") or len(digits) < 6, form
    classes = Baseline.empty([0.0], np.zeros((rows, 1)), FeatureAxis(1))
    labels = r.choice(["cat", "dog"], rows).astype(object)
    labels[7] = "Waldo"
    classes.learn_results("label", labels, np.ones((rows, 1)))
    assert "Waldo" not in json.dumps(baseline_to_dict(classes)) and "cat" in json.dumps(baseline_to_dict(classes))


@pytest.mark.parametrize(
    "content",
    [
        None, [], {"x": None}, {"x": {}}, {"x": {"kind": "number"}}, {"x": {"kind": "datetime", "rows": -1}},
        {"x": {"kind": "name", "counts": {"a": -1}, "names": {}, "rest": 0, "missing": 0, "other": 0, "spaced": 0,
               "declared": False}},
        {"x": {"kind": "name", "counts": {}, "names": {"a": "b"}, "rest": 0, "missing": 0, "other": 0, "spaced": 0,
               "declared": False}},
        *[{"x": numbers([1.0, 2.0]).to_dict() | {"kind": "number"} | change} for change in (
            {"missing": True}, {"missing": 1.5}, {"cells": [[0], [0]]}, {"cells": [[0], [0], [-1]]},
            {"cells": [[0], [0, 1], [1]]}, {"cells": [[0, 0], [1, 1], [1, 1]]}, {"cells": [[2, 0], [-1, 0], [1, 1]]},
            {"cells": [[5000], [0], [1]]}, {"cells": [[0], [2**60], [1]]}, {"cells": [[0.5], [0], [1]]},
            {"cells": ["a", "b", "c"]}, {"low": [[0, 2], [0, 0], [0, 0]]}, {"identifier": "yes"},
        )],
    ],
)  # fmt: skip
def test_damaged_summaries_are_refused(content: Any) -> None:
    with pytest.raises(InvalidInputError):
        Summaries.from_dict(content)


def test_of_format_1_the_index_is_told_and_nothing_else() -> None:
    r = np.random.default_rng(7)
    before, cuts = r.normal(size=2000), np.linspace(-1.2, 1.2, 9)
    counts = np.append(np.bincount(np.searchsorted(cuts, before, side="right"), minlength=10), 0)
    known = OlderSummaries.from_dict({"edges": [cuts.tolist()], "counts": [counts.tolist()]}, of_labels=False)
    for shift, is_large in ((0.0, False), (1.0, True)):
        (feature,) = known.compare({"x": column_of(r.normal(shift, size=500))})
        assert (feature.psi > 0.25) == is_large and feature.reason == "the baseline is of format 1"
        assert feature.ks is feature.js is feature.pvalue is None and not feature.measured and not feature.drifted
    classes = OlderSummaries.from_dict({"counts": {"a": 60, "b": 40, "(other)": 2}}, of_labels=True)
    labels = np.array(["a"] * 10 + ["b"] * 90)
    (feature,) = classes.compare({"output": column_of(labels)})
    assert feature.psi > 0.5 and sum(classes.shares) == pytest.approx(1)
    assert (
        OlderSummaries.from_dict(json.loads(json.dumps(known.to_dict())), of_labels=False).to_dict() == known.to_dict()
    )
    for content in ({}, {"edges": [[1.0]], "counts": [[1, 2]]}, {"edges": [[2.0, 1.0]], "counts": [[1, 1, 1, 1]]}):
        with pytest.raises(InvalidInputError):
            OlderSummaries.from_dict(content, of_labels=False)


def test_names_that_are_seldom_are_no_drift_and_others_in_their_place_are() -> None:
    r = np.random.default_rng(14)
    weights = {"a": 1 / np.arange(1, 201), "b": np.ones(400), "c": 1 / np.arange(1, 2001)}
    laws = {name: (np.array([f"{name}{i}" for i in range(len(w))]), w / w.sum()) for name, w in weights.items()}

    def drawn(rows: int, new: float = 0.0) -> dict[str, Column]:
        cells = {name: r.choice(names, rows, p=law).astype(object) for name, (names, law) in laws.items()}
        return {name: column_of(np.where(r.random(rows) < new, "new " + each, each)) for name, each in cells.items()}

    pvalues, indices = [], []
    for _ in range(40):
        known = Summaries.none().added(before := drawn(1024))
        now = drawn(1024)
        kept = known.compare(now, 0.01)
        rows = [compare(name, before[name], now[name]) for name in laws]
        pvalues.append([each.pvalue for each in (*kept, *rows)])
        indices.append([each.excess for each in rows])
    # In each column at most binomial(40, 0.05): 7 and more have probability 0.003.
    assert np.max(np.sum(np.array(pvalues) <= 0.05, axis=0)) <= 6
    assert np.abs(np.mean(np.array(indices, dtype=float), axis=0)).max() < 0.05
    for share in (0.25, 1.0):
        now = drawn(1024, share)
        assert all(each.drifted for each in known.compare(now, 0.01))
        assert all((compare(name, before[name], now[name]).pvalue or 0.0) < 1e-6 for name in laws)
    many = column_of(np.array([f"x{i % 200}" for i in range(5000)], dtype=object))
    half = column_of(np.array([f"x{i % 100}" for i in range(256)], dtype=object))
    assert (compare("x", many, half).pvalue or 0.0) < 1e-4


def test_of_names_that_are_frequent_the_test_is_chi_square_alone() -> None:
    stats = pytest.importorskip("scipy.stats")
    before, now = (np.repeat(np.array(list("abc"), dtype=object), rows) for rows in ([500, 300, 224], [100, 100, 56]))
    feature = compare("x", column_of(before), column_of(now))
    expected = stats.chi2_contingency([[500, 300, 224], [100, 100, 56]], correction=False).pvalue
    assert feature.pvalue == pytest.approx(expected, rel=1e-12)
