"""Bundles of real daemons: nothing planted is in one without inputs, and its numbers come out again to the last bit in
a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.linear_model import LinearRegression

from tests import commands, planted
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.registry import COLUMNS, RegisteredModel, Registry
from tests.e2e.test_endpoint import AS_FAST, NO_REGISTRY
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving
from tests.mlflow_client import quiet_mlflow, tracking

NUMBERS, LABELS = planted.numbers(48, seed=15), planted.numbers(8, seed=16)
TOKENS = planted.tokens(8, seed=17)
REQUESTS = 60


HTTP, INPUTS, WEBHOOK, PASSWORD, *HEADERS = TOKENS
"""The first are in files that settings name, the password is in a URL, and the rest in headers of requests."""


def secret_settings(folder: Path) -> dict[str, object]:
    """Settings that name files of tokens."""
    names = {"http__token_file": HTTP, "inputs__token_file": INPUTS, "mlflow__webhook_secret_file": WEBHOOK}
    for name, token in names.items():
        (folder / name).write_text(f"{token}\n")
    return {name: folder / name for name in names}


def send_planted(daemon: Daemon, columns: dict[str, str]) -> None:
    """Requests of planted numbers alone, as a mirror copies them, and then what was true."""
    base, key = f"http://127.0.0.1:{daemon.port('inputs_port')}", {"Authorization": f"Bearer {INPUTS}"}
    for index in range(REQUESTS):
        lap, place = divmod(index, 16)
        row = [NUMBERS[(3 * place + offset * (lap + 1)) % len(NUMBERS)] for offset in range(3)]
        cells = [
            cell.partition(".")[0] if kind == "long" else cell for cell, kind in zip(row, columns.values(), strict=True)
        ]
        body = f'{{"dataframe_split": {{"columns": {json.dumps(list(columns))}, "data": [[{", ".join(cells)}]]}}}}'
        sent = {"Content-Type": "application/json", "X-Request-Id": f"request {index}"}
        sent |= dict(zip(("Cookie", "X-Api-Key", "Traceparent", "User-Agent"), HEADERS, strict=True))
        assert daemon.client.post(f"{base}/invocations", content=body, headers=sent | key).status_code == 202
        label = f'[{{"id": "request {index}", "target": {LABELS[index % len(LABELS)]}}}]'
        assert daemon.client.post(f"{base}/feedback", content=label, headers=key).status_code == 202


def hold_to_no_input(archive: bytes, folder: Path) -> None:
    """Raw bytes, texts of every kind, and each number in it as it is read: none is a planted one."""
    everything = [*NUMBERS, *LABELS, *TOKENS]
    assert len(set(everything)) == 64
    assert planted.found_in(archive, everything) == []
    assert planted.read_in(archive, everything) == []
    command_of(unpacked(archive, folder))


def unpacked(archive: bytes | Path, folder: Path) -> Path:
    if isinstance(archive, bytes):
        folder.mkdir(parents=True)
        file = folder.with_suffix(".tar.gz")
        file.write_bytes(archive)
        archive = file
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


def command_of(folder: Path) -> list[str]:
    """What its REPRODUCE.md says to run, in that folder."""
    lines = (folder / "REPRODUCE.md").read_text().splitlines()
    (command,) = (line for line in lines if line.startswith("robmon "))
    return shlex.split(command)[1:]


def test_a_bundle_of_a_model_at_an_endpoint_is_computed_again_there(tmp_path: Path) -> None:
    with serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **AS_FAST) as daemon:
            send_planted(daemon, COLUMNS)
            daemon.wait_for_assessments()
            hold_to_no_input(daemon.get("/incident").content, tmp_path / "plain")
            own = f"http://127.0.0.1:{daemon.port('http_port')}"
            words = ["incident", own, "-o", tmp_path / "whole.tar.gz", "--with-inputs"]
            done = commands.run(words, cwd=tmp_path, environment=daemon.environment)
            assert done.returncode == 0 and "no regression stands" in done.stdout, done.stdout + done.stderr
            content = (tmp_path / "whole.tar.gz").read_bytes()
            assert len(planted.found_in(content, NUMBERS)) > 10, "the search finds what is there"
            folder = unpacked(content, tmp_path / "unpacked")
            done = commands.run(command_of(folder), cwd=folder, environment=daemon.environment)
            assert done.returncode == 0 and "identical to the last bit" in done.stdout, done.stdout + done.stderr


@contextlib.contextmanager
def regressed(folder: Path, model: RegisteredModel, secret: dict[str, object]) -> Iterator[Daemon]:
    """A daemon of a model of scikit-learn's whose second version is worse, and on which a verdict stands."""
    versions = [add_linear(model, steepness) for steepness in (1.0, 2.0)]
    model.serve(versions[0])
    secret_uri = model.registry.tracking_uri.replace("://", f"://me:{PASSWORD}@")
    settings = {"inputs__sample_rows": REQUESTS, "assess__min_rows": REQUESTS, **secret}
    with running_daemon(folder, model.uri, secret_uri, **settings) as daemon:
        daemon.client.headers["Authorization"] = f"Bearer {HTTP}"
        send_planted(daemon, LINEAR)
        daemon.wait_for_assessments()
        daemon.wait_for(lambda: daemon.value("robmon_noise_mse", reference="label"), "errors against labels")
        model.serve(versions[1])
        daemon.wait_for(lambda: daemon.regression_stands, "the regression")
        yield daemon


