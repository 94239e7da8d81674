from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import robmon
from robmon.drift.features import feature_matrix
from robmon.drift.psi import OTHER, Categories, Histograms
from robmon.drift.statistics import stability_index
from robmon.errors import InvalidInputError


def test_formula():
    p, q = np.array([30.5, 50.5, 20.5]) / 101.5, np.array([60.5, 20.5, 20.5]) / 101.5
    assert stability_index([30, 50, 20], [60, 20, 20]) == pytest.approx(np.sum((q - p) * np.log(q / p)))
    assert stability_index([30, 50, 20, 0], [60, 20, 20, 0]) == stability_index([30, 50, 20], [60, 20, 20])


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=3), st.lists(st.integers(0, 1000), min_size=3, max_size=3))
def test_index_is_a_symmetric_distance(p, q):
    assert stability_index(p, q) >= 0.0
    assert stability_index(p, q) == pytest.approx(stability_index(q, p))
    assert stability_index(p, p) == 0.0


def test_without_drift_it_is_about_what_chance_gives():
    generator = np.random.default_rng(0)
    reference = Histograms.fit(generator.normal(size=(4000, 300)))
    psi = reference.psi(generator.normal(size=(500, 300)))
    assert psi.mean() == pytest.approx(9 * (1 / 500 + 1 / 4000), rel=0.1)


def test_shifts_are_seen_and_thresholds_mean_what_they_say():
    generator = np.random.default_rng(1)
    reference = Histograms.fit(generator.normal(size=(5000, 1)))
    for shift, low, high in [(0.1, 0.005, 0.1), (0.4, 0.1, 0.25), (1.0, 0.25, 2.0)]:
        assert low < reference.psi(generator.normal(shift, size=(5000, 1)))[0] < high


@pytest.mark.parametrize("now", [[6.0], [4.0], [5.0001], [np.nan], [np.inf], [-np.inf]])
def test_a_constant_feature_that_changes_is_seen(now):
    reference = Histograms.fit(np.full((100, 1), 5.0))
    assert reference.psi(np.full((100, 1), 5.0))[0] == 0.0
    assert reference.psi(np.tile(now, (100, 1)))[0] > 1.0


def test_missing_values_are_a_bin_of_their_own():
    values = np.random.default_rng(2).normal(size=(1000, 1))
    reference = Histograms.fit(values)
    holes = values.copy()
    holes[::3] = np.nan
    assert reference.psi(values)[0] == 0.0
    assert reference.psi(holes)[0] > 0.25
    assert Histograms.fit(holes).psi(holes)[0] == 0.0
    assert Histograms.fit(np.full((10, 1), np.nan)).psi(values)[0] > 0.25


def test_updates_and_merges_count_every_row_once():
    values = np.random.default_rng(3).normal(size=(900, 3))
    first = Histograms.fit(values[:300])
    grown = first.updated(values[300:600]).updated(values[600:])
    second = Histograms(first.edges, tuple(np.zeros_like(counts) for counts in first.counts)).updated(values[300:])
    merged = first.merged(second)
    assert grown.rows == merged.rows == 900
    assert all(map(np.array_equal, grown.counts, merged.counts))
    with pytest.raises(InvalidInputError, match="different bins"):
        first.merged(Histograms.fit(values[300:]))


def test_a_reference_is_small_and_survives_json():
    values = np.random.default_rng(4).normal(size=(20_000, 2))
    reference = Histograms.fit(values)
    text = json.dumps(reference.to_dict(), allow_nan=False)
    assert len(text) < 2000
    again = Histograms.from_dict(json.loads(text))
    assert again.psi(values[:500] + 0.3).tolist() == reference.psi(values[:500] + 0.3).tolist()


@pytest.mark.parametrize(
    "content",
    [{}, {"edges": [[1.0]], "counts": [[1, 2]]}, {"edges": [[2.0, 1.0]], "counts": [[1, 1, 1, 1]]},
     {"edges": [[1.0]], "counts": []}, {"edges": [["x"]], "counts": [[1, 2, 3]]}],
)  # fmt: skip
def test_damaged_references_are_refused(content):
    with pytest.raises(InvalidInputError):
        Histograms.from_dict(content)
    with pytest.raises(InvalidInputError):
        Categories.from_dict(content)


def test_classes():
    generator = np.random.default_rng(5)
    labels = generator.choice(["ape", "bee", "cat"], p=[0.5, 0.3, 0.2], size=2000)
    reference = Categories.fit(labels)
    assert reference.psi(labels) == 0.0
    assert reference.psi(np.full(2000, "dog")) > 1.0
    assert Categories.from_dict(json.loads(json.dumps(reference.to_dict()))) == reference
    grown = reference.updated(["dog", None, "ape"])
    assert grown.counts["dog"] == 1
    assert grown.rows == 2003
    assert Categories.fit(np.array([1, 2])).psi(np.array([1.0, 2.0])) == 0.0


def test_classes_are_bounded():
    reference = Categories.fit([f"user{i}" for i in range(1000)] + ["often"] * 10).updated(["new"] * 5)
    assert len(reference.counts) == 51
    assert reference.counts["often"] == 10
    assert reference.counts[OTHER] == 1000 - 49 + 5
    assert reference.rows == 1015


@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (6, 7, 5, 3)])
def test_channels_are_features(shape):
    inputs = np.random.default_rng(6).normal(size=shape)
    axis = shape.index(3)
    expected = inputs.mean(axis=tuple(i for i in (1, 2, 3) if i != axis))
    assert feature_matrix(inputs) == pytest.approx(expected)
    assert feature_matrix(torch.from_numpy(inputs)) == pytest.approx(expected)
    inputs[0] = np.nan
    assert np.isnan(feature_matrix(inputs)[0]).all()


def test_robmon_drift_is_a_function_and_a_package():
    generator = np.random.default_rng(7)
    now = generator.normal([0.0, 1.0], size=(500, 2))
    result = robmon.drift(generator.normal(size=(500, 2)), now)
    assert [feature.name for feature in result.features] == ["input[0]", "input[1]"]
    assert result.features[0].psi < 0.1 < 0.25 < result.features[1].psi
    assert result.all == pytest.approx(np.mean([feature.psi for feature in result.features]))
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


def test_drift_of_frames_takes_every_column():
    generator = np.random.default_rng(8)

    def frame(shift, share):
        return pd.DataFrame(
            {
                "x": generator.normal(shift, size=800),
                "count": pd.array(generator.poisson(3, size=800), dtype="Int64"),
                "kind": pd.Categorical(generator.choice(["a", "b"], p=[share, 1 - share], size=800)),
                "word": generator.choice(["c", "d"], size=800),
            }
        )

    psi = {
        f.name: f.psi for f in robmon.drift(frame(0.0, 0.5), frame(1.0, 0.9)[["word", "kind", "count", "x"]]).features
    }
    assert list(psi) == ["x", "count", "kind", "word"]
    assert psi["x"] > 0.25 and psi["kind"] > 0.25 and psi["count"] < 0.1 and psi["word"] < 0.1


def test_drift_refuses_what_cannot_be_compared():
    array, frame = np.zeros((5, 2)), pd.DataFrame({"x": [1.0]})
    for pair in [
        (array, np.zeros((5, 3))),
        (array, frame),
        (frame, pd.DataFrame({"y": [1.0]})),
        (array, array[:0]),
        (1, 2),
    ]:
        with pytest.raises(InvalidInputError):
            robmon.drift(*pair)
