"""`robmon stabilise` on a real MLflow: a candidate becomes a version, whole or not at all, and no alias is moved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pytorch
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.models import infer_signature
from torch import nn

from robmon.cli.main import main
from robmon.models.registry.baseline_artifact import read_baseline
from robmon.models.registry.download import download_version
from robmon.models.registry.registry import Registry
from tests.mlflow_client import quiet_mlflow, tracking
from tests.servers import local_registry

pytestmark = [
    pytest.mark.usefixtures("no_settings"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's and torch's, of pickles and of exports
]


@dataclass(frozen=True)
class Stored:
    """A registered model, of which version 1 is the champion, and a file of its labelled rows."""

    uri: str
    folder: Path
    name: str
    logged: str
    """What version 1 was made of, by its own URI."""

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri, self.uri)

    @property
    def versions(self) -> dict[int, dict[str, str]]:
        found = self.client.search_model_versions(f"name='{self.name}'")
        return {int(each.version): dict(each.tags) for each in found}

    def words(self, *more: str) -> list[str]:
        return [
            "stabilise", f"models:/{self.name}@champion", "--data", str(self.folder / "rows.csv"), "--labels", "y",
            "--levels", "0.5", "--alpha", "1", "--epochs", "6", "--learning-rate", "0.02", "--tolerance", "0.02",
            "--tracking-uri", self.uri, "--no-picture", "--device", "cpu", *more,
        ]  # fmt: skip


def stored(uri: str, folder: Path, form: str, rows: int = 600) -> Stored:
    """A model that leans on one of eight columns, which all hold the truth and a little noise."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=rows)
    inputs = (truth[:, None] + 0.01 * generator.normal(size=(rows, 8))).astype(np.float32)
    module = nn.Sequential(nn.Linear(8, 1)).eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, *[0.0] * 7]]))
        module[0].bias.zero_()
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(inputs, columns=[f"x{i}" for i in range(8)]).assign(y=truth).to_csv(folder / "rows.csv", index=False)
    served = torch.jit.script(module) if form in ("script", "frozen") else module
    served = torch.jit.freeze(served) if form == "frozen" else served
    name = f"sensors-{form}-{folder.name}"
    (folder / "helper.py").write_text("ANSWER = 42\n", encoding="utf-8")
    with quiet_mlflow(), tracking(uri):
        info = mlflow.pytorch.log_model(
            served, name="model", signature=infer_signature(inputs[:2], inputs[:2, :1]),
            input_example=inputs[:2] * 0 if form == "pt2" else None,
            serialization_format="pt2" if form == "pt2" else "pickle",
            pip_requirements=["torch", "numpy"], code_paths=[str(folder / "helper.py")],
        )  # fmt: skip
        client = MlflowClient(uri, uri)
        client.create_registered_model(name)
        run_id = client.get_logged_model(info.model_id).source_run_id
        client.create_model_version(name, info.model_uri, run_id=run_id, model_id=info.model_id)
        client.set_registered_model_alias(name, "champion", "1")
    return Stored(uri, folder, name, info.model_uri)


@pytest.fixture
def database(mlflow_template: Path, tmp_path: Path) -> str:
    return local_registry(tmp_path / "registry", mlflow_template)


