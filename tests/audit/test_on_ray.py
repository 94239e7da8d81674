"""The engine `ray` on a real Ray of this machine: it takes half a minute to start, so `make test-long` runs it."""

from __future__ import annotations

import importlib.util
import json
import signal
import tempfile
from pathlib import Path

import pytest

from robmon.audit.on_ray import connected
from robmon.audit.task import Limits
from robmon.errors import InvalidInputError
from tests.audit.registries import many_versions
from tests.audit.test_audit import kill_after, results, run
from tests.audit.test_ends import end

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'robmon[ray]'"
)


def test_no_password_gets_into_the_arguments_of_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robmon.audit.on_ray.check_installed", lambda *what, **how: None)
    with (
        pytest.raises(InvalidInputError, match="MLFLOW_TRACKING_USERNAME"),
        connected("auto", Limits(), "http://me:hush@registry", tmp_path),
    ):
        pass


@pytest.mark.long
@needs_ray
def test_ray_and_local_give_the_same_bytes_whatever_models_do(tmp_path: Path, mlflow_template: Path) -> None:
    made = many_versions(tmp_path, mlflow_template)
    versions = [(1.0, "behaves"), (1.2, "exits"), (0.9, "behaves"), (1.0, "hangs"), (1.1, "behaves"), (1.0, "leaks")]
    made.add("odd", versions)
    limits = ["--max-seconds", "60", "--memory-bytes", "600000000"]
    local = run(made, "models:/*", *limits, "--workers", "2", out="local")
    assert local.returncode == 1, local.stderr
    ray = run(made, "models:/*", *limits, "--engine", "ray", out="ray", MLFLOW_TRACKING_PASSWORD="hush-hush")
    assert ray.returncode == 1, ray.stderr
    reasons = {number: result["reason"] for number, result in results(tmp_path / "ray").items() if "reason" in result}
    assert reasons == {2: "crash", 4: "timeout", 6: "out_of_memory"}
    files = sorted((tmp_path / "local").rglob("versions/*/*.json"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "ray" / file.relative_to(tmp_path / "local")).read_bytes() == file.read_bytes()
    audits = [json.loads((tmp_path / out / "audit.json").read_text()) for out in ("local", "ray")]
    assert audits[0] == audits[1]


@pytest.mark.long
@needs_ray
def test_a_driver_of_ray_killed_half_way_does_only_the_rest(tmp_path: Path, mlflow_template: Path) -> None:
    made = many_versions(tmp_path, mlflow_template)
    made.add("plain", [(1.0 + 0.1 * place, "behaves") for place in range(5)])
    before = kill_after(made, 2, "--engine", "ray", "--workers", "1")
    assert 2 <= len(before) < 5
    done = run(made, "models:/*", "--engine", "ray")
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} of 5 versions have their result already" in done.stderr
    assert {file: file.stat().st_mtime_ns for file in before} == before


@needs_ray
@pytest.mark.long
def test_what_a_cluster_has_not_is_told(tmp_path: Path, mlflow_template: Path) -> None:
    made = many_versions(tmp_path, mlflow_template)
    made.add("plain", [(1.0, "behaves")])
    done = run(made, "models:/*", "--engine", "ray", "--threads", "999")
    assert done.returncode == 2 and "999 threads are requested for each version" in done.stderr, done.stderr
    done = run(made, "models:/*", "--engine", "ray", "--gpus", "1", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2 and "this machine has 0" in done.stderr
    for address, sentence in [("127.0.0.1:1", "no Ray cluster answers"), ("ray://head:10001", "host:port of its head")]:
        done = run(made, "models:/*", "--engine", "ray", "--address", address)
        assert done.returncode == 2 and sentence in done.stderr, done.stderr


@needs_ray
@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_signal_ends_ray_and_what_its_tasks_have_started(
    tmp_path: Path, mlflow_template: Path, number: signal.Signals
) -> None:
    made = many_versions(tmp_path / "registry", mlflow_template)
    made.add("sleeper", [(1.0, "hangs with a process")])
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as short:
        end(made, Path(short), number, "--engine", "ray", "--workers", "1")
