"""A bundle of a real daemon's own alert: nothing of production in it, and its numbers to the last bit again."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import shlex
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import pytest

from robmon.vocabulary import EVENT_OUTCOMES
from tests import commands
from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.registry import RegisteredModel, Registry
from tests.e2e.test_endpoint import AS_FAST, NO_REGISTRY
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving
from tests.mlflow_client import quiet_mlflow, tracking
from tests.ports.test_signed_events import BODY, SECRET, delivery

COLUMNS = ("length", "width", "height")
TOKEN = "canary-token-6f0e2a"


def planted() -> list[str]:
    """64 values that are found again wherever they come up: 48 numbers of inputs, 8 labels, 8 secrets of headers."""
    random = Random(5)
    numbers = [f"{random.uniform(1e4, 1e5):.7f}" for _ in range(56)]
    return [*numbers, *(f"canary-{random.getrandbits(48):012x}" for _ in range(7)), TOKEN]


PLANTED = planted()


@pytest.fixture(params=["sklearn", pytest.param("torch", marks=pytest.mark.long)])
def model(request: pytest.FixtureRequest, served: Registry) -> RegisteredModel:
    """Two versions of a linear model, of which the second is steeper; the first is served."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    found = served.model(f"incident-{request.param}")
    random = np.random.default_rng(1)
    rows = random.normal(size=(64, 3)) * 1e5
    with tracking(served.tracking_uri), quiet_mlflow():
        for factor in (1.0, 2.0):
            with mlflow.start_run():
                mlflow.set_tag("mlflow.source.git.commit", "0123456789abcdef0123456789abcdef01234567")
                if request.param == "sklearn":
                    from sklearn.linear_model import LinearRegression

                    fitted = LinearRegression().fit(rows, factor * rows.sum(axis=1))
                    columns = ModelSignature(Schema([ColSpec("double", name) for name in COLUMNS]))
                    mlflow.sklearn.log_model(
                        fitted,
                        name="model",
                        signature=columns,
                        registered_model_name=found.name,
                        pip_requirements=[],
                        serialization_format="cloudpickle",
                    )
                else:
                    import torch

                    torch.manual_seed(0)
                    module = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
                    with torch.no_grad():
                        module[0].weight.mul_(1e-5 * factor)
                    tensor = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 3))]))
                    mlflow.pytorch.log_model(
                        module,
                        name="model",
                        signature=tensor,
                        registered_model_name=found.name,
                        pip_requirements=[],
                        serialization_format="pickle",
                    )
    found.serve("1")
    return found


def send(daemon: Daemon, is_tensor: bool) -> None:
    """60 requests with the planted numbers, each with secrets in its headers, an id and a label."""
    numbers, secrets = PLANTED[:48], PLANTED[56:]
    url, random = f"http://127.0.0.1:{daemon.port('inputs_port')}", Random(3)
    for index in range(60):
        row = [
            float(numbers[(3 * index + place) % 48]) * (1 if index < 16 else random.uniform(0.5, 2))
            for place in range(3)
        ]
        inputs: dict[str, Any] = (
            {"inputs": [row]} if is_tensor else {"dataframe_split": {"columns": COLUMNS, "data": [row]}}
        )
        headers = {
            "X-Request-Id": f"request-{index}",
            "Authorization": f"Bearer {secrets[index % 8]}",
            "Cookie": secrets[(index + 1) % 8],
            "X-Api-Key": secrets[(index + 2) % 8],
        }
        assert httpx.post(f"{url}/invocations", json=inputs, headers=headers, trust_env=False).status_code == 202
        label = [{"id": f"request-{index}", "target": float(PLANTED[48 + index % 8])}]
        assert httpx.post(f"{url}/feedback", json=label, headers=headers, trust_env=False).status_code == 202


