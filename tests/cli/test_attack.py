"""`robmon attack` on models in folders, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from robmon.cli.main import main
from tests.endpoint import V2Model, serving
from tests.mlflow_client import quiet_mlflow

COLUMNS = ["a", "b", "c"]
G = np.random.default_rng(0)
X = G.normal(size=(80, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5]) > 0).astype(int)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`trees`, of a table, `network` and `labels`, of an array, with their inputs and labels."""
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import Schema, TensorSpec
    from sklearn.ensemble import RandomForestClassifier

    root = tmp_path_factory.mktemp("models")
    table = pd.DataFrame(X.astype(float), columns=COLUMNS)
    trees = RandomForestClassifier(5, random_state=0).fit(table, np.where(Y, "yes", "no"))
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
        network.bias.zero_()
    tensors = [TensorSpec(np.dtype(np.float32), (-1, width)) for width in (3, 1)]
    with quiet_mlflow():
        mlflow.sklearn.save_model(
            trees, root / "trees", signature=infer_signature(table, trees.predict(table)),
            pip_requirements=[], serialization_format="cloudpickle",
        )  # fmt: skip
        mlflow.pytorch.save_model(
            network, root / "network", signature=ModelSignature(*[Schema([each]) for each in tensors]),
            pip_requirements=[], serialization_format="pickle",
        )  # fmt: skip
        mlflow.sklearn.save_model(
            RandomForestClassifier(5, random_state=0).fit(X, Y), root / "labels", signature=infer_signature(X, Y),
            pip_requirements=[], serialization_format="cloudpickle",
        )  # fmt: skip
    table.assign(y=np.where(Y, "yes", "no")).to_csv(root / "table.csv", index=False)
    np.save(root / "array.npy", X)
    return root


@pytest.fixture
def here(no_settings: None) -> Iterator[Path]:
    yield Path.cwd()


def attack(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["attack", *map(str, words)])


def test_a_network_is_attacked_along_its_gradient(folder: Path, here: Path) -> None:
    words = ["--model", folder / "network", "--inputs", folder / "array.npy", "--output", "logit", "--absolute"]
    done = attack(*words, "--attacks", "pgd minimal", "--radii", "0.1,0.3", "--norm", "2", "--png", "left.png")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("At most ")
    assert "Nearest witnesses, in input units: of 10 % of the rows" in done.stdout
    assert done.stdout.splitlines()[-1] == "written: attack.json, left.png"
    told = json.loads((here / "attack.json").read_text())
    distances = np.abs(X @ np.array([1.0, -2.0, 0.5])) / np.linalg.norm([1.0, -2.0, 0.5])
    assert told["agreement"] == [float((distances >= radius).mean()) for radius in (0.1, 0.3)]
    assert told["by_attack"]["pgd"] == told["by_attack"]["minimal"] == told["agreement"]
    assert told["gradient"] == "ok" and told["unit"] == "input units"
    assert (here / "left.png").read_bytes().startswith(b"\x89PNG")
    assert {file.name for file in here.iterdir()} == {"attack.json", "left.png"}, "no input is written"


def test_a_table_of_labels_is_attacked_by_queries(folder: Path, here: Path) -> None:
    words = ["--model", folder / "trees", "--inputs", folder / "table.csv", "--labels", "y", "--no-picture"]
    done = attack(
        *words, "--attacks", "random", "--radii", "0.4", "--queries", "30", "--frozen", "a,c", "--clip", "-2 2"
    )
    assert done.exit_code == 0, done.output
    told = json.loads((here / "attack.json").read_text())
    assert 0.3 < told["accuracy"][0] <= told["agreement"][0] < 1
    assert told["unit"] == "standard deviations of each feature"
    assert "the model has no gradient: it is asked for answers alone" in done.stdout
    for value in X[:5].ravel().tolist():
        assert f"{value:.4f}" not in done.output, "no input is told"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--radii none", "radii are numbers separated by spaces or commas"),
        ("--attacks cw", "attack 'cw' is not known"),
        ("--attacks art:zoo", "attack 'art:zoo' is not known: the only one of ART is art:hop_skip_jump"),
        ("--attacks transfer", "transfer needs another model"),
        ("--frozen d", "'d' is not one of the floating features: those are a, b, c"),
        ("--clip 1", "clip is a pair"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder: Path, here: Path, words: str, sentence: str) -> None:
    done = attack("--model", folder / "trees", "--inputs", folder / "table.csv", "--no-picture", *words.split(" ", 1))
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not (here / "attack.json").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--radii", "0"], "radii must be finite numbers above 0"),
        (["--radii", "0.1 nan"], "radii must be finite numbers above 0"),
        (["--attacks", "cw"], "attack 'cw' is not known"),
        (["--attacks", "art:zoo"], "attack 'art:zoo' is not known: the only one of ART is art:hop_skip_jump"),
        (["--attacks", "pgd transfer"], "transfer needs another model"),
        (["--steps", "0"], "0 is not in the range x>=1"),
    ],
)
def test_attacks_and_radii_are_judged_before_anything_is_loaded(here: Path, words: list[str], sentence: str) -> None:
    done = attack("--model", "models:/none/1", "--inputs", "none.npy", *words)
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_a_forest_is_attacked_through_a_network_that_does_the_same(folder: Path, here: Path) -> None:
    words = ["--model", folder / "labels", "--inputs", folder / "array.npy", "--no-picture", "--norm", "2"]
    words += ["--attacks", "transfer", "--radii", "0.5", "--steps", "5", "--restarts", "1"]
    done = attack(*words, "--substitute", folder / "network")
    assert done.exit_code == 0, done.output
    told = json.loads((here / "attack.json").read_text())
    assert 0 < told["by_attack"]["transfer"][0] < 0.9
    assert "of the rows the model's class" in done.stdout
    done = attack(*words, "--substitute", folder / "trees")
    assert done.exit_code == 2
    assert "a substitute is a torch module, and the model named for it is not one" in done.stderr


def test_an_endpoint_is_attacked_only_where_that_is_said(folder: Path, here: Path) -> None:
    words = ["--model", "http://127.0.0.1:1/invocations", "--inputs", folder / "array.npy", "--no-picture"]
    done = attack(*words)
    assert done.exit_code == 2
    assert "where you may do that, say so (allow_remote=True, --allow-remote)" in done.stderr
    assert "127.0.0.1:1" in attack(*words, "--allow-remote").stderr, "then it is asked, and nobody is there"


def test_a_model_server_is_asked_for_answers_alone(folder: Path, here: Path) -> None:
    weights = np.array([[1.0], [-2.0], [0.5]])
    model = V2Model(lambda arrays: {"y": arrays["x"] @ weights}, "triton", [("x", "FP32", [-1, 3])], "1")
    with serving(model) as server:
        done = attack(
            "--model", f"{server.url}/v2/models/digits/infer", "--inputs", folder / "array.npy", "--output", "logit",
            "--absolute", "--attacks", "random", "--radii", "0.3", "--queries", "12", "--allow-remote", "--no-picture",
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads((here / "attack.json").read_text())
    border = np.abs(X @ weights)[:, 0] / np.abs(weights).sum()
    assert (border >= 0.3).mean() <= told["agreement"][0] < 1
    assert told["gradient"] == "none"
