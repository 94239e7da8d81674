"""What is learnt of features, and which features and cells noise leaves alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_digits

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import to_numpy
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.columns import MAX_CORRELATED, ColumnStatistics
from robmon.robustness.features.features import Features, measure
from robmon.robustness.features.moments import CoMoments, Moments
from robmon.robustness.noise.masking import Masked, count_masked
from tests.robustness.assessing import assess_rows


def celsius(rows, seed=0):
    return np.random.default_rng(seed).normal(20, 5, size=rows)


# --- moments ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    values=arrays(np.float64, (12, 2), elements=st.floats(-1e6, 1e6)),
    cut=st.integers(0, 12),
)
def test_moments_do_not_depend_on_how_the_rows_come(values, cut):
    moments, products = Moments.of_columns(2), CoMoments.of_columns(2)
    for part in (values[:cut], values[cut:]):
        moments.update(part)
        products.update(part)
    size = 1e-9 * (1 + np.abs(values).max()) ** 2
    assert moments.mean == pytest.approx(values.mean(axis=0), abs=size)
    assert moments.squares / 12 == pytest.approx(values.var(axis=0), abs=size)
    assert products.products / 12 == pytest.approx(np.cov(values.T, ddof=0), abs=size)


def test_correlation_is_pearsons_and_survives_gaps_and_constants():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(500, 3)) @ generator.normal(size=(3, 4))
    rows = np.hstack([rows, np.full((500, 1), 0.1)])
    products = CoMoments.of_columns(5)
    for part in np.array_split(rows, 7):
        products.update(part)
    assert products.correlation[:4, :4] == pytest.approx(np.corrcoef(rows[:, :4].T), abs=1e-12)
    assert products.correlation[4].tolist() == [0, 0, 0, 0, 1]
    rows[generator.random(rows.shape) < 0.1] = np.nan
    gaps = CoMoments.of_columns(5)
    for part in np.array_split(rows, 7):
        gaps.update(part)
    assert np.linalg.eigvalsh(gaps.correlation).min() > -1e-12
    assert gaps.correlation[0, 1] == pytest.approx(0.9 * products.correlation[0, 1], abs=0.05)


# --- what is set apart -----------------------------------------------------------------------------------------------


def ordinary():
    """Data of which nothing is set apart, by name."""
    g = np.random.default_rng(7)
    shape = (1000, 8)
    normal = g.normal(size=shape)
    zeros = g.random(shape) < 0.7
    return {
        "normal": normal,
        "log-normal": np.exp(2 * normal),
        "Pareto": g.pareto(1.1, size=shape),
        "uniform": g.random(shape),
        "zero-inflated log-normal": np.where(zeros, 0.0, np.exp(normal)),
        "zero-inflated exponential": np.where(zeros, 0.0, g.exponential(size=shape)),
        "zero-inflated counts": np.where(zeros, 0.0, 5.0 + g.poisson(20, size=shape)),
        "counts": g.poisson(0.5, size=shape).astype(float),
        "heavy counts": g.zipf(1.5, size=shape).astype(float),
        "clipped": np.clip(normal, -1, 2),
        "clipped Pareto": np.minimum(g.pareto(1.0, size=shape), 100.0),
        "two points": g.choice([-1.0, 1.0], size=shape),
        "zero and one only": g.choice([0.0, 1.0], size=shape),
        "doses": g.choice([1.0, 10.0, 100.0], size=shape),
        "doubled steps": 2.0 ** g.integers(0, 8, size=shape),
        "one to five": g.integers(1, 6, size=shape).astype(float),
        "months": g.integers(1, 13, size=shape).astype(float),
        "ages, the oldest together": np.clip(np.round(45 + 18 * normal), 18, 90),
        "rounded": np.round(20 + 5 * normal),
        "rounded log-normal": np.round(np.exp(1.5 * normal + 2)),
        "prices": np.floor(np.exp(1.2 * normal + 3)) + 0.99,
        "two clusters": np.where(zeros, normal, 50 + normal),
        "two clusters of few values": np.where(zeros, g.integers(1, 13, shape), 100.0 + g.binomial(2, 0.5, shape)),
        "zero or far away": np.where(zeros, 0.0, 5000.0 + normal),
        "powers of ten": 10.0 ** g.integers(-3, 4, size=shape),
        "one wild value": np.where(np.arange(1000)[:, None] == 3, 1e9, normal),
        "digits": load_digits().data,
        "some digits": load_digits().data[g.choice(1797, 256, replace=False)],
        "few digits": load_digits().data[g.choice(1797, 64, replace=False)],
    }


@pytest.mark.parametrize(("name", "inputs"), ordinary().items(), ids=ordinary())
def test_of_ordinary_data_only_constants_are_set_apart(name, inputs):
    features = measure(inputs)
    assert np.isnan(features.sentinels).all()
    assert features.indicator == 0
    assert features.scale == pytest.approx(inputs.std(axis=0), rel=1e-9)
    assert features.constant == int(np.sum(inputs.std(axis=0) == 0))


def frame():
    """Two measurements, one of them with -999 for "not measured"; a one-hot group; a constant."""
    rows = 400
    sentinel = np.arange(rows) % 25 == 0
    kind = np.eye(4)[np.random.default_rng(1).choice(4, p=[0.5, 0.3, 0.19, 0.01], size=rows)]
    inputs = np.column_stack([celsius(rows), np.where(sentinel, -999.0, celsius(rows, 1)), kind, np.full(rows, 7.0)])
    return inputs, sentinel


@pytest.mark.parametrize("kind", ["float64", "float32", "torch"])
def test_constants_indicators_and_sentinels_are_set_apart(kind):
    inputs, sentinel = frame()
    given = {"float64": inputs, "float32": inputs.astype(np.float32), "torch": torch.from_numpy(inputs)}[kind]
    features = measure(given)
    values = to_numpy(given).astype(np.float64)
    expected = [values[:, 0].std(), values[~sentinel, 1].std(), 0, 0, 0, 0, 0]
    assert features.scale == pytest.approx(expected, rel=1e-9)
    assert features.mean[:2] == pytest.approx([values[:, 0].mean(), values[~sentinel, 1].mean()])
    assert features.sentinels[0, 1] == -999 and np.isnan(np.delete(features.sentinels[0], 1)).all()
    masked, perturbed = count_masked(given, features)
    assert masked == Masked(constant=1, indicator=4, sentinel_cells=16)
    assert perturbed == 2 * 400 - 16


def test_an_explicit_scale_masks_nothing_but_scale_zero():
    inputs, _ = frame()
    features = measure(inputs, [1, 1, 1, 1, 1, 0, 2])
    assert (features.constant, features.indicator) == (1, 0)
    assert np.isnan(features.sentinels).all()
    assert features.mean == pytest.approx(inputs.mean(axis=0))
    assert count_masked(inputs, features) == (Masked(constant=1), 6 * 400)


@pytest.mark.parametrize("value", [-999.0, 9999.0, 1e30])
def test_a_sentinel_may_lie_at_either_end_and_be_most_cells(value):
    for share in (0.02, 0.9):
        g = np.random.default_rng(2)
        column = np.where(g.random(1000) < share, value, g.normal(300, 5, size=1000))
        features = measure(column)
        assert features.sentinels.tolist() == [value]
        assert features.scale == pytest.approx(column[column != value].std())


def test_four_cells_are_no_sentinel():
    column = celsius(300)
    column[:4] = -999
    assert np.isnan(measure(column).sentinels).all()
    column[4] = -999
    assert measure(column).sentinels.tolist() == [-999]


def test_noise_leaves_alone_what_is_set_apart():
    inputs, sentinel = frame()
    inputs[5, 0], inputs[6, 0] = np.nan, np.inf
    seen = []

    def predict(x, rows):
        seen.append(np.array(x))
        return np.nan_to_num(x[:, :2], posinf=0).sum(axis=1)

    result = assess_rows(predict, inputs, levels=[0.5], trials=19, max_batch_rows=400)
    moved = seen[-1] != inputs
    assert moved[:, 0].sum() == 400 - 1  # NaN, which differs from itself, counted; infinity not
    assert np.isnan(seen[-1][5, 0]) and seen[-1][6, 0] == np.inf
    assert np.array_equal(moved[:, 1], ~sentinel)
    assert not moved[:, 2:].any()
    assert result.masked == Masked(constant=1, indicator=4, sentinel_cells=16, missing_cells=2)
    assert result.to_dict()["masked"]["indicator"] == 4
    assert result.curve[1].realised_level == pytest.approx(0.5, rel=0.02)
    assert (
        "not perturbed: 1 constant feature, 4 indicator features, 16 sentinel cells, 2 cells without a number"
    ) in str(result)
    assert result.notes[1:] == ("column input[1]: -999 (4 %) is set apart as a code",)
    assert str(Masked()) == ""


# --- features --------------------------------------------------------------------------------------------------------


def test_features_come_back_from_json():
    inputs, _ = frame()
    for features in (
        measure(inputs, correlation=True),
        measure(inputs.reshape(400, 7, 1), axis=FeatureAxis(1)),
        measure(inputs[:, 0]),
    ):
        back = Features.from_dict(json.loads(json.dumps(features.to_dict(), allow_nan=False)))
        assert str(back.to_dict()) == str(features.to_dict())
        assert back.scale.shape == features.scale.shape == back.sentinels.shape[1:]


def test_statistics_come_back_from_json_and_go_on_learning():
    inputs, _ = frame()
    whole = ColumnStatistics.of_columns(7, correlation=True)
    parts = ColumnStatistics.of_columns(7, correlation=True)
    for part in (inputs[:200], inputs[200:]):
        whole.update(part)
        parts.update(part)
        parts = ColumnStatistics.from_dict(json.loads(json.dumps(parts.to_dict(), allow_nan=False)))
    assert str(parts.to_dict()) == str(whole.to_dict())
    assert parts.indicators.tolist() == [False, False, True, True, True, True, False]
    parts.update(np.full((1, 7), 2.0))
    assert not parts.indicators.any()


def test_old_statistics_set_nothing_apart():
    moments = Moments.of_columns(2)
    moments.update(np.array([[0.0, 1.0], [1.0, 3.0]] * 20))
    statistics = ColumnStatistics.from_dict(moments.to_dict())
    assert statistics.deviation.tolist() == [0.5, 1.0]
    assert not statistics.indicators.any()


def test_the_baselines_features_are_those_that_the_library_measures():
    inputs, _ = frame()
    statistics = ColumnStatistics.of_columns(7)
    statistics.update(inputs)
    assert str(Features.of(statistics, inputs.shape, FeatureAxis(1)).to_dict()) == str(measure(inputs).to_dict())


def test_mixing_is_a_root_of_the_correlation_even_of_a_singular_one():
    base = np.random.default_rng(3).normal(size=(300, 2))
    features = measure(np.column_stack([base, base.sum(axis=1), np.ones(300)]), correlation=True)
    assert features.mixing @ features.mixing.T == pytest.approx(features.correlation, abs=1e-7)


def test_what_cannot_be_measured_is_told():
    with pytest.raises(InvalidInputError, match=f"of {MAX_CORRELATED + 1} features is not kept"):
        measure(np.ones((2, MAX_CORRELATED + 1)), correlation=True)
    with pytest.raises(InvalidInputError, match="features hold a scale"):
        assess_rows(lambda x, rows: x[:, 0], frame()[0], scale=1.0, features=measure(frame()[0]))
