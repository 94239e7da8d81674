"""Rows without a finite output, clean or noisy, and what float16 cannot hold: left out or a failure, and told."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

import robmon
from robmon.errors import InvalidInputError, PredictionError
from tests.robustness import linear
from tests.robustness.assessing import assess_rows

LOST = [3, 7]


def losing(x, rows, lost=LOST):
    """A linear model that has no output for some rows, with and without noise."""
    outputs = linear.predict(x, rows)
    outputs[np.isin(np.arange(rows.start, rows.stop), lost)] = np.nan
    return outputs


def numbers(result) -> list[float]:
    """Everything that is said of all rows together."""
    told = result.to_dict()
    flat = [value for point in told["curve"] for key, value in point.items() if key != "trial_mse"]
    slopes = [told["slope"]["value"], told["slope"]["stderr"]]
    every = [*flat, *slopes, told["area"], *told["band"], *told["output_variance"], told["own_mse"]]
    return [value for value in every if value is not None]


@pytest.mark.parametrize("batch_rows", [None, 4])
def test_rows_without_a_finite_clean_output_are_left_out_of_every_number(batch_rows) -> None:
    """To the bit what the other rows alone give under the noise that they had."""
    inputs, kept = linear.inputs(60), np.delete(np.arange(60), LOST)
    draws = np.random.default_rng(5).normal(size=(60, 4))  # one draw a row, so that leaving rows out moves no noise

    def noise(rows):
        return robmon.Noise("fixed", lambda generator, shape: draws[rows][: shape[0]])

    options = {"trials": 39, "scale": np.full(4, 0.5), "max_batch_rows": 60}
    result = assess_rows(losing, inputs, noise=noise(np.arange(60)), **options)
    alone = assess_rows(linear.predict, inputs[kept], noise=noise(kept), **options)
    assert numbers(result) == pytest.approx(numbers(alone), rel=1e-12)
    assert (result.rows, len(result.finite)) == (58, 60)
    assert np.flatnonzero(~result.finite).tolist() == LOST
    assert result.clean_nonfinite_ratio == pytest.approx(2 / 60)
    assert all(point.nonfinite_outputs == 0 for point in result.curve)
    assert result.notes == (
        "output is value: numbers under regression",
        "2 of 60 rows are left out: without noise the output is not finite there (rows 3, 7, counted from 0)",
    )
    assert np.isnan(result.row_errors[LOST]).all() and np.isfinite(result.row_errors[kept]).all()
    again = assess_rows(losing, inputs, trials=19, max_batch_rows=batch_rows)
    assert not set(again.worst_rows(share=1.0)) & set(LOST) and len(again.worst_rows(share=1.0)) == 58
    json_told = again.to_dict()
    assert (json_told["rows"], json_told["clean_nonfinite_rows"], json_told["notes"]) == (58, 2, list(again.notes))
    assert "2 of 60 rows are left out" in str(again)


def test_nan_that_stays_nan_is_no_change_and_a_finite_output_made_nan_is_the_failure() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 2)), columns=["a", "b"])
    frame.loc[7, "b"] = np.nan
    result = robmon.assess(lambda d: (d.a + d.b).to_numpy(), frame)
    clean = robmon.assess(lambda d: (d.a + d.b).to_numpy(), frame.drop(index=7))
    assert result.index == pytest.approx(clean.index, abs=0.005)
    assert result.curve[0].mean_mse == 0 and math.isfinite(result.curve[-1].bound)

    def fragile(d):
        return np.where(np.abs(d.a) > 4, np.nan, d.a + d.b)

    broken = robmon.assess(fragile, frame.clip(-3.5, 3.5), levels=(0.05, 5.0))
    assert [math.isfinite(point.bound) for point in broken.curve] == [True, True, False]
    assert broken.rows == 299 and broken.curve[-1].nonfinite_outputs > 0 == broken.curve[0].nonfinite_outputs


@pytest.mark.parametrize(
    ("outputs", "task", "lost"),
    [
        (lambda x: np.where(x[:, 0] > 1, np.inf, x[:, 1]), "regression", "()"),
        (lambda x: np.column_stack([x[:, 0], np.where(x[:, 0] > 1, np.nan, x[:, 1])]), "regression", "output 1 of 2"),
        (lambda x: np.where(x[:, 0] > 1, None, np.where(x[:, 1] > 0, "yes", "no")), "classification", "()"),
        (lambda x: np.where(x[:, 0] > 1, np.nan, (x[:, 1] > 0) * 1.0), "label", "()"),
        (lambda x: torch.where(x[:, 0] > 1, torch.nan, x[:, 1]), "torch", "()"),
    ],
)
def test_values_labels_and_tensors_alike(outputs, task, lost) -> None:
    inputs = linear.inputs(200)
    given = torch.as_tensor(inputs) if task == "torch" else inputs
    options = {"task": "classification", "output": "label"} if task == "label" else {"task": task}
    still = robmon.Noise("still", lambda generator, shape: np.zeros(shape))  # so that no finite output is lost
    told = {} if task == "torch" else options
    result = assess_rows(lambda x, rows: outputs(x), given, trials=19, noise=still, **told)
    expected = inputs[:, 0] > 1
    assert (~result.finite).tolist() == expected.tolist() and result.rows == 200 - expected.sum()
    assert [point.bound for point in result.curve] == [0.0] * 5
    assert all(point.agreement in (None, 1.0) for point in result.curve)
    assert result.notes[1].startswith(f"{expected.sum()} of 200 rows are left out")
    assert lost in result.notes[1] or lost == "()"


def test_probabilities_are_known_as_such_beside_rows_of_nan() -> None:
    def predict(x, rows):
        p = 1 / (1 + np.exp(-x[:, :1]))
        p = np.hstack([p, 1 - p])
        p[np.isin(np.arange(rows.start, rows.stop), LOST)] = np.nan
        return p

    for output in (None, "probability"):
        result = assess_rows(predict, linear.inputs(80), task="classification", output=output, trials=19)
        assert result.output == "probability" and result.rows == 78
        assert result.curve[-1].mean_bound is not None and result.curve[-1].mean_bound < 1
        assert np.isnan(result.curve[-1].certified_radius[LOST]).all()
        assert result.certified_share([0.0]).share[0] > 0.7
        assert "certified" in str(result)


def test_no_finite_row_is_one_clear_error() -> None:
    with pytest.raises(PredictionError, match=r"not finite for any of the 50 rows$") as caught:
        assess_rows(lambda x, rows: np.full(len(x), np.nan), linear.inputs(50))
    assert caught.value.reason == "invalid_output"
    with pytest.raises(PredictionError, match=r"for any of the 50 rows, in output 2 of 3$"):
        assess_rows(lambda x, rows: np.column_stack([x[:, 0], x[:, 1], x[:, 2] * np.nan]), linear.inputs(50))


def test_a_version_that_is_not_finite_where_its_reference_was_is_worse() -> None:
    inputs = linear.inputs(200)

    def cut(lost):
        return lambda x: losing(x, slice(0, len(x)), lost)

    good = cut([])
    same = robmon.compare(good, good, inputs, trials=19)
    assert not same.worse
    for lost in ([5], range(200)):
        worse = robmon.compare(good, cut(lost), inputs, trials=19)
        assert worse.worse and worse.pvalue == 0
    # Rows that the reference has no output for are left out, whatever the other says of them.
    for other in ([5], [], [5, 8]):
        against = robmon.compare(cut([5]), cut(other), inputs, trials=19)
        assert against.worse == (other == [5, 8])
        assert against.rows == 199
        if other != [5, 8]:
            assert against.ratio == pytest.approx(1.0)


def test_a_ranking_is_of_the_same_rows() -> None:
    inputs, truth = linear.inputs(200), (linear.inputs(200)[:, 0] > 0) * 1

    def says(x):
        return (x[:, 0] > 0) * 1.0

    def lost(x):
        return np.where(np.arange(len(x)) < 50, np.nan, says(x))

    options = {"task": "classification", "output": "label", "trials": 19}
    ranking = robmon.rank({"says": says, "lost": lost}, inputs, truth * 1.0, **options)
    assert ranking.scores[:, 0].tolist() == [1.0, 0.75]
    values = {"a": lambda x: x[:, 0], "b": lambda x: 0.9 * x[:, 0], "lost": lambda x: np.where(x[:, 0] > 1, np.inf, 1)}
    ranking = robmon.rank(values, inputs, inputs[:, 0], trials=19)
    assert ranking.names == ("a", "b")
    assert "not finite on" in ranking.left_out[0][1]


# --- float16 ---------------------------------------------------------------------------------------------------------


def test_noise_that_leaves_float16_is_told_as_that() -> None:
    inputs = (55000 + 1000 * np.random.default_rng(0).normal(size=(100, 3))).astype(np.float16)
    result = robmon.assess(lambda x: x.astype(np.float64).sum(axis=1), inputs, trials=19, levels=(0.05, 8.0))
    assert result.curve[1].bound < math.inf == result.curve[2].bound
    told = next(note for note in result.notes if note.startswith("noise takes inputs beyond 65504, where float16 ends"))
    assert "level 8 in" in told and "level 0.05" not in told


def test_float16_columns_of_a_frame_overflow_too() -> None:
    g = np.random.default_rng(0)
    frame = pd.DataFrame({"small": g.normal(size=100), "large": (55000 + 1000 * g.normal(size=100)).astype(np.float16)})
    with np.errstate(over="ignore"):
        result = robmon.assess(lambda d: d["small"] + d["large"].astype(float), frame, trials=19, levels=(0.05, 8.0))
        named = {"large": frame["large"].to_numpy(), "small": frame["small"].to_numpy()}
        tensors = robmon.assess(lambda d: d["small"] + d["large"].astype(float), named, trials=19, levels=(0.05, 8.0))
    for each in (result, tensors):
        assert each.curve[2].bound == math.inf
        assert any("beyond 65504" in note and "level 8 in" in note for note in each.notes)


def test_outputs_of_float16_that_overflow_are_told() -> None:
    def predict(x):
        with np.errstate(over="ignore"):
            return (x[:, 0] * 30000).astype(np.float16)

    result = robmon.assess(predict, np.clip(linear.inputs(100), -2, 2), trials=19, levels=(0.01, 3.0))
    assert result.curve[-1].bound == math.inf and result.rows == 100
    assert any("computes in float16" in note for note in result.notes)
    clean = robmon.assess(predict, 1.5 * linear.inputs(100), trials=19, levels=(0.001,))
    assert clean.rows < 100
    assert [note.split(":")[0] for note in clean.notes if "float16" in note or "left out" in note] == [
        f"{100 - clean.rows} of 100 rows are left out", "the model computes in float16"
    ]  # fmt: skip


def test_a_half_precision_module_is_told_of_inputs_that_it_gets_as_infinity() -> None:
    module = torch.nn.Linear(2, 1).half()
    inputs = np.random.default_rng(0).normal(size=(60, 2))
    inputs[4] = 1e5
    result = robmon.assess(module, inputs, trials=19)
    assert np.flatnonzero(~result.finite).tolist() == [4]
    assert any(note.startswith("1 rows hold inputs beyond 65504") for note in result.notes)
    bounded = robmon.assess(torch.nn.Sequential(module, torch.nn.Sigmoid()), inputs, trials=19)
    assert any("beyond 65504" in note for note in bounded.notes)


def test_nothing_is_told_of_float32_and_float64() -> None:
    for dtype in (np.float32, np.float64):
        told = robmon.assess(lambda x: x.sum(axis=1), linear.inputs(50).astype(dtype), trials=19).notes
        assert told == ("output is value: numbers under regression",)


def test_targets_that_are_not_finite_are_refused_still() -> None:
    with pytest.raises(InvalidInputError, match="targets must be finite numbers"):
        robmon.assess(lambda x: x[:, 0], linear.inputs(50), np.full(50, np.nan))
