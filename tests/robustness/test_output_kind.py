"""What outputs are deduced to be, and the numbers of several labels at once."""

from __future__ import annotations

import numpy as np
import pytest

import robmon
from robmon.errors import InvalidInputError, PredictionError, RobmonError
from robmon.robustness.output_kind import resolve_output
from tests.robustness import linear

INPUTS = linear.inputs(300)
WEIGHTS = np.random.default_rng(4).normal(size=(4, 3))
SHARES = np.linspace(0.1, 0.9, 9)


def ids(x):
    return np.digitize(x[:, 0], [-0.5, 0.5])


def labels_of(x):
    return 1 / (1 + np.exp(-3 * x @ WEIGHTS))


def agreements(predict, **options):
    result = robmon.assess(predict, INPUTS, task="classification", trials=19, **options)
    return result, [point.agreement for point in result.curve]


@pytest.mark.parametrize(
    "form",
    [
        lambda labels: labels.astype("f4"),
        lambda labels: labels + 1.0,
        lambda labels: 2.0 * labels - 2.0,
        lambda labels: labels.astype("i1"),
        lambda labels: (labels + 1.0)[:, None],
        lambda labels: (labels + 1.0)[:, None, None],
    ],
)
def test_class_numbers_are_labels_whatever_their_type(form):
    result, found = agreements(lambda x: form(ids(x)))
    plain, expected = agreements(ids)
    assert (result.output, found, result.index) == ("label", expected, plain.index)
    assert result.notes[0] == "output is label: one column of whole numbers under classification"


def test_labels_that_are_fractions_under_noise_are_no_labels():
    def rounded(x):
        scores = 1 / (1 + np.exp(-3 * x[:, 0]))
        return np.where(np.isin(x[:, 0], INPUTS[:, 0]), np.round(scores), scores)

    with pytest.raises(PredictionError, match=r"not whole numbers under noise: say with output \(flag --output"):
        robmon.assess(rounded, INPUTS, task="classification", trials=19)
    assert agreements(rounded, output="probability")[0].output == "probability"


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        (labels_of(INPUTS), "say with output"),
        (np.c_[ids(INPUTS), labels_of(INPUTS)], "column 0 holds whole numbers, the others do not"),
        (np.c_[np.arange(300), labels_of(INPUTS)], "column 0 holds whole numbers, the others do not"),
        (np.c_[INPUTS, labels_of(INPUTS)], "each of the columns 0, 1, 2, 3 holds an input, unchanged"),
        (np.c_[ids(INPUTS), 2 - ids(INPUTS)], "2 columns of whole numbers: if they are labels, choose one"),
        (np.array([["a", "b"]] * 300), "2 labels a row: choose one"),
        (np.array([f"{number:.2f}" for number in INPUTS[:, 0]]), "numbers written as text"),
    ],
)
def test_columns_that_may_be_several_things_are_refused(outputs, why):
    with pytest.raises(InvalidInputError, match=f"(?i){why}"):
        resolve_output(outputs, "classification", None, (), INPUTS)


def test_parts_are_called_by_their_names():
    table = np.c_[labels_of(INPUTS)[:, 0], INPUTS[:, 0]]
    with pytest.raises(InvalidInputError, match="column p holds numbers between 0 and 1, the others do not"):
        resolve_output(table, "classification", None, ("p", "margin"))
    assert resolve_output(table, "classification", None).kind == "logit", "without names nobody knows"
    with pytest.raises(InvalidInputError, match=r"several parts with several columns each \(probs, logits\)"):
        resolve_output(np.c_[table, table], "classification", None, ("probs", "probs", "logits", "logits"))
    with pytest.raises(InvalidInputError, match="column row of the outputs counts the rows"):
        resolve_output(np.c_[np.arange(300.0), INPUTS[:, 0]], "regression", None, ("row", "forecast"))
    assert resolve_output(np.c_[np.zeros(300), INPUTS[:, 0]], "classification", None).kind == "logit", "a fixed score"


