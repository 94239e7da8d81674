from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from mlflow.exceptions import MlflowException

from robmon.drift.hourly import HourlyErrors
from robmon.errors import ModelError
from robmon.fetch.__main__ import answer
from robmon.history.baseline.checksum import with_checksum
from robmon.history.baseline.hours import BaselineHours, HoursTerms, hours_of
from robmon.history.memory import Entry, from_json, judged, reference, standing_rejection, to_json
from robmon.models.loading import load
from robmon.models.registry import baseline_artifact
from robmon.models.registry import download as registry_download
from robmon.models.registry.path_safe import path_safe
from robmon.models.registry.registry import Registry
from robmon.models.registry.resolved import Resolved
from robmon.processes.channel import Channel
from robmon.processes.messages.base import Message
from robmon.processes.messages.every_process import Failure, Hello
from robmon.processes.messages.fetch import (
    BaselineShared,
    Fetch,
    Fetched,
    LogResults,
    Remember,
    Remembered,
    ResultsLogged,
    ShareBaseline,
)
from tests.models.conftest import Store
from tests.patience import PATIENCE_SECONDS
from tests.servers import end_group, free_port, wait_until


@contextlib.contextmanager
def fetch_process(output: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], Channel]]:
    """A fetch process and the channel to it, past its greeting."""
    ours, theirs = socket.socketpair()
    with output.open("wb") as file, ours:
        child = subprocess.Popen(
            [sys.executable, "-m", "robmon.fetch", "--fd", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )
        theirs.close()
        try:
            channel = Channel(ours)
            hello, _ = channel.receive()
            assert isinstance(hello, Hello)
            assert hello.pid == child.pid
            yield child, channel
        finally:
            end_group(child)


def ask(question: Fetch | Remember, folder: Path, **environment: str) -> Message:
    """What a fetch process answers; it must end by itself, well, and print nothing."""
    folder.mkdir(exist_ok=True)
    with fetch_process(folder / "output", **environment) as (child, channel):
        channel.send(question)
        message, _ = channel.receive()
        assert child.wait(PATIENCE_SECONDS) == 0
    assert (folder / "output").read_text() == ""
    return message


def test_fetches_a_version(store: Store, tmp_path: Path) -> None:
    name = store.register(versions=2, reviewed="yes")
    store.client.set_registered_model_alias(name, "champion", "2")
    told = to_json((Entry(version="1", run_id=store.run_id, accepted=True, by="first", at=1),))
    store.client.set_registered_model_tag(name, "robmon.memory.champion", told)
    baseline_artifact.log_baseline(f"models:/{name}/2", store.tracking_uri, {"rows": 64})
    data_dir = tmp_path / "data"
    question = Fetch(
        uri=f"models:/{name}@champion",
        tracking_uri=store.tracking_uri,
        data_dir=str(data_dir),
        allowed_flavors=["python_function"],
        require_tags=["reviewed=yes"],
        memory_tag="robmon.memory.champion",
        remembered_versions=["7", "2"],
    )

    fetched = ask(question, tmp_path)
    assert isinstance(fetched, Fetched)
    assert (fetched.version, fetched.memory, fetched.aliases) == ("2", told, {"champion": "2"})
    assert fetched.run_ids == {"1": store.run_id, "2": store.run_id}
    model = fetched.model
    assert model is not None
    assert (model.name, model.version, model.run_id) == (name, "2", store.run_id)
    assert model.flavors == ["python_function"]
    assert model.baseline == {"rows": 64}
    assert Path(model.path).is_relative_to(data_dir / "models")
    assert load(model.path).flavor == "pyfunc"


def test_an_artifact_of_millions_of_values_is_not_read(sqlite_store: Store) -> None:
    """The daemon would take it into memory: 8 MB of empty lists are 250 MB there."""
    run_id = sqlite_store.client.create_run("0").info.run_id
    registry = Registry(sqlite_store.tracking_uri)
    registry.write_artifact(run_id, "robmon/m/baseline.json", {"a": [[]] * 1_000_001})
    with pytest.raises(ModelError, match="has more than 2000000 values"):
        registry.read_artifact(run_id, "robmon/m/baseline.json")


def test_results_are_logged_to_the_run_each_once(sqlite_store: Store) -> None:
    run_id = sqlite_store.client.create_run("0").info.run_id
    question = LogResults(
        tracking_uri=sqlite_store.tracking_uri,
        run_id=run_id,
        metrics=[("robmon.mse", 0.5, 1_000, 7), ("robmon.mse", 0.6, 2_000, 8)],
        tags={"robmon.version": "3"},
        curve={"levels": [{"level": 0.4, "bound": "+Inf"}]},
    )
    for _ in range(2):
        assert isinstance(answer(question), ResultsLogged)
    logged = sqlite_store.client.get_metric_history(run_id, "robmon.mse")
    assert [(each.step, each.value, each.timestamp) for each in logged] == [(7, 0.5, 1_000), (8, 0.6, 2_000)]
    assert sqlite_store.client.get_run(run_id).data.tags["robmon.version"] == "3"
    assert Registry(sqlite_store.tracking_uri).read_artifact(run_id, "robmon/curve.json") == question.curve
    gone = answer(question.model_copy(update={"run_id": "0" * 32}))
    assert isinstance(gone, Failure) and gone.reason == "not_found"


def test_three_at_once_remember_one_version(store: Store, tmp_path: Path) -> None:
    """Each has judged the same version at a ratio that is found in most samples only, and one has let it pass.

    One of them is a process of its own.
    """
    name = store.register(versions=2)
    first = Entry(version="1", run_id=store.run_id, accepted=True, by="first", at=1)
    tag = "robmon.memory.champion"
    store.client.set_registered_model_tag(name, tag, to_json((first,)))

    def judge(number: int) -> Message:
        mine = judged(
            (first,),
            version="2",
            run_id=store.run_id,
            accepted=number == 1,
            against="1",
            pooled_ratio=1.3 + number / 10,
            pvalue=0.02 if number == 1 else 0.001,
            rows=256,
            at=10.0 + number,
            specification="s",
        )
        question = Remember(tracking_uri=store.tracking_uri, name=name, tag=tag, entries=to_json((first, mine)))
        return ask(question, tmp_path / "alone") if number == 2 else answer(question)

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(judge, range(3)))
    assert all(isinstance(each, Remembered) for each in answers)
    for text in (store.client.get_registered_model(name).tags[tag], answers[-1].memory):
        entries = from_json(text)
        stands = standing_rejection(entries, "2", store.run_id)
        assert stands is not None and stands.against == "1", "for every pod, also on an empty disk"
        assert reference(entries) == first


