"""Results are logged to a real MLflow, by the process that has the credentials, or wait in the history."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from robmon import settings
from robmon.daemon.journal import result_log
from robmon.daemon.journal.result_log import ResultLog, points, tags
from robmon.daemon.memory.writer import Writer
from robmon.daemon.registry.follow import Follower
from robmon.errors import SettingsError
from robmon.history.state.records import Bounds
from robmon.history.store import History
from tests.history.example import BEGIN
from tests.servers import free_port


def row(number: int, run_id: str | None) -> dict[str, Any]:
    levels = [{"level": 0.4, "mse": 0.5 * number, "bound": "+Inf", "ratio": 1.5}]
    found = {"at": BEGIN + number, "number": number, "version": "3", "run_id": run_id, "seed": 2**62 + number}
    return {**found, "mse": 0.5 * number, "bound": "+Inf", "index": 0.9, "slope": None, "levels": levels}


def log_of(history: History, tracking_uri: str) -> ResultLog:
    given = {"model.uri": "models:/m/3", "mlflow.tracking_uri": tracking_uri, "data_dir": str(history.data_dir)}
    return ResultLog(Follower(settings.load(given).settings), history.past, Writer())


@pytest.mark.long
def test_each_assessment_is_logged_once_and_what_cannot_be_waits(
    tracking_server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = tracking_server
    client = MlflowClient(url)
    run_id = client.create_run(client.create_experiment(f"results of {tmp_path.name}")).info.run_id
    history = History(tmp_path, "m", Bounds(max_days=36_500))
    for number in range(1, 4):
        history.past.add(row(number, run_id if number > 1 else None))

    nowhere = log_of(history, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    asyncio.run(nowhere.log())
    assert [each["number"] for each in history.past.unlogged(9)] == [2, 3], "those of no run need not wait"

    there = log_of(history, url)
    for _ in range(2):
        asyncio.run(there.log())
    assert history.past.unlogged(9) == []
    logged = client.get_metric_history(run_id, "robmon.mse")
    assert [(each.step, each.value, each.timestamp) for each in logged] == [
        (2, 1.0, round(1000 * (BEGIN + 2))),
        (3, 1.5, round(1000 * (BEGIN + 3))),
    ]
    run = client.get_run(run_id).data
    assert set(run.metrics) == {"robmon.mse", "robmon.index", "robmon.ratio"}, "infinite ones are left out"
    assert (run.tags["robmon.number"], run.tags["robmon.seed"]) == ("3", str(2**62 + 3))
    curve = json.loads(Path(client.download_artifacts(run_id, "robmon/curve.json", str(tmp_path))).read_text())
    assert curve == row(3, run_id)


def test_what_is_logged_of_a_row() -> None:
    assert points(row(2, "r"))[0] == ("robmon.mse", 1.0, round(1000 * (BEGIN + 2)), 2)
    most = max(len(points(row(2, "r") | dict.fromkeys(("bound", "slope", "noise_margin", "evidence"), 1.0))), 0)
    assert most * result_log.MOST_ROWS <= 1000, "more MLflow takes in no batch"
    assert tags({"version": "3", "seed": None}) == {"robmon.version": "3"}


def test_a_model_at_an_endpoint_has_no_run() -> None:
    with pytest.raises(SettingsError, match=r"history\.log_to_mlflow is for models that a run has made"):
        settings.load({"model.uri": "http://h/v2/models/m/infer", "history.log_to_mlflow": "true"})