LINEAR = {"length": "double", "width": "double", "height": "double"}


def add_linear(model: RegisteredModel, steepness: float) -> str:
    """Register the next version: three columns' sum, so steep."""
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=list(LINEAR))
    signature = ModelSignature(Schema([ColSpec(kind, name) for name, kind in LINEAR.items()]))
    with quiet_mlflow(), tracking(model.registry.tracking_uri), mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            LinearRegression().fit(rows, steepness * rows.sum(axis=1)),
            name="model",
            signature=signature,
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
            registered_model_name=model.name,
        )
    return str(logged.registered_model_version)


def alone(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a fresh process, which knows nothing of the daemon's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROBMON_", "MLFLOW_"))}
    command = [sys.executable, "-m", "robmon", *words]
    return subprocess.run(command, cwd=folder, env=kept | environment, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_none_of_64_values_is_in_the_bundles_of_a_verdict_and_it_is_computed_again(
    tmp_path: Path, served: Registry
) -> None:
    model, secret = served.model("linear"), secret_settings(tmp_path)
    with regressed(tmp_path / "daemon", model, secret) as daemon:
        own = f"http://127.0.0.1:{daemon.port('http_port')}"
        answered = daemon.get("/incident")
        assert answered.status_code == 200
        hold_to_no_input(answered.content, tmp_path / "answered")
        token = ["--token-file", str(secret["http__token_file"])]
        for name, words in {"asked": [own, *token], "left": [str(daemon.data_dir)]}.items():
            file = tmp_path / f"{name}-file.tar.gz"
            done = commands.run(["incident", *words, "-o", file], cwd=tmp_path, environment=daemon.environment)
            assert done.returncode == 0 and "is worse than version" in done.stdout, done.stdout + done.stderr
            hold_to_no_input(file.read_bytes(), tmp_path / name)
        done = alone(["assess", "--incident", str(tmp_path / "asked-file.tar.gz")], tmp_path)
        assert done.returncode == 2 and "this bundle holds no inputs" in done.stderr, done.stderr

        whole = tmp_path / "whole.tar.gz"
        words = ["incident", own, *token, "-o", whole, "--with-inputs"]
        done = commands.run(words, cwd=tmp_path, environment=daemon.environment)
        assert done.returncode == 0 and "this bundle holds production inputs" in done.stderr, done.stderr
        assert whole.stat().st_mode & 0o777 == 0o600
        content = whole.read_bytes()
        assert set(planted.found_in(content, NUMBERS)) == set(NUMBERS), "the search finds what is there"
        assert planted.found_in(content, [*LABELS, *TOKENS]) == [], "the requests' rows, and nothing else of them"
        for file in filter(Path.is_file, daemon.folder.rglob("*")):
            assert planted.found_in_bytes(file.read_bytes(), [*NUMBERS, *LABELS, *TOKENS]) == [], file
    # The daemon is gone, its token and its data folder are not needed: only the registry, which has the versions.
    folder = unpacked(content, tmp_path / "unpacked")
    done = alone(command_of(folder), folder, MLFLOW_TRACKING_URI=served.tracking_uri)
    assert done.returncode == 0 and "All numbers are identical to the last bit" in done.stdout, (
        done.stdout + done.stderr
    )
    assert done.stdout.count("version ") == 2, "the reference's assessment, and that of the version"
    change_a_bit(folder)
    done = alone(command_of(folder), folder, MLFLOW_TRACKING_URI=served.tracking_uri)
    assert done.returncode == 1 and "differs: levels[1].mean_mse" in done.stdout, done.stdout + done.stderr


def change_a_bit(folder: Path) -> None:
    """The last one of a recorded number."""
    replay: dict[str, Any] = json.loads((folder / "replay.json").read_text())
    level = replay["steps"][-1]["numbers"]["levels"][1]
    level["mean_mse"] = float(np.nextafter(level["mean_mse"], np.inf))
    (folder / "replay.json").write_text(json.dumps(replay))
