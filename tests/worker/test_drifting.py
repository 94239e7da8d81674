"""Drift as the worker tells it: every kind of column, of rows as they arrive, without any value of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robmon.drift.names import key_of
from robmon.errors import InvalidInputError
from robmon.history.baseline.checksum import with_checksum
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.worker.evaluation import evaluate
from tests.models.conftest import columns, save_pyfunc
from tests.robustness.assessing import specified

ROWS = 256


def score(frame: pd.DataFrame) -> Any:
    kind = frame["kind"].map({"a": 0.0, "b": 1.0, "c": 5.0}).to_numpy(dtype=float)
    return frame["x"].to_numpy() + frame["count"].to_numpy() + kind


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    signature = columns(
        *(("x", "double"), ("y", "double"), ("count", "long"), ("flag", "boolean"), ("kind", "string")),
        *(("note", "string"), ("customer_id", "long"), ("at", "datetime"), ("all", "double")),
    )
    folder: Path = tmp_path_factory.mktemp("mixed") / "model"
    return load(save_pyfunc(folder, score, signature))


def frame(seed: int, rows: int = ROWS) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": r.normal(size=rows),
            "y": r.normal(50, 10, size=rows),
            "count": r.poisson(3, rows),
            "flag": r.random(rows) < 0.3,
            "kind": r.choice(["a", "b"], rows),
            "note": [f"somebody wrote {seed} times {i}" for i in range(rows)],
            "customer_id": r.choice(10**9, rows, replace=False),
            "at": pd.date_range("2026-01-01", periods=rows, freq="min").strftime("%Y-%m-%dT%H:%M:%S"),
            "all": r.normal(size=rows),
        }
    )


def answered(model: ServedModel, rows: pd.DataFrame, each: int = 1, **changes: Any) -> Assessed:
    """Requests with so many rows."""
    bodies = [
        json.dumps({"dataframe_records": json.loads(rows.iloc[at : at + each].to_json(orient="records"))}).encode()
        for at in range(0, len(rows), each)
    ]
    requests = [
        SampledRequest(format="mlflow", headers={"content-type": "application/json"}, seed=index)
        for index in range(len(bodies))
    ]
    given: dict[str, Any] = {
        **{"number": 1, "seed": 7, "requests": requests, "rows_per_request": each, "sample_rows": 1000, "min_rows": 32},
        **{"max_seconds": 300, "max_features": 3, "baseline": None, "baseline_min_rows": ROWS},
    }
    specification, rest = specified({"levels": [0.0, 0.1], "trials": 19} | changes)
    answer, _ = evaluate(model, Assess(specification=specification, **given | rest), bodies)
    assert isinstance(answer, Assessed)
    return answer


@pytest.fixture(scope="module")
def baseline(mixed: ServedModel) -> dict[str, Any]:
    first = answered(mixed, frame(0, 128))
    assert first.baseline["source"] == "learning" and first.input_drift == [] and first.drifted_features is None
    return answered(mixed, frame(1), baseline=first.baseline).baseline


NOT_MEASURED = "drift is not measured of: note (text), customer_id (identifier), at (datetime)"


def test_every_column_is_watched_or_named(mixed: ServedModel, baseline: dict[str, Any]) -> None:
    answer = answered(mixed, frame(2), baseline=baseline)
    assert (answer.drifted_features, answer.features_watched) == (0, 6)
    assert NOT_MEASURED in answer.notes
    (mean,) = [each for each in answer.input_drift if each.feature == "all"]
    assert mean.statistic == "psi" and mean.value < 0.1
    assert {each.feature for each in answer.prediction_drift} == {"output", "all"}
    assert "somebody" not in answer.model_dump_json()
    phases = list(answer.phase_seconds)
    assert phases.index("drift") < phases.index("plan"), "trials are planned for the time that drift of inputs leaves"


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("x", lambda x: x + 1), ("y", lambda y: y * 2), ("count", lambda c: c + 3), ("flag", lambda f: ~f),
        ("kind", lambda k: k.where(k == "a", "c")), ("all", lambda x: -1.0 + 0 * x),
    ],
)  # fmt: skip
def test_one_column_that_changes_is_the_one_that_is_counted(
    mixed: ServedModel, baseline: dict[str, Any], column: str, change: Any
) -> None:
    now = frame(3)
    now[column] = change(now[column])
    answer = answered(mixed, now, baseline=baseline)
    told = "all (2)" if column == "all" else column
    assert answer.drifted_features == 1
    first = answer.input_drift[0]
    assert (first.feature, first.statistic) == (told, "psi") and first.value > 0.25
    statistics = {each.statistic: each.value for each in answer.input_drift if each.feature == told}
    expected = {"psi", "js"} if column == "kind" else {"psi", "js", "ks", "wasserstein"}
    assert set(statistics) == expected and statistics["js"] > 0.2
    assert len({each.feature for each in answer.input_drift} - {"all"}) == 3, "the most drifted alone"
    if column == "kind":
        assert [q.ratio for q in answer.input_quality if (q.feature, q.problem) == ("kind", "unseen")] == [
            np.mean(now["kind"] == "c")
        ]
        (output,) = [each for each in answer.prediction_drift if (each.feature, each.statistic) == ("output", "js")]
        assert output.value > 0.2


def test_rows_of_one_request_count_once(mixed: ServedModel, baseline: dict[str, Any]) -> None:
    """Eight rows a request that are alike would make any small difference certain."""
    alike = frame(4, 64).loc[np.repeat(np.arange(64), 8)].reset_index(drop=True)
    answer = answered(mixed, alike, each=8, baseline=baseline)
    assert answer.plan.rows == 512 and answer.drifted_features == 0


def test_a_sensor_that_goes_silent_is_told(mixed: ServedModel, baseline: dict[str, Any]) -> None:
    now = frame(5)
    now.loc[::5, "y"] = np.nan
    answer = answered(mixed, now, baseline=baseline)
    assert answer.drifted_features == 1
    assert [q.ratio for q in answer.input_quality if (q.feature, q.problem) == ("y", "missing")] == [
        pytest.approx(0.2, abs=0.01)
    ]


def test_salted_hashes_stand_in_the_place_of_names_where_that_is_asked_for(
    mixed: ServedModel, baseline: dict[str, Any]
) -> None:
    first = answered(mixed, frame(0, 128), hashes_names=True)
    known = answered(mixed, frame(1), baseline=first.baseline, hashes_names=True).baseline
    kind = known["inputs_seen"]["kind"]
    assert (known["source"], known["salt"]) == ("learnt", first.baseline["salt"])
    assert len(kind["names"]) == 2 and all(name.startswith("#") for name in kind["names"].values())
    assert not {key_of("a"), key_of("b")} & kind["counts"].keys(), "guessed without the salt"
    for asked in (True, False):  # what is hashed stays so
        answer = answered(mixed, frame(2), baseline=known, hashes_names=asked)
        assert (answer.drifted_features, answer.features_watched) == (0, 6) and NOT_MEASURED in answer.notes
    new = answered(mixed, frame(2).assign(kind="c"), baseline=known, hashes_names=True)
    assert [each.ratio for each in new.input_quality if (each.feature, each.problem) == ("kind", "unseen")] == [1.0]
    anew = answered(mixed, frame(2, 128), baseline=baseline, hashes_names=True).baseline
    assert anew["source"] == "learning" and anew["salt"] != known["salt"], "one with names is learnt anew"
    recorded = with_checksum({**baseline, "source": "local"})
    with pytest.raises(InvalidInputError, match="record a new baseline with --hash-names"):
        answered(mixed, frame(2), baseline=recorded, hashes_names=True)
