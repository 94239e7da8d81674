"""Rows from which nothing can be learnt, and statistics of numbers whose squares overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import robmon
from robmon.errors import InvalidInputError
from robmon.robustness.features.extreme_rows import extreme_rows
from robmon.robustness.features.features import measure
from robmon.robustness.features.moments import CoMoments, Moments
from tests.robustness.test_features import ordinary


def normal(rows=100, columns=3):
    return np.random.default_rng(0).normal(size=(rows, columns))


@pytest.mark.parametrize(("name", "inputs"), ordinary().items(), ids=ordinary())
def test_ordinary_rows_are_not_extreme_however_large_their_unit(name, inputs):
    assert not extreme_rows(inputs).any()
    assert not extreme_rows(inputs * 1e15).any()
    assert not extreme_rows(inputs + 1e200).any()


@pytest.mark.parametrize("value", [1e22, -1e160, 1.7e308, -1.7e308])
def test_one_extreme_value_is_found_in_whatever_column(value):
    inputs = np.column_stack([normal(), np.zeros(100), np.full(100, 1e200), 1e15 + normal()])
    for column in (0, 3):
        changed = inputs.copy()
        changed[7, column] = value
        assert np.flatnonzero(extreme_rows(changed)).tolist() == [7]
    inputs[[3, 4], 0] = 1.7e308, -1.7e308
    inputs[5], inputs[6, 1] = np.nan, np.inf
    assert np.flatnonzero(extreme_rows(inputs)).tolist() == [3, 4]


def test_inputs_of_every_shape_and_type():
    single = normal().astype(np.float32)
    single[9, 1] = 3e38
    images = np.random.default_rng(0).random((40, 3, 8, 8)).astype(np.float32)
    images[11, 2, 5, 5] = -1e30
    one = normal()[:, 0]
    one[2] = 1e21
    for inputs, row in ((single, 9), (images, 11), (one, 2)):
        assert np.flatnonzero(extreme_rows(inputs)).tolist() == [row]
    half = normal().astype(np.float16)
    half[0, 0] = np.finfo(np.float16).max
    for inputs in (half, np.full((4, 2), np.nan), np.zeros((0, 2)), np.zeros((4, 0))):
        assert not extreme_rows(inputs).any()


def test_sentinels_within_single_precision_are_spared():
    inputs = normal()
    inputs[::20, 0] = -np.finfo(np.float32).max
    assert not extreme_rows(inputs).any()
    few = inputs[:21]
    assert extreme_rows(few).sum() == 2
    assert not extreme_rows(few, np.array([inputs[0, 0], np.nan, np.nan])).any()
    inputs[::20, 0] = -np.finfo(np.float64).max
    assert extreme_rows(inputs).sum() == 5


# --- what overflows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e150, 1e160, 1.7e308, np.inf])
def test_moments_never_overflow(value):
    rows = normal()
    moments, products = Moments.of_columns(3), CoMoments.of_columns(3)
    for part in (rows[:50], np.full((2, 3), [value, -value, 1.0]), np.diag([value, -value, value]), rows[50:]):
        moments.update(part)
        products.update(part)
    assert np.isfinite(moments.variance).all() and np.isfinite(products.correlation).all()
    assert moments.count.tolist() == [102, 102, 104]
    assert moments.variance == pytest.approx(rows.var(axis=0), rel=0.1)


@pytest.mark.parametrize("value", [1e160, 1e308])
def test_the_library_tells_what_overflows_and_what_to_change(value):
    inputs = normal()
    inputs[4, 1] = value
    told = r"feature 1 holds numbers beyond 1e\+140 beside others, .* leave out those rows"
    for given in (inputs, torch.from_numpy(inputs)):
        with pytest.raises(InvalidInputError, match=told):
            robmon.assess(lambda x: x.sum(1), given, trials=19)
    with pytest.raises(InvalidInputError, match=r"beyond 1e\+140: divide those by a constant"):
        robmon.assess(lambda x: x.sum(axis=1), np.full((50, 2), value), trials=19)
    rest = np.delete(inputs, 4, axis=0)
    assert robmon.assess(lambda x: x.sum(axis=1), rest, trials=19).slope.value == pytest.approx(3, rel=0.5)


def test_a_column_that_is_constant_and_huge_is_left_alone():
    inputs = np.column_stack([normal(), np.full(100, 1e200)])
    features = measure(inputs)
    assert features.constant == 1 and features.scale == pytest.approx([*normal().std(axis=0), 0])
    assert robmon.assess(lambda x: x[:, 0], inputs, trials=19).slope.value > 0