def hourly(first: int, count: int) -> dict[str, Any]:
    errors = HourlyErrors()
    errors.add(np.arange(first, first + count), np.ones((count, 19)))
    return BaselineHours(HoursTerms("run", "gaussian", 0.4), errors).to_dict()


def test_what_pods_learnt_comes_with_the_version_and_with_the_one_that_inherits(store: Store, tmp_path: Path) -> None:
    """In this process, as the others have shown that fetch is one of its own."""
    name = store.register(versions=3)
    tag = "robmon.memory.champion"

    def share(first: int) -> Message:
        baseline = with_checksum({"format": 2, "source": "learnt", "hourly": hourly(first, 24)})
        return answer(ShareBaseline(tracking_uri=store.tracking_uri, name=name, version="1", baseline=baseline,
                                    new_hours={str(first): hourly(first, 24)}))  # fmt: skip

    first, second = share(480_000), share(480_012)
    assert isinstance(first, BaselineShared) and isinstance(second, BaselineShared)
    both = hours_of(second.baseline)
    assert both is not None and both.errors.rows == 48 and both.errors.span_hours == 36
    entries = [
        Entry(version=version, run_id=store.run_id, accepted=True, by="verdict", against=against, at=float(version))
        for version, against in (("2", "1"), ("3", "2"))
    ]
    store.client.set_registered_model_tag(name, tag, to_json(tuple(entries)))
    for version, learnt, before in (("1", second.baseline, {}), ("3", None, {"1": second.baseline})):
        fetched = answer(Fetch(uri=f"models:/{name}/{version}", tracking_uri=store.tracking_uri, data_dir=str(tmp_path),
                               memory_tag=tag))  # fmt: skip
        assert isinstance(fetched, Fetched) and fetched.model is not None
        assert (fetched.model.learnt, fetched.model.learnt_before) == (learnt, before)