def files_of(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        return {
            member.name: content.read()
            for member in opened.getmembers()
            if (content := opened.extractfile(member)) is not None
        }


def forms_of(value: str) -> Iterator[bytes]:
    """How a value may stand somewhere: as it is, with fewer digits, escaped, in Base64 at any place, in memory."""
    texts = {value, json.dumps(value).strip('"')}
    with contextlib.suppress(ValueError):
        number = float(value)
        texts |= {repr(number), f"{number:.4f}", f"{number:.6g}" if number > 1e5 else f"{number:.7g}"}
        for kind in ("<f8", ">f8", "<f4"):
            yield np.array(number, dtype=kind).tobytes()
    for text in texts:
        yield text.encode()
        yield text.encode().hex().encode()
        for shift in range(3):
            encoded = base64.b64encode(b"x" * shift + text.encode())
            yield encoded[4 if shift else 0 : -4]


@contextlib.contextmanager
def alerting(folder: Path, model: RegisteredModel) -> Iterator[Daemon]:
    """A daemon behind a token, by whose verdict version 2 is worse."""
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    registry = model.registry
    settings = {
        "inputs__sample_rows": 60,
        "http__token_file": token,
        "baseline__min_rows": 40,
        "model__poll_seconds": 1,
    }
    with running_daemon(folder / "daemon", model.uri, registry.tracking_uri, **settings) as daemon:
        daemon.client.headers["Authorization"] = f"Bearer {TOKEN}"
        send(daemon, is_tensor="torch" in model.name)
        daemon.wait_for_assessments()
        model.serve("2")
        daemon.wait_for(lambda: daemon.regression_stands, "the regression")
        daemon.wait_for(lambda: daemon.value("robmon_noise_mse_bound", model_version="2"), "its assessment")
        yield daemon


def test_a_bundle_says_all_but_inputs_and_with_them_gives_the_same_numbers(
    tmp_path: Path, model: RegisteredModel
) -> None:
    with alerting(tmp_path, model) as daemon:
        url = f"http://127.0.0.1:{daemon.port('http_port')}"
        with httpx.Client(trust_env=False, timeout=30) as stranger:
            assert stranger.get(f"{url}/incident").status_code == 401
            assert stranger.get(f"{url}/incident?inputs=true").status_code == 401
        archive = daemon.get("/incident")
        assert archive.status_code == 200 and archive.headers["content-type"] == "application/gzip"
        hold_no_inputs(archive.content)
        says_what_happened(files_of(archive.content), model)
        environment = {**daemon.environment, "MLFLOW_TRACKING_URI": model.registry.tracking_uri}
        words = ["incident", url, "--token-file", tmp_path / "token", "-o"]
        done = commands.run([*words, "plain.tar.gz"], cwd=tmp_path, environment=environment)
        assert done.returncode == 0, done.stderr
        assert f"{model.name}: version 2 is worse than version 1" in done.stdout
        done = commands.run([*words, "whole.tar.gz", "--with-inputs"], cwd=tmp_path, environment=environment)
        assert done.returncode == 0 and "holds production inputs" in done.stderr, done.stderr
        hold_no_inputs((tmp_path / "plain.tar.gz").read_bytes())
        of_folder = commands.run(
            ["incident", daemon.data_dir, "-o", "old.tar.gz"], cwd=tmp_path, environment=environment
        )
        assert of_folder.returncode == 0, of_folder.stderr
    hold_no_inputs((tmp_path / "old.tar.gz").read_bytes())
    of_history = facts_of((tmp_path / "old.tar.gz").read_bytes())
    assert of_history["standing"]["version"] == "2" and of_history["verdict"]["worse"] and of_history["missing"]

    whole = tmp_path / "whole.tar.gz"
    assert stat.S_IMODE(whole.stat().st_mode) == 0o600
    folder = unpacked(whole, tmp_path / "unpacked")
    done = reproduced(folder, environment)
    assert done.returncode == 0 and "identical to the last bit" in done.stdout, done.stdout + done.stderr
    assert "version 1\n" in done.stdout and "version 2\n" in done.stdout, "the verdict's both sides"

    replay = json.loads((folder / "replay.json").read_text())
    replay["steps"][1]["numbers"]["levels"][1]["mean_mse"] *= 1 + 1e-15
    (folder / "replay.json").write_text(json.dumps(replay))
    done = reproduced(folder, environment)
    assert done.returncode == 1 and "differs: levels[1].mean_mse" in done.stdout, done.stdout + done.stderr
    done = reproduced(unpacked(tmp_path / "plain.tar.gz", tmp_path / "plain"), environment)
    assert done.returncode == 2 and "this bundle holds no inputs" in done.stderr


def hold_no_inputs(archive: bytes) -> None:
    files = files_of(archive)
    content = b"\n".join([*files.values(), *map(str.encode, files), archive])
    found = [value for value in PLANTED if any(form in content for form in forms_of(value))]
    assert not found


def facts_of(archive: bytes) -> dict[str, Any]:
    (content,) = (content for name, content in files_of(archive).items() if name.endswith("/incident.json"))
    facts: dict[str, Any] = json.loads(content)
    return facts


def says_what_happened(files: dict[str, bytes], model: RegisteredModel) -> None:
    (folder,) = {name.partition("/")[0] for name in files}
    assert {name.partition("/")[2] for name in files} == {
        "incident.json", "INCIDENT.md", "REPRODUCE.md", "timeline.json",
    }  # fmt: skip
    facts = json.loads(files[f"{folder}/incident.json"])
    assert facts["standing"]["kind"] == "version" and facts["standing"]["since"] > 0
    versions = {one["version"]: one for one in facts["versions"]}
    assert versions["2"]["roles"] == ["served", "worse"] and versions["1"]["roles"] == ["reference", "accepted"]
    assert all(one["run_id"] and one["commit"] == "0123456789abcdef" * 2 + "01234567" for one in versions.values())
    assert facts["verdict"]["curves"]["mean"] and facts["blame"]
    assert len(facts["assessment"]["numbers"]["sample_sha256"]) == 64
    assert facts["worst_requests"] and set(facts["worst_requests"]) <= {f"request-{index}" for index in range(60)}
    assert facts["computed_by"]["libraries"]["numpy"] == np.__version__ and facts["computed_by"]["device"] == "cpu"
    assert facts["settings"]["model.uri"] == model.uri and facts["queries"]
    (command,) = (line for line in files[f"{folder}/REPRODUCE.md"].decode().splitlines() if line.startswith("robmon "))
    assert command == "robmon assess --incident ."
    assert b"is worse than version 1" in files[f"{folder}/INCIDENT.md"]


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


def reproduced(folder: Path, environment: dict[str, str]) -> Any:
    """What its REPRODUCE.md says, in that folder."""
    lines = (folder / "REPRODUCE.md").read_text().splitlines()
    (command,) = (line for line in lines if line.startswith("robmon "))
    return commands.run(shlex.split(command)[1:], cwd=folder, environment=environment)


def test_an_event_of_the_registry_has_it_asked_at_once(tmp_path: Path, served: Registry) -> None:
    """MLflow's own delivery; whatever else comes to that path is refused and counted."""
    model, secret = served.model("webhook"), tmp_path / "secret"
    model.add(1.0)
    model.add(2.0)
    model.serve("1")
    secret.write_text(f"{SECRET}\n")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    never = {"model__poll_seconds": 3600, "http__token_file": tmp_path / "token"}
    settings = {**never, "mlflow__webhook_secret_file": secret}
    with running_daemon(tmp_path / "daemon", model.uri, served.tracking_uri, **settings) as daemon:
        daemon.client.headers["Authorization"] = f"Bearer {TOKEN}"
        daemon.wait_for(lambda: daemon.log("served version"), "the first version")
        url = f"http://127.0.0.1:{daemon.port('http_port')}/registry-event"
        with served.client() as client, httpx.Client(trust_env=False, timeout=30) as stranger:
            now = time.time()
            for headers, status in (
                (delivery("guess", at=now, secret="guess"), 401),
                (delivery("old", at=now - 400, secret=SECRET), 401),
                (delivery("new", at=now, secret=SECRET), 202),
                (delivery("new", at=now, secret=SECRET), 401),
            ):
                assert stranger.post(url, content=BODY, headers=headers).status_code == status
            counted = [daemon.count("robmon_registry_events_total", outcome=each) for each in EVENT_OUTCOMES]
            assert dict(zip(EVENT_OUTCOMES, counted, strict=True)) == {
                "accepted": 1, "bad_signature": 1, "stale": 1, "replayed": 1, "too_large": 0,
            }  # fmt: skip
            hook = client.create_webhook("robmon", url, ["model_version_alias.created"], secret=SECRET)
            try:
                model.serve("2")
                daemon.wait_for(lambda: len(daemon.log("served version")) == 2, "the second version")
            finally:
                client.delete_webhook(hook.webhook_id)
        assert daemon.log("served version")[1]["version"] == "2"
        assert daemon.count("robmon_registry_events_total", outcome="accepted") == 2


def test_a_bundle_of_a_model_at_an_endpoint_is_computed_again_there(tmp_path: Path) -> None:
    with serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **AS_FAST) as daemon:
            daemon.send(ROWS[:60])
            daemon.wait_for_assessments()
            own = f"http://127.0.0.1:{daemon.port('http_port')}"
            words = ["incident", own, "-o", tmp_path / "whole.tar.gz", "--with-inputs"]
            done = commands.run(words, cwd=tmp_path, environment=daemon.environment)
            assert done.returncode == 0 and "no regression stands" in done.stdout, done.stdout + done.stderr
            done = reproduced(unpacked(tmp_path / "whole.tar.gz", tmp_path / "unpacked"), daemon.environment)
            assert done.returncode == 0 and "identical to the last bit" in done.stdout, done.stdout + done.stderr