@pytest.mark.parametrize("form", ["pickle", "pt2", "script"])
def test_a_candidate_that_passes_becomes_a_version_and_no_alias_moves(
    form: str, tracking_server: tuple[str, Path], tmp_path: Path
) -> None:
    source = stored(tracking_server[0], tmp_path / "model", form)
    with quiet_mlflow():
        done = CliRunner().invoke(main, source.words("--register"))
    assert done.exit_code == 0, done.output
    assert f"registered: models:/{source.name}/2. No alias was moved" in done.output
    assert source.client.get_model_version_by_alias(source.name, "champion").version in (1, "1")
    assert source.versions[2] == {
        "robmon.candidate_of": "1", "robmon.stability_alpha": "1", "robmon.stability_sigma": "0.5",
        "robmon.verdict": "passed",
    }  # fmt: skip
    registry = Registry(source.uri)
    version = registry.resolve(f"models:/{source.name}/2")
    assert version.run_id is not None and read_baseline(registry, version) is not None
    report = registry.read_artifact(version.run_id, "robmon/stability.json")
    written = json.loads(Path("stability.json").read_text())
    assert written.pop("model") == f"models:/{source.name}@champion" and written == report
    folder = download_version(registry, version, tmp_path / "downloaded")
    of_source = download_version(registry, registry.resolve(f"models:/{source.name}/1"), tmp_path / "source")
    for file in ("requirements.txt", "code/helper.py"):
        assert (folder / file).read_text() == (of_source / file).read_text()
    data = "data/model.pt2" if form == "pt2" else "data/model.pth"
    assert (folder / data).exists() and (of_source / data).exists()
    with quiet_mlflow():
        assessed = CliRunner().invoke(
            main,
            ["assess", "--model", f"models:/{source.name}/2", "--inputs", str(source.folder / "rows.csv"), "--target",
             "y", "--levels", "0.5", "--tracking-uri", source.uri, "--no-picture", "--json", "assessed.json"],
        )  # fmt: skip
    assert assessed.exit_code == 0, assessed.output
    content = json.loads(Path("assessed.json").read_text())
    assert content["baseline_mse"] is not None or content["reference"] == "label"


def test_one_that_does_not_pass_is_registered_on_demand_alone(database: str, tmp_path: Path) -> None:
    source = stored(database, tmp_path / "model", "pickle")
    sabotage = ["--levels", "40", "--tolerance", "0"]
    with quiet_mlflow():
        refused = CliRunner().invoke(main, source.words("--register", *sabotage))
        assert refused.exit_code == 1, refused.output
        assert "not registered, since it does not pass (--register-anyway would)" in refused.output
        assert list(source.versions) == [1]
        anyway = CliRunner().invoke(main, source.words("--register-anyway", *sabotage))
    assert anyway.exit_code == 1, anyway.output
    assert source.versions[2]["robmon.verdict"] == "failed"
    report = json.loads(Path("stability.json").read_text())
    assert report["output_mse_ratio"] < 0.5 and not report["clean"]["passed"]


def test_frozen_torchscript_is_refused_in_a_sentence(database: str, tmp_path: Path) -> None:
    source = stored(database, tmp_path / "model", "frozen")
    with quiet_mlflow():
        done = CliRunner().invoke(main, source.words("--register"))
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert "frozen TorchScript holds its weights as constants, so give the module before it was frozen" in done.output
    assert list(source.versions) == [1]


def test_a_candidate_for_embeddings_becomes_a_version(database: str, tmp_path: Path) -> None:
    """Two columns tell the labels apart; the model leans on one that noise hides, and the other is free of it."""
    source = embedding(database, tmp_path / "model")
    words = [
        "stabilise", f"models:/{source.name}@champion", "--data", str(source.folder / "rows.csv"), "--labels", "who",
        "--task", "embedding", "--levels", "1", "--alpha", "1", "--epochs", "12", "--learning-rate", "0.05",
        "--absolute", "--tracking-uri", source.uri, "--no-picture", "--device", "cpu", "--register",
    ]  # fmt: skip
    with quiet_mlflow():
        done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "precision at 1" in done.output and f"registered: models:/{source.name}/2" in done.output
    registry = Registry(source.uri)
    version = registry.resolve(f"models:/{source.name}/2")
    assert version.tags is not None and version.tags["robmon.verdict"] == "passed"
    assert read_baseline(registry, version) is not None


