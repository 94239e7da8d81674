"""Unusual rows as the worker tells them: numbers and requests, of fresh rows, one a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robmon.history.baseline.checksum import with_checksum
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.worker.evaluation import evaluate
from tests.models.conftest import columns, save_pyfunc
from tests.robustness.assessing import specified

FEATURES = 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    folder: Path = tmp_path_factory.mktemp("model") / "model"
    signature = columns(*((f"x{index}", "double") for index in range(FEATURES)))
    return load(save_pyfunc(folder, lambda frame: frame.to_numpy().sum(axis=1), signature))


def answered(
    model: ServedModel,
    rows: NDArray[Any],
    topped_up: int = 0,
    *,
    each: int = 1,
    alpha: float | None = 0.01,
    **given: Any,
) -> Assessed:
    """Requests with so many rows, the first of them used before."""
    names = [f"x{index}" for index in range(FEATURES)]
    bodies = [
        json.dumps({"dataframe_split": {"columns": names, "data": rows[at : at + each].tolist()}}).encode()
        for at in range(0, len(rows), each)
    ]
    requests = [
        SampledRequest(format="mlflow", headers={"content-type": "application/json"}, seed=at, topped_up=at < topped_up)
        for at in range(len(bodies))
    ]
    specification, rest = specified({"levels": [0.0, 0.1], "trials": 19} | given)
    settings: dict[str, Any] = {
        **{"number": 1, "seed": 7, "requests": requests, "rows_per_request": each, "sample_rows": 1000, "min_rows": 32},
        **{"max_seconds": 300, "max_features": 3, "baseline": None, "baseline_min_rows": 500, "novelty_alpha": alpha},
    }
    answer, _ = evaluate(model, Assess(specification=specification, **settings | rest), bodies)
    assert isinstance(answer, Assessed)
    return answer


def sensors(r: np.random.Generator, rows: int) -> NDArray[Any]:
    return np.asarray(r.normal(size=(rows, FEATURES)) @ (np.eye(FEATURES) + 0.5))


@pytest.fixture(scope="module")
def baseline(model: ServedModel) -> dict[str, Any]:
    r, known = np.random.default_rng(0), None
    for rows in (250, 240, 250):
        first = answered(model, sensors(r, rows), baseline=known)
        assert first.novelty is None
        known = first.baseline
    assert known["source"] == "learnt" and len(known["novelty"]["scores"]) == 740 - 256
    return known


def test_queries_around_one_row_are_named_by_their_requests(model: ServedModel, baseline: dict[str, Any]) -> None:
    r = np.random.default_rng(1)
    rows = sensors(r, 200)
    rows[120:128] = rows[7] + r.normal(scale=1e-3, size=(8, FEATURES))
    rows[150], rows[151] = rows[20], 30.0
    found = answered(model, rows, topped_up=100, baseline=baseline).novelty
    assert found is not None and (found.rows, found.equal_rows, found.near_duplicates) == (100, 1, 8)
    assert found.near_requests == list(range(120, 128)) and 151 in found.novel_requests
    assert found.ratio == len(found.novel_requests) / 100 and found.pvalue is not None


def test_usual_rows_are_no_news_and_nothing_is_told_where_nobody_asks(
    model: ServedModel, baseline: dict[str, Any]
) -> None:
    rows = sensors(np.random.default_rng(2), 200)
    found = answered(model, rows, baseline=baseline).novelty
    assert found is not None and found.pvalue is not None
    assert found.pvalue > 0.01 and found.near_duplicates == 0
    assert answered(model, rows, baseline=baseline, alpha=None).novelty is None
    older = {name: value for name, value in baseline.items() if name not in ("novelty", "checksum")}
    assert answered(model, rows, baseline=with_checksum(older)).novelty is None


def test_rows_of_one_request_are_one(model: ServedModel, baseline: dict[str, Any]) -> None:
    r = np.random.default_rng(3)
    rows = np.repeat(sensors(r, 60), 4, axis=0) + r.normal(scale=1e-4, size=(240, FEATURES))
    found = answered(model, rows, each=4, baseline=baseline).novelty
    assert found is not None and (found.rows, found.near_duplicates) == (60, 0)
    learnt = answered(model, rows, each=4).baseline
    assert learnt["rows"] == 240 and learnt["novelty"]["fitted"] == 60
