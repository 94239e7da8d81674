"""The synthetic canary in the worker, on real models: made when a baseline settles, run again at every assessment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robmon.errors import InvalidInputError
from robmon.history.baseline.format import baseline_from_dict
from robmon.models.inputs.split import split
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.findings import CanaryResult
from robmon.worker.evaluation import evaluate
from tests.models.conftest import columns, save_pyfunc, tensor
from tests.worker.test_evaluation import bodies, linear, question  # noqa: F401

ROWS = 64


def run(model: ServedModel, baseline: dict[str, Any] | None, sample: list[bytes] | None = None, **changes: Any):
    """The canary's result of one assessment, and the baseline after it."""
    asked = question(ROWS, baseline=baseline, baseline_min_rows=ROWS, **changes)
    answer, _ = evaluate(model, asked, bodies(ROWS) if sample is None else sample)
    assert isinstance(answer, Assessed)
    return answer.canary, json.loads(json.dumps(answer.baseline))


def answering(model: ServedModel, change: Callable[[Any], Any]) -> ServedModel:
    """The same version, whose library gives other answers."""
    return replace(model, _call=lambda x: change(model._call(x)))


def test_it_is_made_when_the_baseline_settles_and_runs_unchanged(linear: list[ServedModel]) -> None:  # noqa: F811
    answer, _ = evaluate(linear[0], question(ROWS), bodies(ROWS))
    assert isinstance(answer, Assessed) and answer.canary is None and "canary" not in answer.baseline
    made, baseline = run(linear[0], None)
    assert made == CanaryResult(rows=64, ratio=0.0)
    for seed in range(3):
        again, after = run(linear[0], baseline, bodies(ROWS, seed=seed))
        assert again == made and after == baseline


def test_a_swapped_artifact_an_answer_off_and_another_type_are_told(linear: list[ServedModel]) -> None:  # noqa: F811
    _, baseline = run(linear[0], None)
    swapped, after = run(linear[1], baseline)
    assert swapped.is_changed and swapped.ratio > 0.9 and after == baseline
    off, _ = run(answering(linear[0], lambda y: y + 1e-3), baseline)
    assert off.is_changed and off.ratio == 1.0
    single, _ = run(answering(linear[0], lambda y: np.asarray(y, dtype=np.float32)), baseline)
    assert single.ratio == 1.0 and single.notes == ["outputs are float32, they were float64"]
    one_wrong, _ = run(answering(linear[0], lambda y: np.where(np.arange(len(y)) == 3, np.nan, y)), baseline)
    assert one_wrong.is_changed and one_wrong.ratio == 1 / 64


def test_columns_stay_within_their_range(linear: list[ServedModel]) -> None:  # noqa: F811
    def call(x: pd.DataFrame) -> Any:
        assert (x["a"] > 0).all() or len(x) != 64
        return np.log(x["a"].clip(1e-9)) + x["b"]

    rows = np.exp(2.0 * np.random.default_rng(4).normal(size=(ROWS, 3)))
    sample = [
        json.dumps({"dataframe_split": {"columns": ["a", "b", "c"], "data": [row.tolist()]}}).encode() for row in rows
    ]
    result, baseline = run(replace(linear[0], _call=call), None, sample)
    assert result.ratio == 0.0
    kept = baseline_from_dict(baseline).canary
    assert kept is not None and kept.outputs is not None and np.isfinite(kept.outputs.values).all()


def test_a_torch_model_is_told_too(tmp_path: Path) -> None:
    import mlflow.pytorch
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.Tanh(), torch.nn.Linear(64, 5))
    mlflow.pytorch.save_model(
        net, tmp_path / "net", signature=tensor("float32", (-1, 3)), pip_requirements=["torch"],
        serialization_format="pickle",
    )  # fmt: skip
    model = load(tmp_path / "net")
    rows = np.random.default_rng(1).normal(size=(ROWS, 3)).round(3)
    sample = [json.dumps({"inputs": [row.tolist()]}).encode() for row in rows]
    made, baseline = run(model, None, sample)
    assert made.ratio == 0.0
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        assert run(model, baseline, sample, max_batch_rows=5)[0] == made
    finally:
        torch.set_num_threads(threads)
    with torch.no_grad():
        model.module[2].bias[1] += 1e-3
    assert run(model, baseline, sample)[0].ratio == pytest.approx(1 / 5)
    model.module.half().float()
    assert run(model, baseline, sample)[0].is_changed


def test_of_a_random_model_there_is_none_and_it_says_why(linear: list[ServedModel]) -> None:  # noqa: F811
    own = np.random.default_rng(0)
    model = answering(linear[0], lambda y: y + own.normal(size=np.shape(y)))
    result, baseline = run(model, None)
    assert result == CanaryResult(reason="the model is itself random: it gives the same rows other outputs again")
    assert run(model, baseline)[0] == result


