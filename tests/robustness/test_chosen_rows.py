"""What somebody who chooses some of the rows can do to each number: the threat model's claims."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import robmon
from robmon.robustness.comparison import compare_rows

ROWS = 256
LEVELS = (0.0, 0.1)
CHOSEN = 1e6
HONEST = np.random.default_rng(0).normal(size=(ROWS, 1))


def with_chosen_rows(count: int) -> np.ndarray[Any, Any]:
    """The honest rows, of which some are where the square moves a million times as far."""
    rows = HONEST.copy()
    rows[:count] = CHOSEN
    return rows


def assessed(count: int) -> Any:
    return robmon.assess(np.square, with_chosen_rows(count), scale=1.0, levels=LEVELS, trials=19, seed=1)


def test_one_row_of_a_value_moves_the_mean_and_the_trial_bound_without_limit() -> None:
    honest, chosen = assessed(0).curve[-1], assessed(1).curve[-1]
    assert chosen.mean_mse > 1e6 * honest.mean_mse
    assert chosen.bound > 1e6 * honest.bound


def test_the_request_bound_withstands_as_many_rows_as_lie_above_it() -> None:
    """Of 256 rows the bound for 95 % is the 245th smallest error: 11 rows lie above it, whoever sent them."""
    largest = assessed(0).row_errors[:, -1].max()
    assert assessed(11).curve[-1].request_bound <= 10 * largest
    assert assessed(12).curve[-1].request_bound > 1e3 * largest


@pytest.mark.parametrize("count", [1, 12, 64])
def test_chosen_rows_move_the_agreement_by_their_share(count: int) -> None:
    def share_of_same_classes(rows: Any) -> float:
        found = robmon.assess(
            lambda x: x, rows, scale=1.0, levels=LEVELS, trials=19, task="classification", output="logit", seed=1
        )
        agreement = found.curve[-1].agreement
        assert agreement is not None
        return agreement

    honest = share_of_same_classes(HONEST)
    fragile, steady = HONEST.copy(), HONEST.copy()
    fragile[:count], steady[:count] = 1e-9, CHOSEN
    assert honest - count / ROWS <= share_of_same_classes(fragile) < honest
    assert honest <= share_of_same_classes(steady) <= honest + count / ROWS


def test_one_row_that_outweighs_all_others_hides_that_a_version_of_values_is_worse() -> None:
    errors = np.random.default_rng(0).exponential(size=(ROWS, 1))
    assert compare_rows(errors, 2 * errors, levels=(0.1,), tolerance=0.1).worse
    heavy = np.vstack([errors, [[CHOSEN]]])
    found = compare_rows(heavy, np.vstack([2 * errors, [[CHOSEN]]]), levels=(0.1,), tolerance=0.1)
    assert not found.worse
    assert found.pooled_ratio == pytest.approx(1, abs=0.01)


def test_the_same_row_in_classes_hides_nothing() -> None:
    """Row errors of a classifier are changes of probabilities, which have a largest one."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(ROWS, 4))
    inputs[0] = CHOSEN
    weights = generator.normal(size=(4, 3))

    def steady(rows: Any) -> Any:
        return np.tanh(rows) @ weights

    def fragile(rows: Any) -> Any:
        return steady(rows) + np.sin(20 * rows) @ weights[:, ::-1]

    found = robmon.compare(
        steady, fragile, inputs, scale=1.0, task="classification", output="logit", levels=LEVELS, tolerance=0.1
    )
    assert found.worse


@pytest.mark.parametrize(("copies", "is_seen"), [(1, True), (5, True), (40, False)])
def test_rows_that_nothing_moves_thin_out_a_worsening(copies: int, is_seen: bool) -> None:
    """Of a worsening twofold only the share of the rows that show it is left, where all weigh alike."""
    errors = np.random.default_rng(0).exponential(size=(ROWS, 1))
    harmless = np.tile(errors, (copies, 1))
    found = compare_rows(np.vstack([errors, harmless]), np.vstack([2 * errors, harmless]), levels=(0.1,), tolerance=0.1)
    assert found.pooled_ratio == pytest.approx(1 + 1 / (1 + copies))
    assert found.worse is is_seen
