"""The synthetic canary: rows that everybody draws alike, and changes told apart from rounding."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from robmon.history.baseline.canary import Canary, Outputs, rows_of_size, tolerance
from robmon.history.baseline.drawn_rows import digest, draw_rows
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.columns import ColumnStatistics
from robmon.robustness.features.whole_numbers import Whole

ROWS = 64


def statistics(rows: np.ndarray, **options: Any) -> ColumnStatistics:
    seen = ColumnStatistics.of_columns(rows.shape[1], **options)
    seen.update(rows)
    return seen


def canary(outputs: np.ndarray, precision: str | None = None, spread: float = 0.0) -> Canary:
    first = Outputs.of(outputs)
    allowed = tolerance(np.full(first.values.shape, spread), first.dtype, precision)
    assert allowed is not None
    return Canary(rows=len(outputs), takes="float32", outputs=first, tolerance=allowed)


def ratio(known: Canary, outputs: np.ndarray) -> float:
    return known.change(Outputs.of(outputs), "float32").ratio


def test_drawn_rows_are_the_same_everywhere() -> None:
    """Recorded: another machine, NumPy or robmon must draw these, or every canary is made anew."""
    told = {"count": [100.0] * 3, "mean": [0.1, -7.0, 1e6], "squares": [30.0, 1e-3, 1e12]}
    seen = ColumnStatistics.from_dict(told)
    rows = draw_rows(seen, FeatureAxis(1), (3,), 4, seed=11)
    assert rows[0].tolist() == pytest.approx([0.0034408979, -6.9984435126, 976339.09082845], rel=1e-7)
    assert digest(rows) == digest(draw_rows(seen, FeatureAxis(1), (3,), 4, seed=11)) == "5944f8871d79c461"
    assert digest(rows) != digest(draw_rows(seen, FeatureAxis(1), (3,), 4, seed=12))


def test_drawn_rows_look_like_the_baseline_and_are_none_of_its_rows() -> None:
    generator = np.random.default_rng(0)
    rows = np.column_stack([generator.normal(50.0, 5.0, 2000), generator.random(2000) < 0.2, np.full(2000, 3.0)])
    drawn = draw_rows(statistics(rows), FeatureAxis(1), (3,), 2000, seed=1)
    assert drawn[:, 0].mean() == pytest.approx(50, abs=0.5) and drawn[:, 0].std() == pytest.approx(5, abs=0.3)
    assert set(drawn[:, 1]) == {0.0, 1.0} and drawn[:, 1].mean() == pytest.approx(0.2, abs=0.03)
    assert set(drawn[:, 2]) == {3.0}
    assert not set(drawn[:, 0]) & set(rows[:, 0])


def test_whole_numbers_stay_whole_and_in_range() -> None:
    rows = np.random.default_rng(0).integers(0, 4, size=(500, 1)).astype(float)
    seen = statistics(rows, ranges=True)
    drawn = draw_rows(seen, FeatureAxis(1), (1,), 500, seed=2, whole=Whole.of(np.dtype("int8")))
    assert set(drawn.ravel()) == {0.0, 1.0, 2.0, 3.0}


@pytest.mark.parametrize(("axis", "shape"), [(1, (3, 4, 5)), (3, (4, 5, 3)), (2, (4, 3))])
def test_channels_have_their_own_scales(axis: int, shape: tuple[int, ...]) -> None:
    scales = np.array([1.0, 10.0, 100.0])
    seen = statistics(np.random.default_rng(0).normal(size=(5000, 3)) * scales, set_apart=False)
    drawn = draw_rows(seen, FeatureAxis(axis), shape, 200, seed=3)
    assert drawn.shape == (200, *shape)
    assert FeatureAxis(axis).as_columns(drawn).std(axis=0) == pytest.approx(scales, rel=0.1)


def test_large_rows_are_few() -> None:
    assert [rows_of_size(cells) for cells in (1, 2**14, 2**16, 2**30)] == [64, 64, 16, 8]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_ten_thousand_unchanged_runs_say_nothing(dtype: str) -> None:
    """Sums in another order, in each type, of 10,000 runs: a network's layer cut and ordered otherwise each time."""
    generator = np.random.default_rng(0)
    rows, weights = generator.normal(size=(ROWS, 48)).astype(dtype), generator.normal(size=(48, 2)).astype(dtype)
    terms = rows[:, :, None] * weights  # (rows, features, outputs), in the type
    known = canary(np.add.reduce(terms, axis=1, dtype=dtype))
    assert known.outputs is not None
    worst = 0.0
    for _ in range(100):
        order = generator.permutation(48)
        outputs = np.add.accumulate(terms[:, order], axis=1, dtype=dtype)[:, -1]
        worst = max(worst, float(known.outputs.differences(Outputs.of(outputs)).max()))
    assert 0 < worst < known.tolerance / 2, "no order comes near the tolerance"
    rounding = np.finfo(dtype).eps * 8
    shaken = 1.0 + rounding * generator.uniform(-1.0, 1.0, size=(10_000, ROWS, 2))
    many = (known.outputs.values * shaken).astype(dtype).astype(np.float64)
    differences = np.abs(many - known.outputs.values) / np.abs(known.outputs.values).max(axis=0)
    assert not np.any(differences > known.tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("off", ["added", "factor", "one output", "one row"])
def test_an_answer_off_by_a_thousandth_is_told(dtype: str, off: str) -> None:
    outputs = np.random.default_rng(0).normal(2.0, 3.0, size=(ROWS, 4)).astype(dtype)
    known, changed = canary(outputs), outputs.copy()
    if off == "added":
        changed += 1e-3
    elif off == "factor":
        changed *= 1.001
    elif off == "one output":
        changed[:, 1] += 1e-3
    else:
        changed[5] += 1e-3
    expected = {"one output": 0.25, "one row": 1 / ROWS}.get(off, 1.0)
    assert ratio(known, changed) == pytest.approx(expected, abs=0.1)


def test_computing_in_another_type_is_told() -> None:
    generator = np.random.default_rng(1)
    rows, weights = generator.normal(size=(ROWS, 20)), generator.normal(size=(20, 3))
    exact = rows @ weights
    single = (rows.astype("float32") @ weights.astype("float32")).astype("float64")
    half = (rows.astype("float16") @ weights.astype("float16")).astype("float32")
    assert ratio(canary(exact), single) > 0.9
    assert ratio(canary(single.astype("float32")), half) > 0.5
    change = canary(exact).change(Outputs.of(exact.astype("float32")), "float32")
    assert change.ratio == 1.0 and change.notes == ("outputs are float32, they were float64",)
    change = canary(exact).change(Outputs.of(exact), "float64")
    assert change.ratio == 0.0 and change.is_changed and change.notes == ("the model gets float64, it got float32",)


def test_another_number_of_outputs_is_told() -> None:
    change = canary(np.ones((ROWS, 3))).change(Outputs.of(np.ones((ROWS, 2))), "float32")
    assert change.ratio == 1.0 and change.notes == ("a row has 2 outputs, it had 3",)


def test_classes_change_or_do_not() -> None:
    words = np.array(["cat", "dog"] * 32)
    longer = words.astype(object)
    longer[3] = "horse"
    assert ratio(canary(words), words.astype(object)) == 0.0
    assert ratio(canary(words), longer) == 1 / ROWS
    assert ratio(canary(np.arange(ROWS)), np.arange(ROWS) + (np.arange(ROWS) < 2)) == 2 / ROWS


def test_what_is_not_finite_stays_so() -> None:
    outputs = np.array([[1.0, np.nan, np.inf]] * ROWS)
    known = Canary.from_dict(json.loads(json.dumps(canary(outputs).to_dict())))
    assert ratio(known, outputs) == 0.0
    assert ratio(known, np.array([[1.0, 2.0, -np.inf]] * ROWS)) == pytest.approx(2 / 3)


def test_what_remains_of_large_outputs_is_rounding() -> None:
    outputs = np.array([[1.0, 1e-17]] * ROWS)
    assert ratio(canary(outputs), outputs * [[1.0, -3.0]]) == 0.0
    assert ratio(canary(np.array([[1e6, 1e-2]] * ROWS)), np.array([[1e6, 1.1e-2]] * ROWS)) == 0.5


def test_outputs_that_hang_on_their_batch_have_no_tolerance() -> None:
    assert tolerance(np.array([2e-6]), "float32", None) == pytest.approx(1e-4)
    assert tolerance(np.array([0.1]), "float32", None) is None
    assert tolerance(np.array([0.03]), "float32", "bfloat16") is not None


def test_of_many_outputs_some_are_kept() -> None:
    outputs = np.random.default_rng(0).normal(size=(ROWS, 100, 50))
    known = canary(outputs)
    assert known.outputs is not None and known.outputs.values.shape == (ROWS, 32) and known.outputs.count == 5000
    assert ratio(known, outputs) == 0.0 and ratio(known, outputs + 1.0) == 1.0


def test_it_is_kept_as_json_to_the_last_bit() -> None:
    outputs = np.random.default_rng(0).normal(size=(ROWS, 2)) * 1e-7
    known = canary(outputs)
    again = Canary.from_dict(json.loads(json.dumps(known.to_dict())))
    assert again.outputs is not None and again.outputs.values.tolist() == outputs.tolist()
    assert again.to_dict() == known.to_dict()
    none = Canary.without("the model is itself random", {"device": "cpu"})
    assert Canary.from_dict(json.loads(json.dumps(none.to_dict()))).reason == none.reason