def test_a_model_that_raises_on_rows_that_it_took_has_changed(linear: list[ServedModel]) -> None:  # noqa: F811
    _, baseline = run(linear[0], None)
    known = baseline_from_dict(baseline)
    assert known.canary is not None
    first = known.inputs_seen.features["a"].reference()
    assert known.canary.rows == 64

    def call(x: pd.DataFrame) -> Any:
        if set(x["a"]) <= set(first.places):
            raise ValueError("a secret input")
        return linear[0]._call(x)

    told, after = run(replace(linear[0], _call=call), baseline)
    assert told.is_changed and told.ratio == 1.0 and after == baseline
    assert told.notes == ["on rows that it took before: the model raised ValueError"]


def mixed_sample(cities: list[str]) -> list[bytes]:
    rows = np.random.default_rng(0).normal(size=ROWS)
    names = ["size", "rooms", "city", "sold"]
    data = [[float(size), index % 5, cities[index % len(cities)], index % 3 == 0] for index, size in enumerate(rows)]
    return [json.dumps({"dataframe_split": {"columns": names, "data": [row]}}).encode() for row in data]


MIXED = columns(("size", "double"), ("rooms", "long"), ("city", "string"), ("sold", "boolean"))


def test_other_columns_are_drawn_from_their_summaries(tmp_path: Path) -> None:
    def predict(x: pd.DataFrame) -> np.ndarray:
        assert x["rooms"].between(0, 4).all() and x["sold"].dtype == bool
        worth = np.array([{"Rome": 1.0, "Oslo": 2.0}[city] for city in x["city"]])
        return np.asarray(x["size"] * 2.0 + x["rooms"] * worth + 3.0 * x["sold"])

    model = load(save_pyfunc(tmp_path / "mixed", predict, MIXED))
    made, baseline = run(model, None, mixed_sample(["Rome", "Oslo"]))
    assert made == CanaryResult(rows=64, ratio=0.0)
    assert run(model, baseline, mixed_sample(["Oslo", "Oslo"]))[0] == made
    other_city = answering(model, lambda y: y * 1.001)
    assert run(other_city, baseline, mixed_sample(["Rome", "Oslo"]))[0].ratio > 0.9


def test_no_name_is_drawn_of_a_baseline_that_keeps_hashes(tmp_path: Path) -> None:
    def predict(x: pd.DataFrame) -> np.ndarray:
        assert not x["city"].fillna("").str.contains("#").any()
        return np.asarray(x["size"] * 2.0 + (x["city"] == "Rome"))

    model = load(save_pyfunc(tmp_path / "mixed", predict, MIXED))
    made, baseline = run(model, None, mixed_sample(["Rome", "Oslo"]), hashes_names=True)
    assert made == CanaryResult(rows=64, ratio=0.0) and "Rome" not in json.dumps(baseline)


def test_a_model_that_does_not_take_drawn_rows_has_none(tmp_path: Path) -> None:
    def predict(x: pd.DataFrame) -> np.ndarray:
        return np.array([{"a": 1.0}[word[:1]] for word in x["city"]]) * x["size"].to_numpy()

    words = [f"a free text, number {index}" for index in range(ROWS)]
    model = load(save_pyfunc(tmp_path / "choosy", predict, MIXED))
    none, baseline = run(model, None, mixed_sample(words))
    assert none.ratio is None and none.reason == "the model does not take drawn rows: the model raised KeyError"
    assert run(model, baseline, mixed_sample(words))[0] == none


def test_rows_of_several_sizes_have_none() -> None:
    parts = split(np.zeros((2, 3)))
    with pytest.raises(InvalidInputError, match="nested"):
        parts.rebuilt(lambda batch, rows: batch).drawn(np.zeros((4, 3)), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series([1, None], dtype="Int64"), [0, 0, 0]),
        (pd.Series([True, False], dtype="boolean"), [False] * 3),
        (pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01"])), [pd.Timestamp(0)] * 3),
        (pd.Series(["x", None]), [""] * 3),
        (pd.Series([[1], [2]]), None),
        (pd.Series(["a", "b"], dtype="category"), None),
    ],
    ids=["Int64", "boolean", "datetime", "text", "lists", "category"],
)
def test_neutral_cells_are_of_the_columns_type(values: pd.Series, expected: list[Any] | None) -> None:
    parts = split(pd.DataFrame({"x": [1.0, 2.0], "other": values}))
    if expected is None:
        with pytest.raises(InvalidInputError, match="column other"):
            parts.drawn(np.zeros((3, 1)), {})
        return
    frame = parts.drawn(np.zeros((3, 1)), {}).assemble(np.zeros((3, 1)), slice(0, 3))
    assert frame["other"].tolist() == expected and frame["other"].dtype == values.dtype
    given = parts.drawn(np.zeros((3, 1)), {"other": values.tolist()[:1] * 3})
    assert given.assemble(np.zeros((3, 1)), slice(0, 3))["other"].tolist() == values.tolist()[:1] * 3


def test_neutral_tensors_are_of_their_type() -> None:
    given = {
        "x": np.zeros((2, 3), "float32"),
        "ids": np.ones((2, 4), "int64"),
        "text": np.array([["a"], ["b"]], object),
    }
    frame = split(given).drawn(np.ones((5, 3), "float32"), {}).assemble(np.ones((5, 3), "float32"), slice(0, 5))
    assert frame["ids"].shape == (5, 4) and frame["ids"].dtype == np.int64 and not frame["ids"].any()
    assert frame["text"].tolist() == [[""]] * 5
