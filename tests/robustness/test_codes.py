"""Sentinel codes: each value of a column that occurs often, far out and apart, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import robmon
from robmon.robustness.features.codes import codes_of, codes_of_each
from robmon.robustness.features.columns import ColumnStatistics
from robmon.robustness.features.features import Features, measure
from tests.robustness.assessing import assess_rows

ROWS = 1000


def drawn(name: str) -> np.ndarray:
    """Measurements without any code."""
    g = np.random.default_rng(3)
    return {
        "ages": np.clip(np.round(45 + 18 * g.normal(size=ROWS)), 18, 90),
        "normal": 50 + 12 * g.normal(size=ROWS),
        "around zero": g.normal(size=ROWS),
        "minutes": g.uniform(0, 480, ROWS),
        "drinks": np.round(5 * np.abs(g.normal(size=ROWS))),
        "log-normal": np.exp(g.normal(size=ROWS)),
        "one to five": g.integers(1, 6, ROWS).astype(float),
        "months": g.integers(1, 13, ROWS).astype(float),
        "zero or one": g.integers(0, 2, ROWS).astype(float),
        "one or two": g.integers(1, 3, ROWS).astype(float),
        "shares": g.random(ROWS),
    }[name]


def with_codes(values: np.ndarray, codes: tuple[float, ...], share: float = 0.03) -> np.ndarray:
    u = np.random.default_rng(4).random(len(values))
    for index, code in enumerate(codes):
        values = np.where((u >= share * index) & (u < share * (index + 1)), code, values)
    return values


def told(result: Any) -> tuple[str, ...]:
    """What is told of the inputs: notes on the outputs aside."""
    return tuple(note for note in result.notes if not note.startswith("output is"))


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("normal", (7777.0, 9999.0)),
        ("drinks", (97.0, 98.0, 99.0)),
        ("minutes", (997.0, 998.0, 999.0)),
        ("around zero", (-99.0, -98.0, -97.0)),
        ("normal", (-9999.0, 9999.0)),
        ("around zero", (66666.0, 500000.0)),
        ("normal", (9990.0, 9991.0, 9992.0)),
        ("ages", (888.0, 999.0)),
        ("log-normal", (-999.0, -99.0)),
        ("shares", (7.0, 8.0, 9.0)),
        ("one to five", (97.0, 98.0, 99.0)),
        ("months", (99.0,)),
        ("zero or one", (99.0,)),
        ("one or two", (9.0,)),
        ("normal", (1e30,)),
    ],
)
def test_every_code_of_a_column_is_found(name: str, codes: tuple[float, ...]) -> None:
    values = with_codes(drawn(name), codes)
    assert codes_of(values) == codes
    features = measure(np.column_stack([values, drawn("normal")]))
    measured = values[~np.isin(values, codes)]
    expected = 0.0 if name == "zero or one" else measured.std()  # beside codes an indicator is one
    assert features.scale[0] == pytest.approx(expected)
    assert features.mean[0] == pytest.approx(measured.mean())


def test_a_rare_code_among_others_hides_none_of_them() -> None:
    values = with_codes(drawn("normal"), (9999.0,))
    values[:2] = 7777.0
    assert codes_of(values) == (7777.0, 9999.0)


@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
def test_zero_is_no_code_however_frequent_and_far(share: float) -> None:
    g = np.random.default_rng(5)
    assert codes_of(np.where(g.random(ROWS) < share, 0.0, g.normal(300, 5, ROWS))) == ()


def test_neither_is_a_frequent_value_of_the_bulk_nor_a_wild_one_that_is_rare() -> None:
    values = np.where(np.arange(ROWS) % 2 == 0, 40.0, drawn("ages"))
    assert codes_of(values) == ()
    values[3] = 9e9
    assert codes_of(values) == ()


@pytest.mark.parametrize("rows", [64, 256, 1000])
def test_false_alarms_are_rare_by_simulation(rows: int) -> None:
    found = 0
    for seed in range(100):
        g = np.random.default_rng([seed, rows])
        normal = g.normal(size=rows)
        columns = [
            np.round(np.exp(1.5 * normal + 2)),
            np.floor(np.exp(1.2 * normal + 3)) + 0.99,
            np.round(10 * g.pareto(1.2, rows)),
            np.round(g.standard_cauchy(rows)),
            g.zipf(1.5, rows).astype(float),
            np.where(g.random(rows) < 0.7, 0.0, np.round(np.exp(normal + 3))),
            np.round(np.where(g.random(rows) < 0.5, 10 + 2 * normal, 200 + 3 * normal)),
            np.minimum(np.round(np.exp(10 + 0.8 * normal), -3), 150000),
            g.negative_binomial(0.3, 0.02, rows).astype(float),
            np.where(g.random(rows) < 0.5, g.poisson(3, rows), 100 + g.poisson(1, rows)).astype(float),
        ]
        found += sum(bool(codes_of(column)) for column in columns)
    assert found <= 2  # of 1000 columns


def test_a_result_with_two_codes_is_that_of_what_was_measured() -> None:
    g = np.random.default_rng(1)
    v, u = g.normal(50, 12, 500), g.random(500)
    inputs = np.c_[np.where(u < 0.04, 7777, np.where(u < 0.08, 9999, v)), g.normal(size=500)]
    result = robmon.assess(lambda x: np.where(x[:, 0] > 1000, 0, x[:, 0]) / 12 + x[:, 1], inputs)
    assert result.curve[-1].mean_mse == pytest.approx(0.16 * (0.92 + 1), rel=0.1)
    assert result.scale[0] == pytest.approx(12, rel=0.1)
    high, low = ((inputs[:, 0] == code).mean() for code in (9999, 7777))
    assert told(result) == (
        f"column input[0]: 9999 ({100 * high:.2g} %) and 7777 ({100 * low:.2g} %) are set apart as codes",
    )


def test_a_code_on_a_third_of_the_cells_is_told_as_a_doubt() -> None:
    values = with_codes(drawn("normal"), (9999.0,), share=0.5)
    result = assess_rows(lambda x, rows: x[:, 0], values[:, None], levels=[0.1], trials=19)
    (note,) = told(result)
    share = f"{100 * (values == 9999).mean():.2g} %"
    assert f"9999 ({share}) is set apart as a code; more than 30 % is doubtful" in note
    kept = assess_rows(lambda x, rows: x[:, 0], values[:, None], levels=[0.1], trials=19, scale=1.0)
    assert told(kept) == ()


def test_what_a_baseline_has_not_seen_is_told_without_its_value_where_that_is_asked() -> None:
    known = measure(drawn("normal")[:, None])
    later = with_codes(drawn("normal"), (9999.0,))[:, None]
    options = {"features": known, "levels": [0.1], "trials": 19}
    with_value, without = [
        told(assess_rows(lambda x, rows: x[:, 0], later, tells_values=tells, **options))[0] for tells in (True, False)
    ]
    assert "9999" in with_value and "9999" not in without
    assert all("looks like a code that the baseline lacks" in note for note in (with_value, without))


def test_several_codes_come_back_from_json_and_one_from_an_older_baseline() -> None:
    inputs = np.column_stack([with_codes(drawn("normal"), (7777.0, 9999.0)), drawn("minutes")])
    statistics = ColumnStatistics.of_columns(2)
    statistics.update(inputs)
    told = json.loads(json.dumps(statistics.to_dict(), allow_nan=False))
    assert str(ColumnStatistics.from_dict(told).to_dict()) == str(statistics.to_dict())
    features = measure(inputs)
    back = Features.from_dict(json.loads(json.dumps(features.to_dict(), allow_nan=False)))
    assert back.sentinels.tolist()[0][0] == 7777.0 and back.sentinels.shape == (2, 2)
    older = ColumnStatistics.from_dict({**told, "sentinels": [9999.0, None]})
    assert older.codes[0, 0] == 9999.0 and np.isnan(older.codes[0, 1])


def test_many_columns_at_once_hold_the_codes_that_each_holds() -> None:
    g = np.random.default_rng(0)
    columns = np.round(g.normal(50, 12, size=(200, 60)), 1)
    for index in range(0, 60, 2):
        codes = np.array([7777.0, 9999.0, -1.5e9, 0.0, np.inf, np.nan, 98.0])[g.permutation(7)[: 1 + index % 3]]
        columns[g.random(200) < 0.1, index] = g.choice(codes)
        columns[g.random(200) < 0.06, index] = g.choice(codes)
    columns[:, 5], columns[:, 7] = np.nan, 9.0
    found = codes_of_each(columns)
    assert found == [codes_of(column) for column in columns.T]
    assert sum(map(bool, found)) > 10
    wanted = np.arange(60) % 4 == 0
    assert codes_of_each(columns, wanted) == [each if index % 4 == 0 else () for index, each in enumerate(found)]
    assert codes_of_each(columns[:0]) == [()] * 60
