"""The detector over time: limits, recursion, state, refusals. Months of it: tests/benchmarks/detection.py."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import robmon
from robmon.drift.detector import RegressionDetector, threshold
from robmon.drift.evidence import (
    FRACTIONS,
    MOST_EVIDENCE,
    advanced,
    bets_above,
    bets_below,
    log_factors,
    mean_evidence,
    nothing,
)
from robmon.drift.hourly import HourlyErrors
from robmon.drift.limit import limit_of_size, upper_limit
from robmon.drift.pods import pooled_evidence
from robmon.drift.statistic import Size
from robmon.errors import InvalidInputError

Array = np.ndarray[Any, Any]
DAY, WEEK, ROWS, TRIALS = 24, 168, 256, 8


def squared_changes(generator: np.random.Generator, rows: int, level: float = 1.0, spread: float = 1.0) -> Array:
    """Rows that differ by a lognormal factor, trials by a squared normal one."""
    return level * np.exp(spread * generator.normal(size=(rows, 1))) * generator.normal(size=(rows, TRIALS)) ** 2


def spikes(generator: np.random.Generator, rows: int, level: float = 1.0) -> Array:
    """All error is in 5 % of the rows."""
    return squared_changes(generator, rows, level) * (generator.random((rows, 1)) < 0.05)


def flips(generator: np.random.Generator, rows: int, level: float = 1.0) -> Array:
    """Rows flip with probabilities of their own, mean 5 %."""
    of_row = generator.beta(0.05 * level, 1.0 - 0.05 * level, size=(rows, 1))
    return (generator.random((rows, TRIALS)) < of_row).astype(float)


def baseline(law: Any, span: int = DAY, rows: int = 2048, seed: int = 0) -> tuple[Array, Array]:
    """Row errors and hours of days that have a worst hour of 1.2 times the mean."""
    generator = np.random.default_rng(seed)
    levels = 1.0 + 0.2 * np.sin(2 * np.pi * np.arange(span) / 24)
    return (
        np.concatenate([law(generator, rows, level=level) for level in levels]),
        np.repeat(np.arange(480_000, 480_000 + span), rows),
    )


def in_bins(rows: Array, hours: Array, score: Any = "mse") -> HourlyErrors:
    hourly = HourlyErrors(score)
    hourly.add(hours, rows)
    return hourly


@pytest.fixture(scope="module")
def detector_dict() -> dict[str, Any]:
    return RegressionDetector(*baseline(squared_changes), tolerance=0.1).to_dict()


@pytest.fixture
def detector(detector_dict: dict[str, Any]) -> RegressionDetector:
    return RegressionDetector.from_dict(detector_dict)


# --- the recursion ----------------------------------------------------------------------------------------------------


def test_evidence_is_the_sum_over_all_times_at_which_a_change_may_have_begun(detector: RegressionDetector) -> None:
    generator = np.random.default_rng(1)
    limits = detector.limits.means
    samples = [squared_changes(generator, rows, 1.15) for rows in (256, 3, 80, 1, 256, 256)]
    factors = []  # (assessments, statistics, bets), by the formula, row by row
    for sample in samples:
        product = np.ones((2, len(FRACTIONS)))
        for row in detector.limits.values(sample):
            for j, value in enumerate(row):
                product[j] *= 1.0 + FRACTIONS / limits[j] * (value - limits[j])
        factors.append(product)
    for last, sample in enumerate(samples, start=1):
        by_force = sum(np.prod(factors[first:last], axis=0) for first in range(last))
        assert detector.update(sample) == pytest.approx(float(np.mean(by_force)), rel=1e-9)
    assert detector.updates == len(samples)


def test_the_statistics_are_those_of_the_page(detector: RegressionDetector) -> None:
    rows, hours = baseline(squared_changes)
    clip, log = (limit.statistic for limit in detector.limits.each)
    assert np.minimum(rows, clip.point).mean() == pytest.approx(0.9 * rows.mean(), rel=1e-9)  # type: ignore[union-attr]
    low, high = np.log(np.quantile(rows[rows > 0], [0.05, 0.95], method="inverted_cdf"))
    assert (log.low, log.low + log.width) == pytest.approx((low, high))  # type: ignore[union-attr]
    by_hand = [
        lambda errors: np.minimum(errors / clip.point, 1),  # type: ignore[union-attr]
        lambda errors: np.clip(0.25 + 0.5 * (np.log(errors) - low) / (high - low), 0, 1),
    ]
    for limit, statistic in zip(detector.limits.each, by_hand, strict=True):
        values = statistic(1.1 * rows).mean(axis=1).reshape(DAY, 2048)
        worst = values[values.mean(axis=1).argmax()]
        assert limit.mean == pytest.approx(worst.mean() + 2.33 * worst.std(ddof=1) / math.sqrt(2048), rel=1e-9)
    assert (FRACTIONS[0], FRACTIONS[-1], len(FRACTIONS)) == pytest.approx((0.01, 0.6, 8))
    assert hours[0] <= detector.limits.worst_hour <= hours[-1]


def test_a_mean_at_the_limit_gives_no_more_alarms_than_the_bound_allows() -> None:
    streams, horizon, at = 400, 3000, 300.0
    generator, limits = np.random.default_rng(0), np.array([0.3])
    alarms, evidence = np.zeros(streams), np.repeat(nothing(1)[None], streams, axis=0)
    for _ in range(horizon):  # 16 rows, each 0 or 1 with the limit's probability: the most that a bet can win
        ones = generator.binomial(16, limits[0], size=(streams, 1, 1))
        factors = ones * np.log1p(bets_above(limits) * 0.7) + (16 - ones) * np.log1p(-bets_above(limits) * 0.3)
        evidence = advanced(evidence, factors)
        alarm = mean_evidence(evidence) >= at
        alarms += alarm
        evidence[alarm] = -np.inf
    assert 0.2 * horizon / at < alarms.mean() <= horizon / at + 2 * alarms.std() / math.sqrt(streams)


def test_factors_of_many_rows_are_their_products_and_never_below_a_floor() -> None:
    values = np.array([[0.0, 1.0], [0.3, 0.2], [1.0, 0.0]])
    limits = np.array([0.5, 0.9])
    for bets in (bets_above(limits), bets_below(limits)):
        single = 1.0 + bets[None] * (values - limits)[:, :, None]
        assert single.min() >= 0.4 - 1e-12
        np.testing.assert_allclose(np.exp(log_factors(values, limits, bets)), single.prod(axis=0))


# --- what it sees, and what it does not -------------------------------------------------------------------------------


@pytest.mark.parametrize(("law", "ratio", "within"), [(squared_changes, 2.0, 5), (spikes, 2.0, 40), (flips, 2.0, 20)])
def test_a_change_is_seen_stands_and_clears(law: Any, ratio: float, within: int) -> None:
    detector, generator = RegressionDetector(*baseline(law), tolerance=0.1), np.random.default_rng(2)
    assert detector.limits.score == ("flips" if law is flips else "mse")
    for _ in range(300):
        detector.update(law(generator, ROWS))
    assert (detector.standing, detector.since_update) == (False, None)
    while not detector.standing and detector.updates < 300 + within:
        detector.update(law(generator, ROWS, level=1.2 * ratio))
    assert detector.standing and detector.since_update == detector.updates and detector.evidence >= 43200
    began = detector.since_update
    for _ in range(100):
        detector.update(law(generator, ROWS, level=1.2 * ratio))
    assert detector.standing and detector.since_update == began, "an alarm stands, and evidence goes on"
    assert 1e9 < detector.evidence <= MOST_EVIDENCE
    for _ in range(400):
        detector.update(law(generator, ROWS, level=0.8))
    assert not detector.standing and detector.since_update is None and detector.evidence < 50


def test_no_rows_are_no_step_and_rows_that_are_not_finite_are_the_worst(detector: RegressionDetector) -> None:
    generator = np.random.default_rng(3)
    detector.update(squared_changes(generator, ROWS))
    before = detector.to_dict()
    assert detector.update(np.zeros((0, TRIALS))) == detector.evidence
    assert detector.to_dict() == before
    other = RegressionDetector.from_dict(before)
    for bad in (np.nan, np.inf):
        sample = squared_changes(generator, ROWS)
        sample[:40] = bad
        huge = np.where(np.isfinite(sample), sample, 1e300)
        assert detector.update(sample) == other.update(huge) > 0
    for _ in range(3):
        detector.update(np.full((ROWS, TRIALS), np.nan))
    assert detector.standing and math.isfinite(detector.evidence)


def test_the_unit_of_errors_decides_nothing_up_to_the_largest_numbers() -> None:
    rows, hours = squared_changes(np.random.default_rng(6), DAY * 256), np.repeat(np.arange(DAY), 256)
    usual = RegressionDetector(rows, hours)
    for unit in (1e-290, 1e308 / rows.max()):
        other = RegressionDetector(unit * rows, hours)
        assert other.limits.means == pytest.approx(usual.limits.means, rel=1e-9)
        assert other.delay(2.0) == usual.delay(2.0) and other.detectable_ratio(60) == usual.detectable_ratio(60)
        assert RegressionDetector.from_dict(other.to_dict()).to_dict() == other.to_dict()


def test_the_same_rows_twice_are_evidence_twice_so_the_caller_drops_them(detector: RegressionDetector) -> None:
    rows = squared_changes(np.random.default_rng(4), 64, 1.6)
    once = detector.update(rows)
    assert RegressionDetector.from_dict(detector.to_dict()).update(rows[:0]) == once
    assert detector.update(rows) > once


def test_its_own_prediction_is_right_within_a_factor_of_two() -> None:
    generator = np.random.default_rng(5)
    for law, ratios in ((squared_changes, (1.35, 1.7)), (flips, (1.6, 2.5)), (spikes, (2.5, 4.0))):
        rows, hours = law(generator, DAY * 2048), np.repeat(np.arange(DAY), 2048)
        hourly = in_bins(rows, hours, "flips" if law is flips else "mse")
        exact = RegressionDetector(rows, hours, tolerance=0.1)
        start, binned = exact.to_dict(), RegressionDetector.of_hours(hourly, tolerance=0.1)
        worst = rows[hours == exact.limits.worst_hour]
        for ratio in ratios:
            seen = []
            for _ in range(15):
                run = RegressionDetector.from_dict(start)
                while not run.standing and run.updates < 200:
                    if law is flips:
                        run.update(flips(generator, ROWS, level=ratio * worst.mean() / rows.mean()))
                    else:
                        run.update(ratio * worst[generator.integers(len(worst), size=ROWS)])
                seen.append(run.updates)
            for detector in (exact, binned):
                predicted, in_rows = detector.delay(ratio)
                assert 0.5 <= predicted / float(np.median(seen)) <= 2.0, (law, ratio, predicted, seen)
                assert in_rows == predicted * 256


def test_small_ratios_are_never_seen_and_more_rows_are_seen_sooner(detector: RegressionDetector) -> None:
    assert detector.delay(1.05) == (math.inf, math.inf)
    assert detector.delay(0.5) == (math.inf, math.inf)
    assert detector.delay(1.5, rows=64)[0] > detector.delay(1.5)[0] >= detector.delay(2.5)[0] >= 1.0
    detector.update(squared_changes(np.random.default_rng(0), 64))
    assert detector.delay(1.5) == detector.delay(1.5, rows=64), "as many rows as there were"
    smallest = detector.detectable_ratio(60, rows=256)
    assert 1.1 < smallest < 1.3 < detector.detectable_ratio(3, rows=256) < 2.0
    assert detector.delay(smallest, rows=256)[0] <= 60 < detector.delay(0.99 * smallest, rows=256)[0]


@pytest.mark.parametrize("elsewhere", [0.0, 1e-15, 1e-7])
def test_where_few_rows_carry_all_error_their_size_is_watched(elsewhere: float) -> None:
    def law(generator: Any, rows: int, level: float = 1.0) -> Array:
        few = spikes(generator, rows, level)
        return np.where(few > 0.0, few, elsewhere * generator.random(few.shape))  # rounding does not become worse

    rows, hours = baseline(law)
    detector = RegressionDetector(rows, hours, tolerance=0.1)
    size = detector.limits.each[2].statistic
    assert isinstance(size, Size) and size.neutral == detector.limits.means[2]
    counts = rows * 1.1 > size.least
    assert rows[rows <= size.least].sum() <= 1e-4 * rows.sum() and 0.04 < counts.mean() < 0.06
    sizes = np.where(counts, np.clip((np.log(np.maximum(1.1 * rows, 1e-99)) - size.low) / size.width, 0, 1), 0)
    of_hours = sizes.reshape(DAY, -1).sum(axis=1) / counts.reshape(DAY, -1).sum(axis=1)
    assert size.neutral == pytest.approx(of_hours.max(), rel=1e-9), "of 24 hours the worst, by itself"
    binned = RegressionDetector.of_hours(in_bins(rows, hours), tolerance=0.1)
    assert binned.limits.means == pytest.approx(detector.limits.means, rel=0.03)
    generator, seen = np.random.default_rng(12), []
    for _ in range(5):
        run = RegressionDetector.from_dict(detector.to_dict())
        while not run.standing and run.updates < 60:
            run.update(law(generator, ROWS, level=2.4))
        seen.append(run.updates)
    assert np.median(seen) <= 25
    if not elsewhere:  # what is predicted is that all errors rise
        assert 0.5 <= binned.delay(2.0)[0] / float(np.median(seen)) <= 2.0
    assert RegressionDetector.from_dict(json.loads(json.dumps(run.to_dict()))).evidence == run.evidence


def test_what_no_row_says_anything_of_is_no_evidence_and_an_alarm_ends_in_silence() -> None:
    detector, generator = RegressionDetector(*baseline(spikes), tolerance=0.1), np.random.default_rng(13)
    for _ in range(500):
        detector.update(np.zeros((8, TRIALS)))
    assert len(detector.limits.each) == 3 and detector.evidence < 50, "not the number of assessments"
    while not detector.standing:
        detector.update(spikes(generator, ROWS, level=4.0))
    for _ in range(100):
        detector.update(np.zeros((ROWS, TRIALS)))
    assert not detector.standing


def test_the_largest_of_many_hours_needs_fewer_standard_errors() -> None:
    generator = np.random.default_rng(14)
    for hours in (1, 2, 4, 24):
        found = 0.3 + 0.02 * generator.normal(size=(4000, hours)).max(axis=1)
        limits = [limit_of_size(mean, 0.02, 1000.0, hours) for mean in found.tolist()]
        assert np.mean(np.array(limits) < 0.3) <= 0.014, "below what all hours have in 1 %"
    assert limit_of_size(0.0, 0.0, 20.0, 24) == upper_limit(0.0, 0.0, 20), "what none among so many rows bounds"


# --- the limit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [squared_changes, spikes, flips])
def test_hours_in_bins_give_the_same_limits_within_binning(law: Any) -> None:
    rows, hours = baseline(law)
    exact = RegressionDetector(rows, hours)
    binned = RegressionDetector.of_hours(in_bins(rows, hours, exact.limits.score))
    assert binned.limits.score == exact.limits.score and binned.threshold == exact.threshold
    for one, other in zip(exact.limits.each, binned.limits.each, strict=True):
        assert other.mean == pytest.approx(one.mean, rel=0.03)
    assert binned.detectable_ratio(60) == pytest.approx(exact.detectable_ratio(60), rel=0.05)
    assert binned.limits.worst_hour_ratio == pytest.approx(exact.limits.worst_hour_ratio, rel=0.03)


def test_the_tolerance_follows_from_the_span_and_can_be_said() -> None:
    rows, hours = baseline(squared_changes, rows=ROWS)
    assert RegressionDetector(rows, hours).limits.tolerance == 0.25
    assert RegressionDetector(rows, hours, tolerance=0.0).limits.tolerance == 0.0
    hours = np.where(hours == hours[-1], hours[0] + WEEK - 1, hours)
    assert RegressionDetector(rows, hours).limits.tolerance == 0.10
    for rate, interval, expected in ((1.0, 60, 43200.0), (2.0, 60, 21600.0), (1.0, 300, 8640.0)):
        assert threshold(rate, interval) == expected


def test_thin_hours_are_joined_and_it_says_how_long_its_hour_is() -> None:
    generator = np.random.default_rng(6)
    rows, hours = squared_changes(generator, WEEK * 40), np.repeat(np.arange(WEEK), 40)
    limits = RegressionDetector(rows, hours).limits
    assert limits.block_hours == 7 and limits.rows == WEEK * 40
    assert "joined: the longest has 7 hours" in limits.notes[0]
    assert RegressionDetector.of_hours(in_bins(rows, hours)).limits.block_hours == 7
    quiet = np.append(
        np.repeat(np.arange(WEEK - 1), 256), [WEEK - 1] * 3
    )  # three rows at the end go with the hour before
    assert RegressionDetector(squared_changes(generator, len(quiet)), quiet).limits.block_hours == 2
    shuffled = generator.permutation(len(rows))
    assert RegressionDetector(rows[shuffled], hours[shuffled]).limits.means == pytest.approx(limits.means)


def test_a_bad_hour_is_named_and_can_be_left_out() -> None:
    rows, hours = baseline(squared_changes)
    bad = hours[0] + 3
    rows[hours == bad] *= 5.0
    hourly = in_bins(rows, hours)
    with_it = RegressionDetector.of_hours(hourly).limits
    assert with_it.worst_hour == bad and with_it.worst_hour_ratio > 2.0
    without = RegressionDetector.of_hours(hourly.without_hour(bad)).limits
    assert without.worst_hour_ratio < 2.0 and without.means[0] < with_it.means[0]


def test_an_inherited_limit_is_the_predecessors_times_the_ratio() -> None:
    for law, score in ((squared_changes, "mse"), (flips, "flips")):
        hourly = in_bins(*baseline(law), score)
        own, inherited = RegressionDetector.of_hours(hourly), RegressionDetector.of_hours(hourly.scaled(1.3))
        generator = np.random.default_rng(7)
        sample = law(generator, ROWS)
        if score == "mse":
            assert inherited.update(1.3 * sample) == pytest.approx(own.update(sample), rel=0.05)
        else:
            assert inherited.limits.means / own.limits.means == pytest.approx(1.3, rel=0.1)


def test_errors_that_hardly_vary_leave_room_above_the_limit() -> None:
    hours = np.repeat(np.arange(DAY), ROWS)
    for rows in (np.full((len(hours), 2), 3.0), 3.0 + 1e-3 * np.random.default_rng(0).random((len(hours), 2))):
        detector = RegressionDetector(rows, hours)
        assert np.all(detector.limits.means <= 0.97)
        for _ in range(200):
            detector.update(np.full((ROWS, 2), 3.0))
        assert detector.evidence < 1.0 and not detector.standing
        for _ in range(5):
            detector.update(np.full((ROWS, 2), 4.5))
        assert detector.standing


def test_flips_that_never_happened_have_a_limit_and_are_seen() -> None:
    hours = np.repeat(np.arange(DAY), ROWS)
    detector = RegressionDetector(np.zeros((len(hours), 4)), hours)
    assert detector.limits.score == "flips" and "taken as flips" in detector.limits.notes[0]
    assert detector.limits.means == pytest.approx([upper_limit(0.0, 0.0, ROWS)])
    for _ in range(50):
        detector.update(np.zeros((ROWS, 4)))
    assert not detector.standing
    flipped = np.zeros((ROWS, 4))
    flipped[:30] = 1.0
    for _ in range(3):
        detector.update(flipped)
    assert detector.standing


# --- several pods -----------------------------------------------------------------------------------------------------


def test_pods_that_come_or_go_raise_nothing() -> None:
    assert pooled_evidence([50_000.0] * 4, 4) == 50_000.0
    assert pooled_evidence([50_000.0] * 4 + [0.0] * 36, 40) == 5_000.0
    assert pooled_evidence([50_000.0], 40) == 1_250.0
    assert pooled_evidence([], 3) == 0.0
    with pytest.raises(InvalidInputError, match="2 pods answer"):
        pooled_evidence([1.0, 2.0], 1)


# --- state ------------------------------------------------------------------------------------------------------------


def test_it_goes_on_to_the_bit_in_the_middle_of_an_alarm(detector: RegressionDetector) -> None:
    generator = np.random.default_rng(8)
    levels = [1.0] * 3 + [2.5] * 4 + [1.1] * 3 + [0.8] * 30
    stood = False
    for level in levels:
        text = json.dumps(detector.to_dict(), allow_nan=False)
        restored = RegressionDetector.from_dict(json.loads(text))
        assert restored.to_dict() == detector.to_dict()
        sample = squared_changes(generator, ROWS, level)
        assert restored.update(sample) == detector.update(sample)
        assert restored.to_dict() == detector.to_dict() and restored.since_update == detector.since_update
        assert restored.delay(1.7) == detector.delay(1.7)
        stood = stood or detector.standing
        detector = restored
    assert stood and not detector.standing
    assert len(text) < 8_000


def damaged(right: dict[str, Any]) -> list[Any]:
    limits = right["limits"]
    each, size = limits["each"], {"kind": "size", "least": 0.0, "low": 0.0, "width": 1.0, "neutral": 0.5}
    return [
        None,
        {**right, "format": 0},
        {name: value for name, value in right.items() if name != "log_evidence"},
        {**right, "log_evidence": [["0x0p0"] * 8]},
        {**right, "log_evidence": [["nan"] * 8] * 2},
        {**right, "log_evidence": [["x"] * 8] * 2},
        {**right, "threshold": float("nan")},
        {**right, "threshold": "1"},
        {**right, "standing": True},
        {**right, "since_update": 7, "standing": True},
        {**right, "updates": 1.5},
        {**right, "rows_seen": 5},
        {**right, "limits": {**limits, "score": "flips"}},
        {**right, "limits": {**limits, "each": []}},
        {**right, "limits": {**limits, "each": [{**each[0], "mean": 1.5}]}},
        {**right, "limits": {**limits, "worst_hour": "1"}},
        {**right, "limits": {**limits, "each": [{**each[0], "statistic": {"kind": "clip"}}]}},
        {**right, "limits": {**limits, "each": [{**each[0], "statistic": {"kind": "clip", "point": 0.0}}]}},
        {**right, "limits": {**limits, "each": [each[0], {"statistic": {**size, "width": 0.0}, "mean": 0.5}]}},
        {**right, "limits": {**limits, "each": [each[0], {"statistic": {**size, "neutral": -0.1}, "mean": 0.5}]}},
        {**right, "limits": {**limits, "power": limits["power"][1:]}},
        {**right, "limits": {**limits, "power": [None] * len(limits["power"])}},
        {**right, "limits": {**limits, "tolerance": -1.0}},
    ]


def test_a_damaged_state_is_refused(detector_dict: dict[str, Any]) -> None:
    for data in damaged(detector_dict):
        with pytest.raises(InvalidInputError):
            RegressionDetector.from_dict(data)


# --- refusals ---------------------------------------------------------------------------------------------------------

SOME = squared_changes(np.random.default_rng(0), 600)
HOURS = np.repeat(np.arange(DAY), 25)


@pytest.mark.parametrize(
    ("rows", "hours", "options", "said"),
    [
        (SOME, None, {}, "never a limit in time"),
        (SOME, HOURS % 23, {}, "spans 24 hours.*this one spans 23"),
        (SOME[:0], HOURS[:0], {}, "this one spans 0"),
        (SOME[:200], np.arange(200), {}, "256 rows of baseline, there are 200"),
        (SOME, HOURS[:-1], {}, "599 hours do not fit 600 rows"),
        (SOME, HOURS + 0.5, {}, "whole numbers"),
        (SOME[:, 0], HOURS, {}, "shape"),
        (-SOME, HOURS, {}, "at least 0"),
        (np.zeros((600, 2)), HOURS, {"score": "mse"}, "needs errors above 0"),
        (np.full((600, 2), np.nan), HOURS, {}, "needs errors above 0"),
        (np.where(np.arange(1200).reshape(600, 2) < 1195, np.nan, 1.0), HOURS, {}, "no room"),
        (np.ones((600, 2)), HOURS, {}, "no room"),
        (2.0 * np.ones((600, 2)), HOURS, {"score": "flips"}, "at most 1"),
        (SOME, HOURS, {"score": "accuracy"}, "not known"),
        (SOME, HOURS, {"tolerance": -0.1}, "tolerance"),
        (SOME, HOURS, {"tolerance": math.nan}, "tolerance"),
        (SOME, HOURS, {"false_alarms_per_month": 0.0}, "false_alarms_per_month"),
        (SOME, HOURS, {"false_alarms_per_month": True}, "false_alarms_per_month"),
        (SOME, HOURS, {"interval_seconds": math.inf}, "interval_seconds"),
        (SOME, HOURS, {"interval_seconds": 30 * 86400}, "the threshold must lie between"),
        (SOME, HOURS, {"clear_evidence": 0.5}, "clear_evidence must lie between"),
    ],
)
def test_what_gives_no_limit_is_refused(rows: Any, hours: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        robmon.RegressionDetector(rows, hours, **options)


def test_updates_of_another_shape_and_numbers_without_a_meaning_are_refused(detector: RegressionDetector) -> None:
    before = detector.to_dict()
    for bad in ([1.0], 1.0, [[[1.0]]], np.zeros((3, 0)), [[-1.0]], [["x"]]):
        with pytest.raises(InvalidInputError):
            detector.update(bad)
    for ratio in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="ratio"):
            detector.delay(ratio)
    with pytest.raises(InvalidInputError, match="within"):
        detector.detectable_ratio(0)
    with pytest.raises(InvalidInputError, match="rows"):
        detector.delay(2.0, rows=0)
    assert detector.to_dict() == before
    always_flips = RegressionDetector(*baseline(flips, rows=ROWS), score="flips")
    with pytest.raises(InvalidInputError, match="at most 1"):
        always_flips.update([[1.5]])


def test_errors_of_half_precision_are_numbers_and_complex_ones_are_not() -> None:
    torch = pytest.importorskip("torch")
    errors = np.random.default_rng(15).lognormal(size=(4800, 3))
    hours = np.repeat(np.arange(48), 100)
    assert RegressionDetector(torch.tensor(errors).bfloat16(), hours).threshold == 43200
    for wrong in (errors + 1j, torch.tensor(errors + 1j)):
        with pytest.raises(InvalidInputError, match="must be numbers"):
            RegressionDetector(wrong, hours)
