"""Inputs on which drift is easily got wrong: each said nothing, or too much, of one statistic over deciles."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import robmon
from robmon.drift.comparison import FeatureDrift
from robmon.errors import InvalidInputError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def only(baseline: Any, current: Any) -> FeatureDrift:
    """Drift of the only feature."""
    (feature,) = robmon.drift(baseline, current).features
    return feature


def column(cells: Any, **options: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(cells, **options)})


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
@pytest.mark.parametrize("now", [1e6, 1.0, "no zeros"])
def test_a_frequent_value_that_goes_is_seen(share: float, now: Any) -> None:
    r = rng()
    baseline = np.where(r.random((1000, 1)) < share, 0.0, r.exponential(1, (1000, 1)))
    current = r.exponential(1, (256, 1)) if now == "no zeros" else np.full((256, 1), now)
    feature = only(baseline, current)
    assert feature.drifted and feature.psi > 0.25 and feature.js > 0.2 and feature.ks > 0.25


def test_zeros_that_become_small_are_seen() -> None:
    r = rng()
    baseline = np.where(r.random((1000, 1)) < 0.6, 0.0, r.exponential(1, (1000, 1)))
    current = np.where(r.random((256, 1)) < 0.6, 0.001, r.exponential(1, (256, 1)))
    feature = only(baseline, current)
    assert feature.drifted and feature.psi > 1 and feature.ks > 0.4


def test_numbers_among_objects_are_numbers() -> None:
    r = rng()
    baseline, current = ([None, *r.normal(mean, size=300)] for mean in (0, 10))
    feature = only(column(baseline, dtype=object), column(current, dtype=object))
    assert feature.drifted and feature.ks == 1.0 and feature.wasserstein == pytest.approx(10, rel=0.1)
    assert feature.test == "ks" and feature.psi > 1


def test_categories_that_are_all_new_are_unseen() -> None:
    before, now = ([f"{letter}{i}" for i in range(10_000)] for letter in "xy")
    feature = only(column(before), column(now))
    assert feature.unseen == 1.0
    assert not feature.measured and feature.reason == "identifier"  # each occurs once: a new one is no news
    r = rng()
    often = only(column(r.choice(before[:2000], 10_000)), column(r.choice(now[:2000], 1000)))
    assert often.unseen == 1.0 and often.drifted and often.psi > 1


@pytest.mark.parametrize("now", [0.001, 0.2])
def test_a_new_category_is_counted(now: float) -> None:
    r = rng()
    current = np.where(r.random(2000) < now, "new", r.choice(["a", "b"], 2000))
    feature = only(column(r.choice(["a", "b"], 2000)), column(current))
    assert feature.unseen == np.mean(current == "new")
    assert feature.drifted == (now > 0.1)


def test_text_is_not_measured() -> None:
    texts = [f"message {i} of somebody" for i in range(600)]
    feature = only(column(texts[:300]), column(texts[300:]))
    assert (feature.measured, feature.reason, feature.drifted) == (False, "text", False)
    assert feature.psi is feature.ks is feature.pvalue is None
    assert robmon.drift(column(texts[:300]), column(texts[300:])).all is None


@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
def test_a_baseline_of_nothing_is_told_apart(what: float) -> None:
    feature = only(np.full((500, 1), what), rng().normal(size=(500, 1)))
    assert feature.drifted and feature.ks is None and feature.wasserstein is None
    assert (feature.missing, feature.infinite) == ((-1.0, 0.0) if np.isnan(what) else (0.0, -1.0))
    same = only(np.full((500, 1), what), np.full((500, 1), what))
    assert not same.drifted and same.psi == 0.0 and (same.missing, same.infinite) == (0.0, 0.0)


def test_numbers_out_of_range_and_infinities_are_shares() -> None:
    r = rng()
    baseline, current = r.normal(size=(1000, 1)), r.normal(size=(1000, 1))
    current[np.argsort(current[:, 0])[-90:]] = 1e9
    feature = only(baseline, current)
    assert feature.out_of_range == pytest.approx(0.09, abs=0.003) and feature.drifted and feature.wasserstein > 1e7
    current = r.normal(size=(1000, 1))
    current[:10] = np.inf
    feature = only(baseline, current)
    assert feature.infinite == pytest.approx(0.01) and feature.out_of_range <= 0.003
    assert feature.pvalue < 0.05


def test_a_change_of_dependence_alone_is_not_seen_feature_by_feature() -> None:
    """As the docstring says; `maximum_mean_discrepancy` sees it."""
    r = rng()
    baseline, current = (r.multivariate_normal([0, 0], [[1, c], [c, 1]], 500) for c in (0.9, -0.9))
    assert robmon.drift(baseline, current).drifted_features == 0


def test_a_column_without_its_zeros_or_names_keeps_both_columns() -> None:
    frame = pd.DataFrame(rng().normal(size=(60, 2)), columns=[1, "1"])
    result = robmon.drift(frame, frame)
    assert [feature.name for feature in result.features] == ["1", "1 (2)"]
    assert len(result.to_dict()["features"]) == 2 and json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("before", "now"), [(0.1, np.float32(0.1)), (3.0, 3.0000001), (np.float32(1e-9), 1e-9)])
def test_a_constant_is_the_same_in_either_precision(before: float, now: float) -> None:
    feature = only(np.full((200, 1), before), np.full((200, 1), now))
    assert not feature.drifted and feature.psi == feature.ks == feature.wasserstein == feature.out_of_range == 0.0
    changed = only(np.full((200, 1), before), np.full((200, 1), 1.001 * float(before)))
    assert changed.drifted and changed.wasserstein == np.inf and changed.out_of_range == 1.0


def test_small_samples_of_one_law_are_no_drift() -> None:
    """At 64 rows against 1,024 one of 20 features had more than 0.25 in 84 % of samples."""
    r, large, drifted, means = rng(1), 0, 0, []
    for _ in range(60):
        result = robmon.drift(r.normal(size=(1024, 20)), r.normal(size=(64, 20)))
        large += max(feature.psi for feature in result.features) > 0.25
        drifted += result.drifted_features > 0
        means.append(result.all)
    assert large <= 12 and drifted <= 3 and np.mean(means) < 0.02


@pytest.mark.parametrize("sizes", [(1, 1), (29, 1000), (1000, 29)])
def test_too_few_rows_are_not_measured(sizes: tuple[int, int]) -> None:
    before, now = (rng().normal(size=(rows, 1)) for rows in sizes)
    feature = only(before, now)
    assert not feature.measured and not feature.drifted and feature.psi is feature.pvalue is None
    assert feature.reason == f"too few rows: {sizes[1]} against {sizes[0]}, and 30 are needed"


def test_few_rows_on_both_sides_have_fewer_groups() -> None:
    r = rng(2)
    largest = [
        max(f.psi for f in robmon.drift(r.normal(size=(64, 5)), r.normal(size=(64, 5))).features) for _ in range(60)
    ]
    assert np.mean(np.array(largest) > 0.25) < 0.25  # 0.96, of ten groups


@pytest.mark.parametrize("rows", [64, 256])
def test_many_classes_and_few_rows_are_no_drift(rows: int) -> None:
    r = rng(3)
    found = [only(column(r.choice(50, 1024).astype(str)), column(r.choice(50, rows).astype(str))) for _ in range(30)]
    assert np.mean([feature.psi for feature in found]) < 0.07 and not any(feature.drifted for feature in found)
    assert only(column(r.choice(50, 1024).astype(str)), column(r.choice(25, 256).astype(str))).drifted


def test_a_distance_beside_the_index_does_not_grow_with_the_rows() -> None:
    r = rng()
    for rows in (64, 1024, 4096):
        feature = only(r.normal(size=(rows, 1)), r.normal(100, size=(rows, 1)))
        assert feature.js == 1.0 and feature.ks == 1.0


def test_time_stamps_are_not_measured() -> None:
    utc = pd.date_range("2026-01-01", periods=100, freq="h", tz="UTC")
    for now in (utc.tz_convert("Europe/Berlin"), utc + pd.Timedelta(days=300), utc.tz_localize(None)):
        assert only(column(utc), column(now)).reason == "datetime"
    objects = [stamp.date() for stamp in utc]
    assert only(column(objects, dtype=object), column(objects, dtype=object)).reason == "datetime"


@pytest.mark.parametrize("dtype", ["int64", "float64", "Int64"])
def test_a_row_counter_is_an_identifier(dtype: str) -> None:
    feature = only(column(np.arange(1000), dtype=dtype), column(np.arange(5000, 5300), dtype=dtype))
    assert (feature.measured, feature.reason, feature.drifted) == (False, "identifier", False)
    keys = rng().choice(10**9, 1300, replace=False)
    frames = [pd.DataFrame({"customer_id": part, "amount": part}) for part in (keys[:1000], keys[1000:] + 10**9)]
    named, amount = robmon.drift(*frames).features
    assert named.reason == "identifier" and amount.drifted


def test_another_type_is_told_and_is_drift() -> None:
    r = rng()
    values = r.random(300) < 0.5
    feature = only(column(values), column([str(value).lower() for value in values]))
    assert feature.type_changed == 1.0 and feature.drifted and feature.ks is None
    back = only(column([str(value) for value in values]), column(values))
    assert back.type_changed == 1.0 and back.drifted
    padded = only(column(r.choice(["A", "B"], 300)), column(r.choice(["A ", "B "], 300)))
    assert padded.unseen == 1.0 and padded.drifted


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_tensors_of_every_precision(dtype: torch.dtype) -> None:
    values = torch.from_numpy(rng().normal(size=(200, 2))).to(dtype)
    result = robmon.drift(values, values + 2)
    assert result.drifted_features == 2


def test_one_shifted_feature_of_twenty_is_counted() -> None:
    r = rng(4)
    shift = np.append(0.5, np.zeros(19))
    found = [robmon.drift(r.normal(size=(1024, 20)), r.normal(shift, size=(256, 20))) for _ in range(40)]
    assert sum(result.features[0].drifted for result in found) >= 38
    assert max(result.all for result in found) < 0.1  # where the mean says nothing


def test_one_broken_sensor_of_a_hundred_is_counted_as_one() -> None:
    r = rng(5)
    current = r.normal(size=(256, 100))
    current[:, 7] += 10
    result = robmon.drift(r.normal(size=(1024, 100)), current)
    assert [feature.name for feature in result.features if feature.drifted] == ["input[7]"]
    assert result.drifted_features == 1 and result.features_watched == 100 and result.all < 0.25


# Faults of others that were reported to them.


def test_an_outlier_empties_no_bins_and_needs_no_memory() -> None:
    r = rng()
    baseline = np.append(r.normal(size=1000), 1e300)[:, None]
    assert not only(baseline, r.normal(size=(500, 1))).drifted
    assert only(baseline, r.normal(1, size=(500, 1))).psi > 0.25
    assert only(baseline, np.append(r.normal(size=500), -1e300)[:, None]).ks < 0.1


def test_an_empty_column_costs_nothing_but_itself() -> None:
    r = rng()
    frame = pd.DataFrame({"empty": np.full(300, np.nan), "none": [None] * 300, "x": r.normal(size=300)})
    other = frame.assign(x=r.normal(3, size=300))
    assert [feature.drifted for feature in robmon.drift(frame, other).features] == [False, False, True]
    filled = robmon.drift(frame, frame.assign(empty=1.0, none="a"))
    assert [feature.drifted for feature in filled.features] == [True, True, False]


def test_missing_values_are_part_of_the_test() -> None:
    r = rng()
    for missing, is_drift in ((0.0, False), (0.1, True)):
        now = np.where(r.random((500, 1)) < missing, np.nan, r.normal(size=(500, 1)))
        feature = only(r.normal(size=(1000, 1)), now)
        assert feature.drifted == is_drift and feature.missing == np.isnan(now).mean()


def test_a_whole_number_with_few_values_is_compared_by_shares_and_one_with_many_by_distance() -> None:
    r = rng()
    few, many = r.integers(0, 2, (2, 500, 1)), r.poisson(50, (2, 500, 1))
    assert only(*few).test == "chi_square" and only(*many).test == "ks"
    assert not only(*few).drifted and not only(*many).drifted


def test_the_number_of_rows_decides_no_verdict_on_rows_that_are_alike() -> None:
    r = rng(6)
    for rows in (50, 1000, 20_000):
        assert robmon.drift(r.normal(size=(rows, 10)), r.normal(size=(rows, 10))).drifted_features == 0


@pytest.mark.parametrize("q", [0, 1, -0.1, True, "a", None])
def test_a_rate_is_between_0_and_1(q: Any) -> None:
    with pytest.raises(InvalidInputError, match="q must be a number between 0 and 1"):
        robmon.drift(np.zeros((50, 1)), np.zeros((50, 1)), q=q)


def test_images_are_compared_by_mean_deviation_and_contrast_of_each_channel() -> None:
    r = rng()
    before, now = (r.normal(size=(100, 3, 8, 8)) for _ in range(2))
    now[:, 1] = (now[:, 1] + np.roll(now[:, 1], 1, axis=-1) + np.roll(now[:, 1], 1, axis=-2)) / np.sqrt(3)  # blurred
    result = robmon.drift(before, now)
    names = [f"channel_{i}.{statistic}" for i in range(3) for statistic in ("mean", "std", "contrast")]
    assert [feature.name for feature in result.features] == names
    assert {feature.name for feature in result.features if feature.drifted} >= {"channel_1.contrast"}
    assert not any(feature.drifted for feature in result.features if "channel_1" not in feature.name)


def test_cells_of_every_kind_are_read() -> None:
    from decimal import Decimal

    r = rng()
    odd = [10**400, -(10**400), Decimal("NaN"), Decimal("sNaN"), pd.NA, None, float("nan"), np.float32(1), True]
    cells = [*odd, *r.normal(size=300)]
    feature = only(column(cells, dtype=object), column(cells, dtype=object))
    assert feature.measured and not feature.drifted and feature.shares["missing"] == pytest.approx(5 / 309)
    assert feature.shares["infinite"] == pytest.approx(2 / 309)
    masked = np.ma.masked_array(np.append(r.normal(size=(100, 1)), np.full((20, 1), 1e9), axis=0), mask=False)
    masked[100:] = np.ma.masked
    hidden = only(r.normal(size=(500, 1)), masked)
    assert hidden.shares["missing"] == pytest.approx(20 / 120) and hidden.out_of_range <= 0.02
    for dtype in ("boolean", "Int64", "Float64", "category", "string", "float32[pyarrow]", "string[pyarrow]"):
        values = r.integers(0, 2, 200)
        cells = [None if i % 9 == 0 else v for i, v in enumerate(values.tolist())]
        typed = pd.Series(cells, dtype="Int64").astype(dtype if "string" not in dtype else "str").astype(dtype)
        assert not only(pd.DataFrame({"x": typed}), pd.DataFrame({"x": typed})).drifted, dtype


def test_names_that_are_seldom_are_no_drift_where_nothing_changed() -> None:
    r = rng(7)
    drifted = 0
    for _ in range(60):
        before, now = (np.char.add("k", (r.zipf(1.6, size) % 100_000).astype(str)) for size in (1024, 256))
        feature = only(column(before), column(now))
        assert feature.measured and feature.unseen is not None and feature.unseen > 0
        drifted += feature.drifted
    assert drifted <= 4  # more has a probability of 0.0003 at 1 %


@pytest.mark.parametrize("shape", [(40, 0), (0, 3), (40, 3, 0), (0,)])
def test_inputs_without_numbers_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="without rows or without features"):
        robmon.drift(np.zeros(shape), np.zeros(shape))


@pytest.mark.parametrize("dtype", ["int64", "uint64", "Int64"])
def test_whole_numbers_that_floats_do_not_tell_apart_are_not_measured(dtype: str) -> None:
    """Keys of 64 bits that count up were one number, and so without any drift."""
    generator = np.random.default_rng(0)
    keys = [pd.DataFrame({"key": generator.integers(2**60 + at, 2**60 + at + 5, 300)}).astype(dtype) for at in (0, 5)]
    feature = robmon.drift(*keys).features[0]
    assert not feature.measured and feature.reason == "wide integers"
    apart = [pd.DataFrame({"key": generator.integers(0, 9, 300) * 2**55}).astype(dtype) for _ in range(2)]
    assert robmon.drift(*apart).features[0].measured, "these are told apart"
