"""Which rows carry the error, and how much of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robmon.errors import InvalidInputError
from robmon.robustness.worst import worst_rows, worst_share
from tests.robustness import linear
from tests.robustness.assessing import assess_rows

ERRORS = arrays.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1e300))


@given(ERRORS, st.floats(0.001, 1.0))
def test_the_worst_rows_are_the_first_of_all_sorted(errors, share):
    rows = worst_rows(errors, share)
    rest = np.delete(errors, rows)
    assert len(set(rows.tolist())) == len(rows)
    assert np.all(np.diff(errors[rows]) <= 0)
    assert not len(rows) or not len(rest) or errors[rows].min() >= rest.max()
    assert len(rows) == min(max(math.ceil(share * len(errors) - 1e-9), 1), np.count_nonzero(errors))


@given(ERRORS)
def test_the_worst_share_lies_between_even_and_all(errors):
    share = worst_share(errors)
    if not errors.any():
        assert share is None
        return
    assert math.ceil(0.05 * len(errors) - 1e-9) / len(errors) - 1e-12 <= share <= 1 + 1e-12


def test_the_worst_share_is_what_they_carry():
    errors = np.concatenate([np.full(95, 1.0), np.full(5, 19.0)])
    assert worst_share(errors) == pytest.approx(0.5)
    assert worst_share(np.eye(100)[0]) == 1.0
    assert worst_share(np.ones(41)) == pytest.approx(3 / 41), "5 % of 41 rows are 3, rounded up"
    assert worst_share(np.ones(3)) == pytest.approx(1 / 3)


def test_infinite_errors_outweigh_all_others():
    errors = np.array([1.0, math.inf] + [2.0] * 38)
    assert worst_rows(errors).tolist() == [1, 2]
    assert worst_share(errors) == 1.0
    assert worst_share(np.where(np.arange(40) < 8, math.inf, 1.0)) == 0.25, "2 of the 8 rows that are infinite"


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_shares_that_cannot_be_are_refused(share):
    with pytest.raises(InvalidInputError, match="above 0 and is at most 1"):
        worst_rows(np.ones(3), share)


def test_a_result_names_its_worst_rows():
    """Only every twentieth row reacts, the later the more."""
    inputs = linear.inputs(200)

    def predict(x, rows):
        row = np.arange(rows.start, rows.stop)
        return x[:, 0] * np.where(row % 20 == 7, 4.0 ** (row // 20), 0.0)

    result = assess_rows(predict, inputs, levels=[0.1, 0.2], scale=1.0, trials=99)
    assert result.worst_rows().tolist() == list(range(187, 0, -20))
    assert result.worst_rows(level=0.1, share=0.01).tolist() == [187, 167]
    assert [point.worst_share for point in result.curve] == [None, 1.0, 1.0]
    assert [point.median_row_error for point in result.curve] == [0.0, 0.0, 0.0]
    with pytest.raises(InvalidInputError, match=r"level 0\.3 was not assessed: it is one of 0, 0\.1, 0\.2"):
        result.worst_rows(level=0.3)


def test_the_median_row_error_is_over_rows_of_means_over_trials():
    result = assess_rows(linear.predict, linear.inputs(101), trials=19)
    for index, point in enumerate(result.curve):
        assert point.median_row_error == np.sort(result.row_errors[:, index])[50]
