"""Errors by hour: counted, merged, scaled, sent."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from robmon.drift.hourly import MOST_HOURS, HourlyErrors
from robmon.drift.log_histogram import MOST_BINS
from robmon.errors import InvalidInputError

FIRST = 480_000


def errors(rows: int, trials: int = 8, seed: int = 0) -> np.ndarray[Any, Any]:
    """Rows that differ, and trials that differ within a row."""
    generator = np.random.default_rng(seed)
    return np.exp(generator.normal(size=(rows, 1))) * generator.normal(size=(rows, trials)) ** 2


def week(rows: int = 64) -> HourlyErrors:
    hourly = HourlyErrors()
    for hour in range(MOST_HOURS):
        hourly.add(np.full(rows, FIRST + hour), errors(rows, seed=hour))
    return hourly


def test_the_mean_of_an_hour_is_exact_and_its_spread_within_a_bin() -> None:
    hourly, rows = HourlyErrors(), errors(512)
    hourly.add(np.repeat([FIRST, FIRST + 5], 256), rows)
    for hour, part in ((FIRST, rows[:256]), (FIRST + 5, rows[256:])):
        counted = hourly.hours[hour].errors
        assert hourly.hours[hour].rows == 256 and counted.entries == part.size
        assert np.sum(counted.values * counted.counts) == pytest.approx(part.sum(), rel=1e-12)
        middles = np.repeat(counted.values, counted.counts)
        assert np.abs(np.log2(middles / np.sort(part.ravel()))).max() < 0.26


def test_zeros_and_errors_that_are_not_finite_are_counted_apart() -> None:
    hourly = HourlyErrors()
    hourly.add(np.array([FIRST]), np.array([[0.0, np.nan, np.inf, 1.0, 1e-320, 1e308]]))
    counted = hourly.hours[FIRST].errors
    assert counted.values[0] == 0.0 and counted.counts[0] == 1
    assert np.isinf(counted.values[-1]) and counted.counts[-1] == 2
    assert np.isfinite(counted.total) and counted.entries == 6


def test_order_and_pods_do_not_matter() -> None:
    rows, hours = errors(600), np.random.default_rng(1).integers(FIRST, FIRST + 30, 600)
    whole, one, other = HourlyErrors(), HourlyErrors(), HourlyErrors()
    whole.add(hours, rows)
    one.add(hours[:200], rows[:200])
    other.add(hours[:199:-1], rows[:199:-1])
    merged, expected = one.merged(other).to_dict(), whole.to_dict()
    for entry, same in zip(merged["hours"], expected["hours"], strict=True):
        assert entry.pop("total") == pytest.approx(same.pop("total"), rel=1e-12)
    assert merged == expected
    assert one.rows == 200, "merging changes neither"


def test_it_holds_the_newest_week_and_says_how_long_it_spans() -> None:
    hourly = week()
    assert (hourly.span_hours, hourly.rows) == (168, 168 * 64) and hourly.is_sufficient
    hourly.add(np.array([FIRST + 200]), errors(1))
    assert min(hourly.hours) == FIRST + 1 and len(hourly.hours) == MOST_HOURS
    hourly.add(np.array([FIRST]), errors(1))
    assert FIRST not in hourly.hours, "older than all that are held"
    assert FIRST + 7 not in hourly.without_hour(FIRST + 7).hours
    with pytest.raises(InvalidInputError, match="hour 5 is not among"):
        hourly.without_hour(5)
    assert HourlyErrors().span_hours == 0 and not HourlyErrors().is_sufficient


def test_a_day_of_hardly_any_rows_does_not_suffice() -> None:
    hourly = HourlyErrors()
    hourly.add(np.arange(FIRST, FIRST + 24), errors(24))
    assert hourly.span_hours == 24 and not hourly.is_sufficient


@pytest.mark.parametrize("ratios", [[1.3], [1.03] * 7, [0.5, 2.0], [7.0]])
def test_scaled_squared_changes_have_that_ratio(ratios: list[float]) -> None:
    hourly = scaled = HourlyErrors()
    hourly.add(np.full(300, FIRST), errors(300))
    for ratio in ratios:
        scaled = scaled.scaled(ratio)
    before, after = hourly.hours[FIRST].errors, scaled.hours[FIRST].errors
    product = float(np.prod(ratios))
    assert np.sum(after.values * after.counts) == pytest.approx(product * np.sum(before.values * before.counts))
    np.testing.assert_allclose(after.values, product * before.values, rtol=1e-9)

    def clip(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.minimum(values / product, 1.0)

    assert scaled.pairs.correlation(clip) == pytest.approx(
        hourly.pairs.correlation(lambda values: np.minimum(values, 1.0)), abs=1e-9
    )


def test_scaled_flips_become_more_frequent() -> None:
    generator = np.random.default_rng(0)
    hourly = HourlyErrors("flips")
    hourly.add(np.full(1000, FIRST), (generator.random((1000, 10)) < 0.2).astype(float))
    before = hourly.hours[FIRST].errors
    for ratio, share in ((1.5, 1.5), (0.5, 0.5), (20.0, before.entries / before.total)):
        after = hourly.scaled(ratio).hours[FIRST].errors
        assert after.entries == before.entries
        assert np.sum(after.values * after.counts) == pytest.approx(share * before.total, rel=1e-3)


def test_what_two_trials_of_a_row_share_is_estimated_from_pairs() -> None:
    generator = np.random.default_rng(0)
    rows = np.clip(generator.beta(0.5, 4.5, size=(4000, 1)), 0, 1)
    flips = (generator.random((4000, 12)) < rows).astype(float)
    hourly = HourlyErrors("flips")
    hourly.add(np.full(4000, FIRST), flips)
    marginal, of_means = flips.var(), flips.mean(axis=1).var()
    correlation = hourly.pairs.correlation(lambda values: values)
    assert marginal * (1 / 12 + (1 - 1 / 12) * correlation) == pytest.approx(of_means, rel=0.05)
    alone = HourlyErrors("flips")
    alone.add(np.full(50, FIRST), flips[:50, :1])
    assert alone.pairs.correlation(lambda values: values) == 1.0


def test_it_comes_back_from_json_as_it_was_and_stays_small() -> None:
    hourly = week()
    text = json.dumps(hourly.to_dict(), allow_nan=False)
    assert HourlyErrors.from_dict(json.loads(text)).to_dict() == hourly.to_dict()
    assert len(text) < 150_000
    hostile = HourlyErrors()
    wild = np.exp2(np.random.default_rng(0).uniform(-1000, 1000, size=(2000, 39)))
    for hour in range(MOST_HOURS):
        hostile.add(np.full(len(wild), hour), wild) if hour < 2 else hostile._put(hour, hostile.hours[1])
    assert max(len(hour.errors.bins) for hour in hostile.hours.values()) == MOST_BINS
    assert len(json.dumps(hostile.to_dict())) < 1_200_000


@pytest.mark.parametrize(
    ("hours", "rows", "said"),
    [
        ([1.5], [[1.0]], "whole numbers"),
        ([[1]], [[1.0]], "one row of whole numbers"),
        ([1, 2], [[1.0]], "2 hours do not fit 1 rows"),
        ([1], [1.0], "shape"),
        ([1], [[]], "shape"),
        ([1], [[-1.0]], "at least 0"),
        ([1], [["x"]], "numbers"),
    ],
)
def test_what_is_no_error_of_an_hour_is_refused(hours: Any, rows: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        HourlyErrors().add(hours, rows)


def test_flips_above_one_and_scores_that_differ_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="at most 1"):
        HourlyErrors("flips").add([1], [[1.5]])
    with pytest.raises(InvalidInputError, match="not known"):
        HourlyErrors("accuracy")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="cannot be merged"):
        HourlyErrors("flips").merged(HourlyErrors())
    with pytest.raises(InvalidInputError, match="ratio"):
        HourlyErrors().scaled(0.0)


def damaged() -> list[Any]:
    """Dictionaries that are nearly right."""
    hourly = HourlyErrors()
    hourly.add([1, 2], errors(2))
    right = hourly.to_dict()
    first, rest = right["hours"][0], right["hours"][1:]
    broken = [
        {**first, **change}
        for change in (
            {"rows": 0},
            {"rows": 10**6},
            {"rows": True},
            {"hour": "1"},
            {"hour": 2},
            {"first": 10**5},
            {"steps": [0] * len(first["steps"])},
            {"counts": [0] * len(first["counts"])},
            {"counts": first["counts"][1:]},
            {"counts": [10**30] * len(first["counts"])},
            {"total": -1.0},
            {"total": float("nan")},
            {"total": None},
        )
    ]
    pairs = right["pairs"]
    others = [{**pairs, "counts": []}, {**pairs, "ratio": 3.0}, {**pairs, "first": [3000] * len(pairs["first"])}, None]
    return [
        None,
        [],
        {},
        {**right, "score": "x"},
        {**right, "hours": [1]},
        *({**right, "hours": [entry, *rest]} for entry in broken),
        *({**right, "pairs": other} for other in others),
    ]


@pytest.mark.parametrize("data", damaged())
def test_a_damaged_file_is_refused_in_a_sentence(data: Any) -> None:
    with pytest.raises(InvalidInputError):
        HourlyErrors.from_dict(data)
