"""What models return, as one array; and which of several parts is taken, or why none is."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
from collections import OrderedDict, namedtuple
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch

import robmon
from robmon.errors import PredictionError
from robmon.models.outputs.outputs import OutputReader

NAN = float("nan")
Scored = namedtuple("Scored", ["label", "score"])


@dataclasses.dataclass
class Answer:
    label: Any
    score: Any


def objects(*cells: Any) -> Any:
    """An array that holds these as they are."""
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


def read(outputs: Any, rows: int, column: Any = None, inputs: Any = None) -> Any:
    return OutputReader(column)(outputs, rows, inputs)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (np.array([[1.0, 2.0]]), [[1.0, 2.0]]),
        ([1, 2], [1, 2]),
        ([[0.5, None]], [[0.5, NAN]]),
        (np.array([True, False]), [1, 0]),
        (pd.Series([1.5, 2.5]), [1.5, 2.5]),
        (pd.DataFrame({"b": [1.0], "a": [2.0]}), [[1.0, 2.0]]),
        (pd.DataFrame({"label": ["x", "y"]}), ["x", "y"]),
        (pd.DataFrame({"b": [1.0, 0.5], "a": pd.array([2.0, None], dtype="Float64")}), [[1.0, 2.0], [0.5, NAN]]),
        ({"a": np.array([1.0, 2.0])}, [1.0, 2.0]),
        ({"z": [1.0, 2.0], "a": [[3.0, 4.0], [5.0, 6.0]]}, [[1.0, 3.0, 4.0], [2.0, 5.0, 6.0]]),
        (OrderedDict(loss=None, logits=np.ones((2, 3))), np.ones((2, 3))),
        (([1.0, 2.0], "state"), [1.0, 2.0]),
        ((0.5, 0.25, 1.0), [0.5, 0.25, 1.0]),
        (([0.5, 0.25],), [0.5, 0.25]),
        (np.array(["cat", "dog"]), ["cat", "dog"]),
        (np.array(["cat", "dog"], dtype=object), ["cat", "dog"]),
        (pd.Series(["cat", "dog"]), ["cat", "dog"]),
        (pd.Series(["cat", None]), ["cat", None]),
        (pd.Series(["cat", "dog"], dtype="category"), ["cat", "dog"]),
        (pd.Series([1, None, 3], dtype="Int64"), [1.0, NAN, 3.0]),
        (pd.Series([1, 2], dtype="Int64"), [1, 2]),
        (pd.Series([True, None], dtype="boolean"), [1.0, NAN]),
        (pd.Series(["cat", None], dtype="string"), ["cat", None]),
        (pd.Series([0.5, 1.5], dtype="Sparse[float]"), [0.5, 1.5]),
        (pd.Series([[0.1, 0.9], [0.3, 0.7]]), [[0.1, 0.9], [0.3, 0.7]]),
        (["cat", "dog"], ["cat", "dog"]),
        (["cat", None], ["cat", None]),
        ([b"cat", b"dog"], ["cat", "dog"]),
        (np.array([b"cat", b"dog"]), ["cat", "dog"]),
        (np.array([b"cat", b"\xff"], dtype=object), ["cat", "\\xff"]),
        ([{"score": 0.5}, {"score": 0.25}], [0.5, 0.25]),
        ([{"a": 1.0, "b": 2.0}, {"b": 4.0, "a": 3.0}], [[1.0, 2.0], [3.0, 4.0]]),
        ([{0: 0.1, 1: 0.9}, {0: 0.7, 1: 0.3}], [[0.1, 0.9], [0.7, 0.3]]),
        (objects({"a": 1.0}, {"a": 2.0}), [1.0, 2.0]),
        (objects(np.array([1.0, 2.0]), np.array([3.0, 4.0])), [[1.0, 2.0], [3.0, 4.0]]),
        ([np.float32(1.5), np.float32(2.5)], [1.5, 2.5]),
        ([np.array(1.5), np.array(2.5)], [1.5, 2.5]),
        ([np.ones((3, 1)), np.zeros((3, 1))], [[1.0, 0.0]] * 3),
        ([torch.tensor(1.5), torch.tensor(2.5)], [1.5, 2.5]),
        ([decimal.Decimal("0.5"), None], [0.5, NAN]),
        ([Fraction(1, 2), 2], [0.5, 2.0]),
        (np.ma.MaskedArray([1.0, 2.0], mask=[False, True]), [1.0, NAN]),
        (np.ma.MaskedArray(["a", "b"], mask=[False, True]), ["a", None]),
        (np.array([[1.0, 2.0]]).view(np.matrix), [[1.0, 2.0]]),
        (np.array([(1.0, 2.0)], dtype=[("a", "f8"), ("b", "f8")]), [[1.0, 2.0]]),
        (scipy.sparse.csr_matrix(np.eye(2)), np.eye(2)),
        (scipy.sparse.coo_array(np.eye(2)), np.eye(2)),
        (pa.array([1.5, None]), [1.5, NAN]),
        (pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]}), [[1.0, 3.0], [2.0, 4.0]]),
        (pa.chunked_array([["cat"], ["dog"]]), ["cat", "dog"]),
        (objects(2**70, None), [2**70, None]),
        (pd.Series([2**60 + 1, None], dtype="Int64"), [2**60 + 1, None]),
    ],
)
def test_one_array(outputs: Any, expected: list[Any]) -> None:
    array = read(outputs, len(expected))
    assert type(array) in (np.ndarray, torch.Tensor)
    np.testing.assert_array_equal(np.asarray(array), np.array(expected))


def test_tensors_stay_tensors() -> None:
    tensor = torch.ones(2, 3, requires_grad=True)
    outputs = read(tensor, 2)
    assert isinstance(outputs, torch.Tensor)
    assert not outputs.requires_grad
    assert read(torch.tensor([True]), 1).dtype == torch.int64
    assert read(torch.eye(2).to_sparse(), 2).tolist() == [[1, 0], [0, 1]]
    both = read({"a": torch.ones(2), "b": torch.zeros(2, 2)}, 2)
    assert torch.equal(both, torch.tensor([[1.0, 0, 0], [1, 0, 0]]))


@pytest.mark.parametrize(
    ("outputs", "what"),
    [
        (None, "nothing"),
        ("text", "a str"),
        (b"text", "a bytes"),
        ({}, "an empty dict"),
        ((), "an empty tuple"),
        ({1, 2}, "a set"),
        (object(), "a object"),
        (map(float, [1, 2]), "a map"),
        ([[1], [1, 2]], "a ragged list"),
        ([{"a": 1.0}, {"b": 1.0}], "records that differ in their fields"),
        (objects([1.0], [1.0, 2.0]), "lists of different lengths"),
        (["cat", 1.0], "numbers and text"),
        (np.array([1j, 2j]), "complex numbers"),
        ([1j, 2.0], "complex numbers"),
        (torch.tensor([1j, 2j]), "complex numbers"),
        (np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]"), "dates"),
        ([datetime.date(2026, 1, 1)] * 2, "dates"),
        (pd.Series(pd.date_range("2026-01-01", periods=2, tz="UTC")), "dates"),
        (np.array([1, 2], dtype="timedelta64[s]"), "durations"),
        ([object(), object()], "cells of type object"),
        ({"version": "v3", "threshold": 0.5}, "2 parts, none of them with one entry for each of 2 rows"),
    ],
)
def test_what_is_no_output(outputs: Any, what: str) -> None:
    with pytest.raises(PredictionError, match=f"the model returned {what}") as raised:
        read(outputs, 2)
    assert raised.value.reason == "invalid_output"


@pytest.mark.parametrize("outputs", [np.array(1.0), np.ones((3, 2)), torch.ones(1), pd.Series([1.0])])
def test_one_output_a_row(outputs: Any) -> None:
    with pytest.raises(PredictionError, match="for 2 rows") as raised:
        read(outputs, 2)
    assert raised.value.reason == "invalid_output"


SCORES = np.array([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])
LABELS = ["b", "a", "a"]
DAYS = pd.date_range("2026-01-01", periods=3)


@pytest.mark.parametrize(
    ("outputs", "told", "column", "taken"),
    [
        (
            {"label": [1, 0, 0], "scores": SCORES},
            "label (whole numbers), scores (numbers of shape (2,))",
            "scores",
            SCORES,
        ),
        ({"label": LABELS, "score": [0.5, 0.25, 0.5]}, "label (text), score (numbers)", "label", LABELS),
        (
            pd.DataFrame({"date": DAYS, "forecast": [0.5, 1.5, 2.5]}),
            "date (dates), forecast (numbers)",
            "forecast",
            [0.5, 1.5, 2.5],
        ),
        (
            pd.DataFrame({"row": [0, 1, 2], "score": [0.5, 0.25, 0.5]}),
            "row (running numbers), score (numbers)",
            "score",
            [0.5, 0.25, 0.5],
        ),
        (
            pd.DataFrame({"row": [7.0, 8.0, 9.0], "score": [0.5, 0.25, 0.5]}),
            "row (running numbers), score (numbers)",
            1,
            None,
        ),
        (
            pd.DataFrame({"is_fraud": [True, False, True], "score": [0.5, 0.25, 0.5]}),
            "is_fraud (truth values), score",
            "is_fraud",
            [1, 0, 1],
        ),
        ((np.array([1, 0, 0]), SCORES), "0 (whole numbers), 1 (numbers of shape (2,))", 1, SCORES),
        ((torch.ones(3, 1), torch.zeros(3, 8)), "0 (numbers), 1 (numbers of shape (8,))", "0", np.ones((3, 1))),
        ([np.array([1, 0, 0]), SCORES.tolist()], "0 (whole numbers), 1 (numbers of shape (2,))", 1, SCORES),
        (Scored(LABELS, [0.5, 0.25, 0.5]), "label (text), score (numbers)", "score", [0.5, 0.25, 0.5]),
        (Answer(LABELS, [0.5, 0.25, 0.5]), "label (text), score (numbers)", "label", LABELS),
        ([{"label": label, "score": 0.5} for label in LABELS], "label (text), score (numbers)", "label", LABELS),
        ([Scored(label, 0.5) for label in LABELS], "label (text), score (numbers)", "label", LABELS),
        ([Answer(label, 0.5) for label in LABELS], "label (text), score (numbers)", "score", [0.5] * 3),
        ([[label, 0.5] for label in LABELS], "0 (text), 1 (numbers)", 0, LABELS),
        ([(0.5, label) for label in LABELS], "0 (numbers), 1 (text)", "1", LABELS),
        (pd.DataFrame({"label": LABELS, "score": [0.5] * 3}).to_numpy(), "0 (text), 1 (numbers)", "0", LABELS),
        (
            np.array([("a", 0.5)] * 3, dtype=[("label", "U1"), ("score", "f8")]),
            "label (text), score (numbers)",
            "label",
            ["a"] * 3,
        ),
        ({"when": [1j] * 3, "score": [0.5] * 3}, "when (complex numbers), score (numbers)", "score", [0.5] * 3),
        (
            {"label": LABELS, "scores": {"a": [0.25] * 3, "b": [0.75] * 3}},
            "label (text), scores.a (numbers), scores.b",
            "scores",
            [[0.25, 0.75]] * 3,
        ),
        (
            {"label": LABELS, "scores": [{"a": 0.25, "b": 0.75}] * 3},
            "label (text), scores (numbers of shape (2,))",
            "scores",
            [[0.25, 0.75]] * 3,
        ),
        (
            pd.DataFrame({"label": LABELS, "scores": SCORES.tolist()}),
            "label (text), scores (numbers of shape (2,))",
            "scores",
            SCORES,
        ),
        (pa.table({"label": LABELS, "score": [0.5] * 3}), "label (text), score (numbers)", "label", LABELS),
        (
            {"mean": [0.5] * 3, "hidden": np.ones((3, 4, 2))},
            "mean (numbers), hidden (numbers of shape (4, 2))",
            "mean",
            [0.5] * 3,
        ),
    ],
)
def test_parts_that_differ_are_named_and_one_can_be_chosen(outputs: Any, told: Any, column: Any, taken: Any) -> None:
    with pytest.raises(PredictionError) as raised:
        read(outputs, 3)
    assert raised.value.reason == "invalid_output"
    assert f"several parts that differ: {told}" in str(raised.value)
    assert "--output-column" in str(raised.value) and "model.output_column" in str(raised.value)
    if taken is None:
        with pytest.raises(PredictionError, match="the outputs have no part 1: choose among row, score"):
            read(outputs, 3, column)
        return
    reader = OutputReader(column)
    np.testing.assert_array_equal(np.asarray(reader(outputs, 3)), np.array(taken))
    assert reader.notes[0].startswith("of the outputs ") and reader.notes[0].endswith(", as chosen")


def test_inputs_that_are_handed_through_are_another_kind() -> None:
    inputs = pd.DataFrame({"a": [1.0, NAN], "b": [3.0, 4.0]})
    outputs = inputs.assign(forecast=[0.5, 1.5])
    with pytest.raises(PredictionError, match=r"a \(an input, unchanged\), b \(an input, unchanged\), forecast \(numb"):
        read(outputs, 2, inputs=inputs)
    with pytest.raises(PredictionError, match=r"x \(an input, unchanged\), y \(numbers\)"):
        read({"x": np.array([1.0, 2.5]), "y": [0.5, 1.5]}, 2, inputs={"x": np.array([1.0, 2.5])})
    assert read(outputs, 2, "forecast", inputs).tolist() == [0.5, 1.5]
    assert read(inputs, 2, inputs=inputs).shape == (2, 2), "a model that only hands through"


def test_several_parts_can_be_chosen() -> None:
    outputs = {"count": [3, 1], "mean": [0.5, 1.5], "name, or so": [9.0, 9.5], "label": ["a", "b"]}
    assert read(outputs, 2, "mean,count").tolist() == [[3.0, 0.5], [1.0, 1.5]]
    assert read(outputs, 2, ["mean", "count"]).tolist() == [[3.0, 0.5], [1.0, 1.5]]
    assert read(outputs, 2, "name, or so").tolist() == [9.0, 9.5]
    with pytest.raises(PredictionError, match="no part mean, spread: choose among count, mean, name, or so, label"):
        read(outputs, 2, "mean, spread")
    with pytest.raises(PredictionError, match="text and numbers"):
        read(outputs, 2, "mean,label")


def test_columns_of_an_array_are_chosen_by_position() -> None:
    array = np.array([[7, 0.5, 1.5], [8, 2.5, 3.5]])
    assert read(array, 2, 1).tolist() == [[0.5], [2.5]]
    assert read(torch.tensor(array), 2, "1,2").tolist() == [[0.5, 1.5], [2.5, 3.5]]
    with pytest.raises(PredictionError, match="no part 3: choose among 0, 1, 2"):
        read(array, 2, 3)
    with pytest.raises(PredictionError, match="output_column is label, and the outputs have no parts"):
        read(np.ones(2), 2, "label")


def test_json_text_is_told_as_that_and_its_fields_can_be_chosen() -> None:
    texts = [json.dumps({"label": label, "score": 0.5}) for label in LABELS]
    for outputs in (texts, np.array(texts), pd.Series(texts), [text.encode() for text in texts]):
        with pytest.raises(
            PredictionError, match="each row of the outputs is JSON text with the fields label, score: "
        ):
            read(outputs, 3)
        assert read(outputs, 3, "label").tolist() == LABELS
    with pytest.raises(PredictionError, match="each row of the outputs is JSON text: let the model return its numbers"):
        read(["[0.5, 0.5]"] * 3, 3)
    assert read(["{a", "[b", "{}c"], 3).tolist() == ["{a", "[b", "{}c"], "text that only looks like it"


def test_what_is_taken_or_left_out_is_noted() -> None:
    for outputs, note in [
        ((torch.ones(4, 2), (torch.zeros(1, 4), torch.zeros(1, 4))), "of 3 outputs what is assessed is 0: the others"),
        (OrderedDict(loss=torch.tensor(0.5), logits=torch.ones(4, 2)), "of 2 outputs what is assessed is logits: the"),
        ({"mean": np.ones(4), "spread": np.ones(4)}, "the outputs mean, spread stand side by side"),
        ((np.ones(4), np.ones(4)), "the outputs 0, 1 stand side by side"),
    ]:
        reader = OutputReader()
        reader(outputs, 4)
        reader(outputs, 4)
        assert len(reader.notes) == 1 and reader.notes[0].startswith(note)
    plain = OutputReader()
    plain(np.ones(4), 4)
    assert (plain.notes, plain.names) == ([], ())


def test_names_are_of_each_column() -> None:
    reader = OutputReader()
    reader({"z": [1.0, 2.0], "a": [[3.0, 4.0], [5.0, 6.0]]}, 2)
    assert reader.names == ("z", "a", "a")


def test_the_parts_taken_at_first_are_expected_ever_after() -> None:
    reader = OutputReader()
    reader({"mean": [1.0, 2.0], "spread": [1.0, 2.5]}, 2)
    assert reader({"spread": [1.5, 2.5], "mean": [0.0, 1.0]}, 2).tolist() == [[0.0, 1.5], [1.0, 2.5]]
    with pytest.raises(PredictionError, match="the parts mean, sd, not mean, spread as before"):
        reader({"mean": [1.0, 2.0], "sd": [1.0, 2.0]}, 2)


def test_names_fit_into_a_sentence() -> None:
    outputs = {f"{index}\n" + "x" * 100: [0.5, 1.5] if index else ["a", "b"] for index in range(30)}
    with pytest.raises(PredictionError, match="and 20 more") as raised:
        read(outputs, 2)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1200


def test_parts_keep_the_order_of_the_first_answer_and_of_what_they_are_compared_with() -> None:
    """By their places they would be other outputs: of two versions, and from one call to the next."""
    rows = np.random.default_rng(0).normal(size=(100, 2))
    first = {"small": lambda x: np.tanh(4 * x[:, 0]), "large": lambda x: 2 * x[:, 1]}
    other = dict(reversed(first.items()))
    calls = iter([first, other] * 100)

    def model(parts: Any) -> Any:
        return lambda x: {name: part(x) for name, part in parts.items()}

    result = robmon.compare(model(first), model(other), rows)
    assert result.pooled_ratio == 1.0 and not result.worse
    turning = robmon.assess(lambda x: model(next(calls))(x), rows, trials=19)
    steady = robmon.assess(model(first), rows, trials=19)
    assert turning.curve[0].mean_mse == 0 and turning.curve[-1].mean_mse == steady.curve[-1].mean_mse
    renamed = robmon.compare(model(first), model({"tiny": first["small"], "large": first["large"]}), rows)
    told = "the outputs tiny, large are compared, in this order, with small, large of the other version"
    assert renamed.b is not None and told in renamed.b.notes
