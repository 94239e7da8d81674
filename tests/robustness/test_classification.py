"""Accuracy and Brier score under noise, against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss

from robmon.errors import InvalidInputError
from tests.robustness import linear
from tests.robustness.assessing import assess_rows

ROWS = 240
INPUTS = linear.inputs(ROWS)
DRAW = np.random.default_rng(5)
TRUTH = DRAW.integers(0, 3, size=ROWS)
CLEAN, NOISY = (DRAW.dirichlet([0.6, 0.5, 0.4], size=ROWS) for _ in range(2))


def assessed(encode, targets, **options):
    """A model that says one thing of clean inputs and another of noisy ones, whatever the noise."""

    def predict(x, rows):
        is_clean = np.all(x == INPUTS[rows], axis=1)
        return encode(np.where(is_clean[:, None], CLEAN[rows], NOISY[rows]))

    return assess_rows(predict, INPUTS, targets=targets, task="classification", levels=[0.5], trials=19, **options)


@pytest.mark.parametrize("form", ["probability", "logit", "label", "text"])
def test_accuracy_is_count_over_count(form):
    names = np.array(["ape", "bee", "cat"])
    encode, targets = {
        "probability": (lambda p: p, np.eye(3)[TRUTH]),
        "logit": (np.log, np.eye(3)[TRUTH]),
        "label": (lambda p: p.argmax(axis=1), TRUTH),
        "text": (lambda p: names[p.argmax(axis=1)], names[TRUTH]),
    }[form]
    clean, noisy = assessed(encode, targets).curve
    assert clean.accuracy == accuracy_score(TRUTH, CLEAN.argmax(axis=1))
    assert noisy.accuracy == accuracy_score(TRUTH, NOISY.argmax(axis=1))
    assert noisy.agreement == accuracy_score(CLEAN.argmax(axis=1), NOISY.argmax(axis=1))
    assert (noisy.brier is None) == (form != "probability")


def test_the_brier_score_is_the_sum_over_classes():
    clean, noisy = assessed(lambda p: p, np.eye(3)[TRUTH]).curve
    assert clean.brier == pytest.approx(brier_score_loss(TRUTH, CLEAN, scale_by_half=False), abs=1e-12)
    assert noisy.brier == pytest.approx(brier_score_loss(TRUTH, NOISY, scale_by_half=False), abs=1e-12)


def test_one_column_has_the_brier_score_of_both_its_classes():
    second = (TRUTH == 1).astype(float)
    one = assessed(lambda p: p[:, 1], second)
    two = assessed(lambda p: np.stack([1 - p[:, 1], p[:, 1]], axis=1), np.stack([1 - second, second], axis=1))
    assert [point.brier for point in one.curve] == pytest.approx([point.brier for point in two.curve])
    assert [point.accuracy for point in one.curve] == [point.accuracy for point in two.curve]
    expected = brier_score_loss(second, NOISY[:, 1], scale_by_half=False)
    assert one.curve[1].brier == pytest.approx(expected)


def test_without_targets_or_classes_there_is_nothing_to_be_right():
    assert assessed(lambda p: p, None).curve[1].accuracy is None
    regression = assess_rows(linear.predict, INPUTS, targets=linear.predict(INPUTS, None)).curve[1]
    assert (regression.accuracy, regression.brier, regression.flip_rate, regression.certified_radius) == (None,) * 4


def test_an_output_that_noise_makes_not_finite_is_wrong_and_its_brier_score_infinite():
    def broken(p):
        return np.where(np.arange(len(p))[:, None] == 3, np.nan, p) if np.array_equal(p, NOISY) else p

    point = assessed(broken, np.eye(3)[TRUTH]).curve[1]
    right = NOISY.argmax(axis=1) == TRUTH
    assert point.accuracy == (right.sum() - right[3]) / ROWS
    assert point.brier == math.inf


def test_targets_that_are_no_probabilities_are_refused():
    with pytest.raises(InvalidInputError, match="between 0 and 1: give 0 and 1, one column a class"):
        assessed(lambda p: p, 2.0 * np.eye(3)[TRUTH])
