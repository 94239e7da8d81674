"""Models that are assessed at their own endpoint: no weights and none of their libraries in robmon's processes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import mlflow.pyfunc
import numpy as np
import pandas as pd

import robmon
from tests.e2e import proxies
from tests.e2e.daemon import PASSWORD, ROWS, Daemon, running_daemon
from tests.e2e.registry import CODE, COLUMNS, SIGNATURE
from tests.endpoint import Arrays, Reply, V2Model, serving
from tests.mlflow_client import quiet_mlflow
from tests.servers import free_port, model_server

NO_REGISTRY = "http://127.0.0.1:1"
WORKER_MEMORY_BYTES = 120 * 2**20
QUICK = {"inputs__sample_rows": 25, "assess__trials": 9, "assess__confidence": 0.9, "model__rows_per_second": 20_000}


def test_a_model_server_behind_a_mirror(tmp_path: Path) -> None:
    """What robmon asks comes back to it through the mirror, and is never sampled."""
    with quiet_mlflow():
        mlflow.pyfunc.save_model(
            tmp_path / "model",
            python_model=str(CODE),
            model_config={"weight": 2.0, "on_load": "behaves"},
            signature=SIGNATURE,
            pip_requirements=[],
        )
    inputs_port = free_port()
    with contextlib.ExitStack() as stack:
        serving_model = stack.enter_context(contextlib.ExitStack())
        url = serving_model.enter_context(model_server(tmp_path / "model", tmp_path))
        proxy = stack.enter_context(proxies.nginx(tmp_path / "nginx", url, inputs_port))
        endpoint = f"{proxy.replace('//', f'//robmon:{PASSWORD}@')}/invocations"
        settings = QUICK | {"inputs__port": inputs_port, "model__name": "sums"}
        daemon = stack.enter_context(running_daemon(tmp_path, endpoint, NO_REGISTRY, **settings))
        client = stack.enter_context(httpx.Client(base_url=proxy, trust_env=False))
        for row in ROWS[:60]:
            body = {"dataframe_split": {"columns": list(COLUMNS), "data": [row]}}
            assert client.post("/invocations", json=body).json()["predictions"] == [2 * (row[0] + row[1])]
        daemon.wait_for_assessments()
        of = {"model_name": "sums", "model_version": "unknown"}
        spread = np.array([row[:2] for row in ROWS[:60]]).std(axis=0)
        expected = 4 * 0.3**2 * float(np.sum(spread**2))
        measured = daemon.value("robmon_noise_mse", level="0.3", **of)
        assert measured is not None and 0.4 * expected < measured < 2.5 * expected
        assert daemon.value("robmon_model_info", flavor="remote", device=proxy.removeprefix("http://"), **of) == 1
        assert daemon.count("robmon_inputs_received_total", source="mlflow") == 60
        assert daemon.count("robmon_inputs_skipped_total", source="mlflow") >= 20, "robmon's own"
        assert_light(daemon)

        frame = pd.DataFrame(ROWS[60:90], columns=list(COLUMNS))
        asked = robmon.assess(f"{url}/invocations", frame, levels=(0.1,), trials=19)
        with quiet_mlflow():
            loaded = robmon.assess(tmp_path / "model", frame, levels=(0.1,), trials=19)
        assert np.array_equal(asked.row_errors, loaded.row_errors), "to the last bit"

        serving_model.close()
        daemon.wait_for_assessments(outcome="failed", reason="endpoint_status")  # of the proxy: 502


def assert_light(daemon: Daemon) -> None:
    worker = daemon.worker()
    mapped = {Path(each.path).name for each in worker.memory_maps()}
    assert not [name for name in mapped if "torch" in name or "pandas" in name or "arrow" in name]
    assert worker.memory_info().rss < WORKER_MEMORY_BYTES


def send(daemon: Daemon) -> None:
    for row in ROWS[:40]:
        assert daemon.post(json.dumps({"inputs": [row[:2]]}).encode()) == 202


def weighted(weight: float) -> Any:
    def predict(arrays: Arrays) -> Arrays:
        return {"y": weight * arrays["x"].sum(axis=1)}

    return predict


def test_a_version_changes_behind_the_endpoint(tmp_path: Path) -> None:
    """The server tells versions in its answers alone, so the first of them is learnt from the first answer."""
    model = V2Model(weighted(1.0), "mlserver", [("x", "FP64", [-1, 2])], "1")
    with serving(model) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path, url, NO_REGISTRY, **QUICK) as daemon:
            send(daemon)
            daemon.wait_for_assessments()
            assert daemon.assessed_version == "1"

            server.answer = lambda request: Reply(500)
            daemon.wait_for_assessments(outcome="failed", reason="endpoint_status")
            server.answer = model
            daemon.wait_for_assessments()

            model.predict, model.version = weighted(2.0), "2"
            daemon.wait_for(lambda: daemon.regression_stands, "the regression")
            assert daemon.assessed_version == "2"
            accept = f"robmon baseline --model {server.url}/v2/models/digits/versions/2/infer --accept"
            assert accept in daemon.get("/").text

            model.predict, model.version = weighted(1.0), "1"
            daemon.wait_for(lambda: not daemon.regression_stands, "the end of the regression")
            assert daemon.assessed_version == "1"

            model.predict, model.version = weighted(2.0), "2"
            daemon.wait_for(lambda: daemon.regression_stands, "the regression again")

        with running_daemon(tmp_path, url, NO_REGISTRY, **QUICK) as daemon:
            send(daemon)
            daemon.wait_for_assessments()
            assert daemon.regression_stands, "a restart does not forget it"
            command = [sys.executable, "-m", *accept.split(), "--data-dir", str(daemon.data_dir)]
            subprocess.run(command, check=True, timeout=60)
            daemon.wait_for(lambda: not daemon.regression_stands, "the end of the regression")