def test_a_registry_that_keeps_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    url = f"http://127.0.0.1:{free_port()}"
    failure = answer(Remember(tracking_uri=url, name="digits", tag="t", entries="[]"))
    assert isinstance(failure, Failure) and failure.reason == "registry_unreachable"


def test_does_not_fetch_what_is_known(sqlite_store: Store, tmp_path: Path) -> None:
    name = sqlite_store.register()
    question = Fetch(
        uri=f"models:/{name}/1",
        tracking_uri=sqlite_store.tracking_uri,
        data_dir=str(tmp_path / "data"),
        known_version="1",
        allowed_flavors=["sklearn"],  # not even looked at
    )
    fetched = answer(question)
    assert isinstance(fetched, Fetched)
    assert (fetched.version, fetched.model) == ("1", None)
    assert not (tmp_path / "data").exists()


def test_refusals_have_reasons(sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # restored afterwards, as is what `answer` sets
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    uri = f"models:/{sqlite_store.register()}/1"
    question = Fetch(uri=uri, tracking_uri=sqlite_store.tracking_uri, data_dir=str(tmp_path / "data"))

    def reason(**changes: object) -> str:
        failure = answer(question.model_copy(update=changes))
        assert isinstance(failure, Failure)
        assert failure.message
        return failure.reason

    assert reason(allowed_flavors=["pytorch"]) == "refused"
    assert reason(uri="models:/nobody@champion") == "not_found"
    assert reason(uri="https://model.example/predict") == "unsupported"
    assert reason(tracking_uri=f"sqlite:///{tmp_path}/none.db") == "registry_unreachable"
    assert not (tmp_path / "data").exists()


def test_unreachable_registry_is_told_within_seconds(tmp_path: Path) -> None:
    question = Fetch(uri="models:/digits/1", tracking_uri=f"http://127.0.0.1:{free_port()}", data_dir=str(tmp_path))
    start = time.monotonic()
    failure = ask(question, tmp_path)
    assert time.monotonic() - start < 120, "MLflow itself would try for minutes"
    assert isinstance(failure, Failure)
    assert failure.reason == "registry_unreachable"


def test_a_folder_that_cannot_be_written(sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    (tmp_path / "file").touch()
    uri = f"models:/{sqlite_store.register()}/1"
    failure = answer(Fetch(uri=uri, tracking_uri=sqlite_store.tracking_uri, data_dir=f"{tmp_path}/file"))
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.error) == ("error", "NotADirectoryError")
    assert failure.message == f"Not a directory (NotADirectoryError at {failure.where})"


@pytest.mark.parametrize("asked", [False, True])
def test_ends_with_its_peer(asked: bool, tmp_path: Path) -> None:
    """A registry that never answers does not keep it alive."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "600"}
        with fetch_process(tmp_path / "output", **environment) as (child, channel):
            if asked:
                url = f"http://127.0.0.1:{silent.getsockname()[1]}"
                channel.send(Fetch(uri="models:/digits/1", tracking_uri=url, data_dir=str(tmp_path)))
                connection, _ = silent.accept()
                connection.close()
            channel._socket.shutdown(socket.SHUT_RDWR)
            wait_until(lambda: child.poll() is not None, what="the end of the fetch process")


def test_folders_of_dead_fetches_are_swept(sqlite_store: Store, tmp_path: Path) -> None:
    """Whatever MLflow puts into the temporary folder goes with the process, or with the next one."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (temporary / "robmon-fetch-dead").mkdir()
    (temporary / "robmon-fetch-dead" / ".lock").touch()
    (temporary / "robmon-fetch-dead" / "tmp123").mkdir()
    (temporary / "of another program").mkdir()
    held = temporary / "robmon-fetch-alive"
    held.mkdir()
    with (held / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        question = Fetch(
            uri=f"models:/{sqlite_store.register()}/1",
            tracking_uri=sqlite_store.tracking_uri,
            data_dir=str(tmp_path / "data"),
        )
        assert isinstance(ask(question, tmp_path / "output", TMPDIR=str(temporary)), Fetched)
    assert sorted(path.name for path in temporary.iterdir()) == ["of another program", "robmon-fetch-alive"]


def test_what_is_judged_is_what_is_loaded(sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that answers the first read of MLmodel with another flavour, and later ones truly."""
    name, real, reads = sqlite_store.register(), registry_download._download, []

    def download(registry: Registry, source: str, folder: Path, model: Resolved) -> Path:
        path = real(registry, source, folder, model)
        reads.append(source)
        if len(reads) == 1:
            path.write_text("flavors: {python_function: {loader_module: mlflow.sklearn}, sklearn: {}}")
        return path

    monkeypatch.setattr(registry_download, "_download", download)
    data_dir = tmp_path / "data"
    question = Fetch(
        uri=f"models:/{name}/1",
        tracking_uri=sqlite_store.tracking_uri,
        data_dir=str(data_dir),
        allowed_flavors=["sklearn"],
    )
    failure = answer(question)
    assert isinstance(failure, Failure)
    assert failure.reason == "refused", failure
    assert len(reads) == 2
    assert not list(data_dir.rglob("MLmodel"))
    reads.clear()
    assert isinstance(answer(question.model_copy(update={"allowed_flavors": []})), Fetched)
    assert list(data_dir.rglob("MLmodel"))
    reads.clear()
    failure = answer(question)
    assert isinstance(failure, Failure)
    assert failure.reason == "refused", "what was downloaded under other settings is judged too"


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        MlflowException("failures occurred while downloading: OSError(28), [Errno 28] No space left on device"),
    ],
)
def test_a_full_disk_is_told_as_that(
    error: Exception, sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    uri = f"models:/{sqlite_store.register()}/1"
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", full)
    failure = answer(Fetch(uri=uri, tracking_uri=sqlite_store.tracking_uri, data_dir=str(tmp_path / "data")))
    assert isinstance(failure, Failure)
    assert failure.message == "the files cannot be written: No space left on device"
    assert failure.reason == "error"


def test_a_slow_version_holds_up_no_other(sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its unfinished folder is left alone as long as it is at work, and no longer."""
    name, real = sqlite_store.register(versions=2), registry_download._download
    began, released = threading.Event(), threading.Event()

    def download(registry: Registry, source: str, folder: Path, model: Resolved) -> Path:
        if model.version == "1" and not source.endswith("MLmodel"):
            began.set()
            assert released.wait(PATIENCE_SECONDS)
        return real(registry, source, folder, model)

    monkeypatch.setattr(registry_download, "_download", download)
    data_dir = tmp_path / "data"

    def fetch(version: str) -> Fetched | Failure:
        return answer(
            Fetch(
                uri=f"models:/{name}/{version}",
                tracking_uri=sqlite_store.tracking_uri,
                data_dir=str(data_dir),
                keep_versions=["1", "2"],
            )
        )

    home = data_dir / "models" / path_safe(name)
    (home / ".unfinished-dead").mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(fetch, "1")
        assert began.wait(PATIENCE_SECONDS)
        assert isinstance(fetch("2"), Fetched)
        released.set()
        assert isinstance(slow.result(60), Fetched)
    assert sorted(path.name for path in home.iterdir()) == [".lock", "1", "2"]


def test_a_stopped_one_ends_with_whoever_started_it() -> None:
    """It cannot see that its socket is closed."""
    code = """
import os, signal, socket, subprocess, sys
from robmon.processes.channel import Channel
ours, theirs = socket.socketpair()
command = [sys.executable, "-m", "robmon.fetch", "--fd", str(theirs.fileno())]
child = subprocess.Popen(command, pass_fds=(theirs.fileno(),), start_new_session=True, stdout=subprocess.DEVNULL)
theirs.close()
Channel(ours).receive()
os.kill(child.pid, signal.SIGSTOP)
print(child.pid)
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        left = psutil.Process(int(done.stdout))
        try:
            wait_until(lambda: left.status() == psutil.STATUS_ZOMBIE, PATIENCE_SECONDS, "its end")
        finally:
            left.kill()
