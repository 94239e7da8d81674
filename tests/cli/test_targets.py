"""Several targets, and columns that are left over, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from robmon.cli.main import main
from robmon.errors import InvalidInputError
from robmon.library import rank as ranking
from robmon.models.registry.registry import Registry
from tests.mlflow_client import quiet_mlflow

TARGETS = ["y1", "y2", "y3"]
QUICKLY = ["--levels", "0.1", "--trials", "19", "--no-picture"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with three outputs, `steep` and `flat`, and a table of inputs with what `steep` says of them."""
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    folder = tmp_path_factory.mktemp("targets")
    inputs = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 2)), columns=["a", "b"])
    outputs = pd.DataFrame(inputs.to_numpy() @ [[1.0, 2.0, 3.0], [3.0, -1.0, 0.5]], columns=TARGETS)
    with quiet_mlflow():
        for name, factor in (("steep", 1.0), ("flat", 0.9)):
            model = LinearRegression().fit(inputs, factor * outputs.to_numpy())
            mlflow.sklearn.save_model(
                model,
                folder / name,
                signature=infer_signature(inputs, model.predict(inputs)),
                serialization_format="cloudpickle",
                pip_requirements=[],
            )
    pd.concat([inputs, outputs], axis=1).to_csv(folder / "inputs.csv", index=False)
    return folder


def invoke(*words: str | Path, cwd: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(cwd)
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--target"], "Option '--target' requires an argument."),
        (["--target", "--no-picture"], "Option '--target' requires an argument."),
        (["--target", "y1,y2,y3"], "has no column y1,y2,y3 for the targets: names of several are separated by spaces"),
    ],
)
def test_targets_that_are_not_named_are_no_assessment_without_any(
    words: list[str], sentence: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = invoke("assess", "--model", "steep", "--inputs", "inputs.csv", *words, cwd=folder, monkeypatch=monkeypatch)
    assert done.exit_code == 2 and sentence in done.output


@pytest.mark.parametrize(
    "targets",
    [
        ["--target", *TARGETS],
        ["--target", "y1", "--target", "y2", "--target", "y3"],
        [f"--target={name}" for name in TARGETS],
    ],
)
def test_outputs_are_assessed_against_a_target_each(
    targets: list[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["assess", "--model", folder / "steep", *targets, "--inputs", folder / "inputs.csv", *QUICKLY]
    done = invoke(*words, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads((tmp_path / "assessment.json").read_text())
    assert result["clean_mse"] == pytest.approx(0, abs=1e-12)
    assert "ignored" not in done.output


def test_models_with_several_outputs_are_ranked(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "rank",
        folder / "flat",
        "--inputs",
        folder / "inputs.csv",
        "--target",
        *TARGETS,
        *QUICKLY,
        folder / "steep",
    ]
    done = invoke(*words, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    models = json.loads((tmp_path / "ranking.json").read_text())["models"]
    assert [model["ranks"][0] for model in models] == [2.0, 1.0]


def test_too_few_targets_are_told_with_how_many_are_wanted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["assess", "--model", folder / "steep", "--target", "y1", "--inputs", folder / "inputs.csv", *QUICKLY]
    done = invoke(*words, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.exit_code == 2
    assert "targets of shape (80,) do not fit outputs of shape (80, 3): give 3 columns, one an output" in done.output
    done = invoke("assess", "--model", folder / "steep", "--target", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.exit_code == 2 and "--target" in done.output


def test_columns_that_the_model_does_not_take_are_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["assess", "--model", folder / "steep", "--target", "y1", "--inputs", folder / "inputs.csv", *QUICKLY]
    done = invoke(*words[:3], *words[5:], cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    assert "ignored, because the model does not take it: y1, y2, y3" in done.output


def test_a_ranking_names_columns_that_no_model_takes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pd.read_csv(folder / "inputs.csv").assign(spare=1.0).to_csv(tmp_path / "spare.csv", index=False)
    models = [folder / "flat", folder / "steep"]
    words = ["rank", *models, "--inputs", "spare.csv", *QUICKLY, "--target", *TARGETS]
    done = invoke(*words, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.exit_code == 0, done.output
    told = "ignored, because the model does not take it: spare"
    assert done.stdout.splitlines().count(told) == 1
    assert told in json.loads((tmp_path / "ranking.json").read_text())["notes"]


def test_a_model_with_one_version_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match=r"^models:/m/1 is one model, and a ranking needs at least 2"):
        ranking.entrants(["models:/m/1"])


def test_a_registered_model_with_one_version_is_told_as_that(tmp_path: Path, mlflow_template: Path) -> None:
    from tests.servers import local_registry

    uri = local_registry(tmp_path, mlflow_template)
    with quiet_mlflow():
        client = Registry(uri).client
        client.create_registered_model("iris")
        client.create_model_version("iris", str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(InvalidInputError, match=r"^models:/iris has one version, and a ranking needs at least 2"):
            ranking.entrants(["models:/iris"])