def test_several_labels_at_once_agree_where_their_sets_are_the_same():
    result, found = agreements(labels_of, output="multilabel", levels=(0.4,))
    assert result.output == "multilabel"
    moved = []

    def recording(x):
        moved.append(labels_of(x))
        return moved[-1]

    options = {"task": "classification", "output": "multilabel", "levels": (0.4,), "trials": 19}
    robmon.assess(recording, INPUTS, **options, max_batch_rows=len(INPUTS))
    clean, noisy = moved[0], np.stack(moved[-19:])
    same = ((noisy > 0.5) == (clean > 0.5)).all(axis=2)
    assert found == [1.0, pytest.approx(same.mean())]
    assert result.curve[1].mean_mse == pytest.approx(((noisy - clean) ** 2).mean())
    assert result.area == pytest.approx(((noisy - clean) ** 2).sum(axis=2).mean() / (2 * clean.var(axis=0).sum()) / 2)
    assert 0 < result.curve[1].mean_bound < 1 and result.curve[1].certified_radius is not None
    truth = (clean > 0.5).astype(float)
    against = robmon.assess(
        labels_of, INPUTS, truth, task="classification", output="multilabel", levels=(0.4,), trials=19
    )
    assert against.curve[0].accuracy == 1.0 and against.curve[1].accuracy == pytest.approx(same.mean())
    assert against.curve[0].brier == pytest.approx(2 * ((clean - truth) ** 2).mean())
    with pytest.raises(InvalidInputError, match="give one column of 0 and 1 a label"):
        robmon.assess(labels_of, INPUTS, truth[:, 0], task="classification", output="multilabel", trials=19)


def test_one_class_against_the_rest_is_divided_by_its_sum():
    result, _ = agreements(labels_of, output="probability")
    assert result.clean_outputs == pytest.approx(labels_of(INPUTS) / labels_of(INPUTS).sum(axis=1, keepdims=True))
    assert "divided by their sums" in result.notes[0]
    zeros = robmon.assess(
        lambda x: np.where(x[:, :2] > 0, 0.5, 0.0), INPUTS, task="classification", output="probability", trials=19
    )
    assert np.all(zeros.clean_outputs.sum(axis=1) == 1)


@pytest.mark.parametrize(
    "predict",
    [
        lambda x: 200 + x[:, 0],
        lambda x: np.ones(len(x)),
        lambda x: np.full(len(x), "cat"),
        lambda x: 0.4 / (1 + np.exp(-x[:, 0])),
        lambda x: np.stack([np.abs(x[:, 0]) + 1, x[:, 1] / 100], axis=1),
    ],
)
def test_one_class_for_all_rows_is_told_not_scored(predict):
    result, found = agreements(predict)
    assert set(found) == {None} and (result.area, result.index, result.agreement_slope) == (None, None, None)
    assert any(note.startswith("all 300 rows get the same class") for note in result.notes)
    assert all(point.certified_radius is None for point in result.curve) and "keep their class" not in str(result)


def test_the_kind_that_is_given_is_said_to_be_given():
    for output, predict in (("value", ids), ("label", ids), ("logit", labels_of), ("multilabel", labels_of)):
        assert agreements(predict, output=output)[0].notes[0].startswith(f"output is {output}: as given")
    with pytest.raises(RobmonError, match="below 0 or above 1"):
        agreements(lambda x: x[:, :2], output="multilabel")


def test_compare_and_rank_take_the_column_too():
    both = lambda x: {"label": ids(x), "score": labels_of(x)[:, 0]}  # noqa: E731
    with pytest.raises(RobmonError, match=r"label \(whole numbers\), score \(numbers\)"):
        robmon.compare(both, both, INPUTS, task="classification", trials=19)
    compared = robmon.compare(both, both, INPUTS, task="classification", trials=19, output_column="label")
    assert not compared.worse and compared.a.output == compared.b.output == "label"
    ranked = robmon.rank(
        {"a": both, "b": both}, INPUTS, ids(INPUTS), task="classification", trials=19, output_column="label"
    )
    assert ranked.scores[0, 0] == 1.0


@pytest.mark.parametrize(
    ("outputs", "columns"),
    [
        (np.c_[SHARES, 1 - SHARES], 2),
        (np.c_[SHARES, 1 - SHARES].astype(np.float32)[:, None, :], 2),
        (np.eye(3)[[0, 1, 2, 2]], 3),
        (np.array([[np.nan, np.nan], [0.25, 0.75]]), 2),
    ],
)
def test_probabilities_under_regression_are_told(outputs: np.ndarray, columns: int) -> None:
    form = resolve_output(outputs, "regression", None)
    assert form.kind == "value"
    assert f"; the rows of {columns} columns sum to 1: if they are probabilities of classes, set" in form.note


@pytest.mark.parametrize(
    "outputs",
    [
        np.ones((9, 1)),  # one column that is 1
        np.c_[1 + SHARES, -SHARES],  # not within 0 and 1
        np.c_[SHARES, SHARES / 2],  # sums differ
        np.full((9, 2), np.nan),  # nothing is known
    ],
)
def test_other_values_under_regression_are_not(outputs: np.ndarray) -> None:
    assert resolve_output(outputs, "regression", None).note == "output is value: numbers under regression"