def embedding(uri: str, folder: Path) -> Stored:
    """Eight people, who differ a little in the first column and much in the second, of which the model takes little."""
    generator = np.random.default_rng(0)
    who = generator.integers(8, size=600)
    inputs = np.stack([who + 0.02 * generator.normal(size=600), 20.0 * who + generator.normal(size=600)], axis=1)
    module = nn.Linear(2, 2, bias=False).eval()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.001]]))
    folder.mkdir(parents=True, exist_ok=True)
    names = np.array([f"person {number}" for number in who])
    pd.DataFrame(inputs, columns=["x0", "x1"]).assign(who=names).to_csv(folder / "rows.csv", index=False)
    given = inputs.astype(np.float32)
    with quiet_mlflow(), tracking(uri):
        mlflow.pytorch.log_model(
            module, name="model", signature=infer_signature(given[:2], given[:2]), serialization_format="pickle",
            pip_requirements=["torch", "numpy"], registered_model_name="people",
        )  # fmt: skip
        MlflowClient(uri, uri).set_registered_model_alias("people", "champion", "1")
    return Stored(uri, folder, "people", "")


def test_bad_input_is_one_sentence(database: str, tmp_path: Path) -> None:
    source = stored(database, tmp_path / "model", "pickle")

    def told(*words: str) -> str:
        with quiet_mlflow():
            done = CliRunner().invoke(main, list(words))
        assert done.exit_code == 2, done.output
        return str(done.output)

    words = source.words()
    assert "has no column z for the targets" in told(*[word if word != "y" else "z" for word in words])
    logged = [source.logged if word.startswith("models:/") else word for word in words]
    assert "is not a version of a registered model, so its candidate cannot be another" in told(*logged, "--register")
    assert "levels are numbers separated by spaces or commas" in told(*words, "--levels", "much")
    assert list(source.versions) == [1]


def killed(source: Stored, when: Callable[[], bool]) -> None:
    """The command, killed as soon as something is there, or when it has ended."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "robmon", *source.words("--register")],
        cwd=source.folder, env=os.environ | {"MLFLOW_TRACKING_URI": source.uri}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not when():
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_whole(source: Stored) -> None:
    """Every version there is has its tags, its files and its baseline."""
    registry = Registry(source.uri)
    for number, tags in source.versions.items():
        version = registry.resolve(f"models:/{source.name}/{number}")
        assert download_version(registry, version, source.folder / f"whole-{number}").exists()
        if number > 1:
            assert tags["robmon.verdict"] == "passed" and read_baseline(registry, version) is not None
    assert source.client.get_model_version_by_alias(source.name, "champion").version in (1, "1")


@pytest.mark.long
@pytest.mark.parametrize("at", ["run", "model.pth", "stability.json", "baseline.json", "version"])
def test_killed_while_it_registers_it_leaves_no_half_version(
    at: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = stored(database, tmp_path / "model", "pickle")
    known = set(tmp_path.rglob(at))
    runs = len(source.client.search_runs(["0"]))

    def is_there() -> bool:
        if at == "run":
            return len(source.client.search_runs(["0"])) > runs
        if at == "version":
            return len(source.versions) > 1
        return bool(set(tmp_path.rglob(at)) - known)

    killed(source, is_there)
    assert is_there(), "it came so far"
    assert at == "version" or list(source.versions) == [1]
    check_whole(source)


def test_the_version_comes_last(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before its last call the command leaves no version, and that call makes all of it at once."""
    source = stored(database, tmp_path / "model", "pickle")
    seen: list[list[str]] = []

    def interrupted(client: MlflowClient, name: str, uri: str, run_id: str, **given: Any) -> None:
        seen.append([file.path for file in client.list_artifacts(run_id, "robmon")])
        seen.append([file.path for file in client.list_artifacts(run_id, f"robmon/{name}")])
        assert given["tags"]["robmon.verdict"] == "passed" and given["model_id"] in uri
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "create_model_version", interrupted)
    with quiet_mlflow():
        CliRunner().invoke(main, source.words("--register"))
    assert seen[0] == [f"robmon/{source.name}", "robmon/stability.json", "robmon/stability.png"]
    assert seen[1] == [f"robmon/{source.name}/baseline.json"]
    assert list(source.versions) == [1]
