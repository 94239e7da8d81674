"""Start, loss of the registry, sudden death."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.registry import Registry
from tests.e2e.test_endpoint import NO_REGISTRY
from tests.patience import PATIENCE_SECONDS
from tests.servers import free_port, local_registry, mlflow_server


def unreachable(daemon: Daemon) -> float:
    return daemon.count("robmon_model_failures_total", stage="fetch", reason="registry_unreachable")


@pytest.mark.long
def test_registry_that_is_late_and_gets_lost(tmp_path: Path, mlflow_template: Path) -> None:
    """The daemon answers before it and without it, assesses on while it is gone, and follows when it is back."""
    folder = tmp_path / "registry"
    model = Registry(local_registry(folder, mlflow_template), folder).model()
    first, second = model.add(), model.add()
    model.serve(first)
    port = free_port()
    with running_daemon(tmp_path / "robmon", model.uri, f"http://127.0.0.1:{port}") as daemon:
        assert daemon.get("/healthz").status_code == 200
        assert sum(psutil.Process(daemon.process.pid).cpu_times()[:2]) < 2, "within a second where nothing else runs"
        assert daemon.get("/readyz").status_code == 503
        assert daemon.value("robmon_last_assessment_timestamp_seconds") == 0
        daemon.send()
        daemon.wait_for(lambda: unreachable(daemon), "a look-up that failed")

        with mlflow_server(folder, port=port):
            daemon.wait_for_assessments()
            assert daemon.assessed_version == first
            assert daemon.get("/readyz").status_code == 200

        lost = unreachable(daemon)
        model.serve(second)
        daemon.wait_for(lambda: unreachable(daemon) >= lost + 2, "look-ups that failed")
        daemon.wait_for_assessments()
        assert daemon.assessed_version == first
        assert daemon.get("/healthz").status_code == daemon.get("/readyz").status_code == 200

        with mlflow_server(folder, port=port):
            daemon.wait_for(lambda: daemon.assessed_version == second, "the version that came meanwhile")
            daemon.wait_for_assessments()
        assert len(daemon.log("served version unknown")) <= 3, "one line an outage, not one a look-up"


@pytest.mark.long
def test_killed_daemon(local: Registry, tmp_path: Path) -> None:
    """Its worker goes with it, even if it hangs in an assessment, and the next daemon goes on with the same data."""
    model = local.model()
    uri = f"models:/{model.name}/{model.add()}"
    with running_daemon(tmp_path, uri, local.tracking_uri) as daemon:
        daemon.send()
        daemon.wait_for_assessments(2)
        daemon.model("hangs")
        daemon.wait_for_call()
        assert daemon.worker().is_running()
        daemon.kill()
        last = [line["number"] for line in daemon.log("assessment") if line["outcome"] == "ok"][-1]

    with running_daemon(tmp_path, uri, local.tracking_uri) as daemon:
        daemon.model("behaves")
        daemon.send()
        daemon.wait_for_assessments()
        numbers = [line["number"] for line in daemon.told("assessment") if line["outcome"] == "ok"]
        assert numbers[0] > last, "no seed is used twice"


def test_end_while_a_model_is_fetched(local: Registry, tmp_path: Path) -> None:
    model = local.model()
    model.serve(model.add())
    with running_daemon(tmp_path, model.uri, local.tracking_uri) as daemon:
        daemon.wait_for(lambda: daemon.children("robmon.fetch"), "a fetch process")
        daemon.terminate()


def test_what_it_cannot_start_with(tmp_path: Path) -> None:
    """One sentence on standard error, and status 2."""
    (tmp_path / "file").touch()
    assert start_that_fails(f"--data_dir={tmp_path}/file", "--http.port=0") == [
        f"robmon: data_dir = '{tmp_path}/file' cannot be written: File exists"
    ]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert start_that_fails(f"--data_dir={tmp_path}/data", f"--http.port={port}") == [
            f"robmon: http.host = '127.0.0.1' with http.port = {port} cannot be bound: Address already in use"
        ]


def start_that_fails(*flags: str) -> list[str]:
    command = [sys.executable, "-m", "robmon", "run", "--model.uri=models:/odd/1", "--inputs.port=0", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert ended.returncode == 2
    return ended.stderr.splitlines()


def test_a_filter_that_fits_no_request_is_told_on_the_page_and_in_the_log(tmp_path: Path) -> None:
    """Whatever becomes of the model: here nobody answers at its endpoint."""
    with running_daemon(tmp_path, f"{NO_REGISTRY}/v2/models/y/infer", NO_REGISTRY, inputs__model="x") as daemon:
        inputs = f"http://127.0.0.1:{daemon.port('inputs_port')}/invocations"
        for _ in range(3):
            assert daemon.client.post(inputs, content=b'{"inputs": [1.5]}').status_code == 200
        assert "inputs.model = &#x27;x&#x27; is set: 3 requests that name no model" in daemon.get("/").text
        assert len(daemon.told("requests that name no model are left out")) == 1
        assert daemon.count("robmon_inputs_skipped_total", source="mlflow") == 3
