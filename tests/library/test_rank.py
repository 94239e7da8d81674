"""Models assessed alike and ranked: as a library, with models that MLflow wrote, and on the command line."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch

import robmon
from robmon.errors import InvalidInputError, TooFewTrialsError
from robmon.library.rank import entrants
from robmon.models.served.served import ServedModel
from tests.cli.test_commands import robmon as command
from tests.e2e.registry import SIGNATURE, RegisteredModel, Registry
from tests.mlflow_client import quiet_mlflow, tracking
from tests.servers import local_registry

WEIGHTS = np.array([1.0, -2.0, 0.5])


def inputs(rows=400):
    return np.random.default_rng(0).normal(size=(rows, 3))


def linear(factor, seen=None):
    def predict(x):
        if seen is not None:
            seen.append(x)
        return x @ (factor * WEIGHTS)

    return predict


def test_linear_models_cross_where_their_closed_form_says():
    """A model that is too flat by a factor f has clean MSE (1 - f)² mean(y²), and |w|² f² level² more under noise."""
    x = inputs(2000)
    y = x @ WEIGHTS
    ranking = robmon.rank({"true": linear(1.0), "flat": linear(0.8)}, x, y, scale=1.0, levels=(0.1, 0.3, 0.5), seed=5)
    assert ranking.scores[:, 0] == pytest.approx([0.0, 0.04 * np.mean(y**2)])
    assert ranking.slopes == pytest.approx([WEIGHTS @ WEIGHTS, 0.64 * WEIGHTS @ WEIGHTS], rel=0.02)
    crossing = ranking.crossings[0]
    assert (crossing.ahead, crossing.behind) == ("true", "flat")
    assert crossing.levels == pytest.approx([np.sqrt(0.04 * np.mean(y**2) / (0.36 * WEIGHTS @ WEIGHTS))], rel=0.02)
    assert ranking.score == "MSE"
    assert (ranking.conditions.rows, ranking.conditions.seed, ranking.conditions.level_unit) == (2000, 5, "input units")


def test_classifiers_are_ranked_by_accuracy():
    """The narrow one knows the classes exactly, by one feature; the wide one is unsure, and feels noise less."""
    x = np.random.default_rng(1).normal(size=(1000, 9))
    y = (x.mean(axis=1) > 0).astype(int)
    narrow, wide = (lambda x: (x[:, 0] > 0).astype(int)), (lambda x: (x.mean(axis=1) > 0).astype(int))
    ranking = robmon.rank({"narrow": narrow, "wide": wide}, x, y, task="classification", levels=(0.2, 0.5))
    assert (ranking.score, ranking.higher_is_better) == ("accuracy", True)
    assert ranking.scores[:, 0].tolist() == [np.mean((x[:, 0] > 0) == y), 1.0]
    assert np.all(np.diff(ranking.scores[1]) < 0)
    assert ranking.ranks.tolist() == [[2, 2, 2], [1, 1, 1]]


def test_classes_are_targets_of_labels_and_of_scores_alike():
    generator = np.random.default_rng(2)
    centres, y = generator.normal(size=(3, 4)), generator.integers(3, size=300)
    x = centres[y] + 0.5 * generator.normal(size=(300, 4))
    network = torch.nn.Linear(4, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(torch.tensor(centres))

    def scores(x):
        return x @ centres.T

    models = {"labels": lambda x: scores(x).argmax(axis=1), "logits": scores, "network": network,
              "pair": lambda x: scores(x)[:, :2]}  # fmt: skip
    ranking = robmon.rank(models, x, y, task="classification", levels=(0.5,), trials=19)
    assert ranking.names == ("labels", "logits", "network")
    assert np.all(ranking.ranks[:, 0] == 2) and ranking.ranks[0, 1] == ranking.ranks[1, 1]
    assert ranking.scores[:, 0] == pytest.approx(np.mean(scores(x).argmax(axis=1) == y))
    assert ranking.left_out == (("pair", "the model has 2 classes, and the targets are not among 0 to 1"),)
    one_hot = robmon.rank({"a": scores, "b": network}, x, np.eye(3)[y], task="classification", levels=(0.5,), trials=19)
    assert np.array_equal(one_hot.scores, ranking.scores[1:])


def test_all_see_the_same_rows_under_the_same_noise():
    first, second = [], []
    robmon.rank({"a": linear(1.0, first), "b": linear(2.0, second)}, inputs(), inputs() @ WEIGHTS)
    assert len(first) == len(second)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_who_cannot_be_assessed_is_left_out_and_named():
    predictors = {"a": linear(1.0), "short": lambda x: x[:3, 0], "b": linear(0.9), "wide": lambda x: x}
    told = []
    ranking = robmon.rank(predictors, inputs(), inputs() @ WEIGHTS, progress=lambda *done: told.append(done))
    assert ranking.names == ("a", "b")
    assert [name for name, _ in ranking.left_out] == ["short", "wide"]
    assert "targets of shape" in dict(ranking.left_out)["wide"]
    assert told == sorted(told)
    assert told[-1] == (3 * 39, 4 * 39)  # the last one failed before its first trial

    with pytest.raises(InvalidInputError, match=r"2 models that can be assessed: short and 1 more: .*; wide: targets"):
        robmon.rank({**predictors, "b": predictors["short"]}, inputs(), inputs() @ WEIGHTS)


class Raises(torch.nn.Module):
    def forward(self, x):
        raise KeyError("a secret")


def test_models_that_raise_are_left_out_by_the_type_alone():
    def divides(x):
        raise ZeroDivisionError("a secret")

    predictors = {"a": linear(1.0), "callable": divides, "module": Raises(), "b": linear(0.9)}
    ranking = robmon.rank(predictors, inputs(), inputs() @ WEIGHTS)
    assert ranking.names == ("a", "b")
    assert ranking.left_out == (
        ("callable", "the model raised ZeroDivisionError"),
        ("module", "the model raised KeyError"),
    )


def untouched(x):
    raise AssertionError("it was called")


@pytest.mark.parametrize(
    ("predictors", "options", "sentence"),
    [
        ({"a": untouched}, {}, "at least 2 predictors, not 1"),
        ([untouched, untouched], {}, "a mapping of names"),
        ("models:/digits", {}, "or a list of them"),
        ({"a": untouched, "b": untouched}, {"targets": None}, "a ranking needs targets"),
        ({"a": untouched, "b": untouched}, {"levels": (-1.0,)}, "levels must be finite"),
        ({"a": untouched, "b": untouched}, {"noise": "nix"}, "nix"),
    ],
)
def test_what_cannot_be_ranked_is_told_before_any_model_is_called(predictors, options, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        robmon.rank(predictors, inputs(), **({"targets": inputs() @ WEIGHTS} | options))


def test_too_few_trials_are_no_fault_of_a_model():
    with pytest.raises(TooFewTrialsError):
        robmon.rank({"a": linear(1.0), "b": linear(2.0)}, inputs(), inputs() @ WEIGHTS, trials=5)


CODE = """
import mlflow.pyfunc
from mlflow.models import set_model

class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        from weighting import WEIGHT

        self.weight = WEIGHT

    def predict(self, context, model_input, params=None):
        return self.weight * (model_input["length"] + model_input["width"]).to_numpy()

set_model(Model())
"""


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two models that bring a module `weighting` each: the second must not run with the first one's."""
    folders = []
    for weight in (1.0, 0.5):
        code, folder = tmp_path / f"code-{weight}", tmp_path / f"model-{weight}"
        code.mkdir()
        (code / "weighting.py").write_text(f"WEIGHT = {weight}\n")
        (code / "model.py").write_text(CODE)
        with quiet_mlflow():
            mlflow.pyfunc.save_model(
                folder,
                python_model=str(code / "model.py"),
                code_paths=[str(code / "weighting.py")],
                signature=SIGNATURE,
                pip_requirements=[],
            )
        folders.append(str(folder))
    return folders


def test_models_are_loaded_one_after_the_other_each_with_its_own_code(folders: list[str]) -> None:
    import pandas as pd

    a, b = np.random.default_rng(0).normal(size=(2, 100))
    frame = pd.DataFrame({"length": a, "width": b, "serial": np.arange(100)})
    loaded = []

    def count(done, total):
        loaded.append(sum(isinstance(thing, ServedModel) for thing in gc.get_objects()))

    with quiet_mlflow():
        ranking = robmon.rank(folders, frame, a + b, progress=count)
    assert ranking.names == tuple(folders)
    assert ranking.scores[:, 0] == pytest.approx([0.0, 0.25 * np.mean((a + b) ** 2)])
    assert len(loaded) >= 2 and set(loaded) == {1}
    with quiet_mlflow():
        assert robmon.compare(*folders, frame).ratio == pytest.approx([0.25] * 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> RegisteredModel:
    """Version 1 is the true model, 2 is flatter, 3 cannot be loaded."""
    folder = tmp_path_factory.mktemp("ranked")
    registered = Registry(local_registry(folder, mlflow_template), folder).model()
    for weight, on_load in ((1.0, "behaves"), (0.8, "behaves"), (1.0, "raises")):
        registered.add(weight, on_load=on_load)
    registered.serve("1")
    with registered.registry.client() as client:
        client.set_model_version_tag(registered.name, "2", "reviewed", "yes")
    return registered


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("inputs") / "inputs.csv"
    rows = np.random.default_rng(1).normal(size=(200, 2)).tolist()
    lines = [f"{a!r},{b!r},{index},{a + b!r}" for index, (a, b) in enumerate(rows)]
    file.write_text("\n".join(["length,width,serial,y", *lines]) + "\n")
    return file


def test_every_version_of_a_registered_model(model: RegisteredModel, file: Path, tmp_path: Path) -> None:
    words = ["rank", f"models:/{model.name}", "--inputs", file, "--target", "y"]
    done = command(*words, cwd=tmp_path, MLFLOW_TRACKING_URI=model.registry.tracking_uri)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[3:5]] == ["version 1 (champion)", "version 2"]
    assert "left out: version 3: the model cannot be loaded: ValueError at odd_model.py" in done.stdout
    assert lines[0] == "Best without noise: version 1 (champion); at noise of 0.4 standard deviations: version 2."
    assert any(line.endswith("version 2 overtakes version 1 (champion).") for line in lines)
    assert "version 2: reviewed=yes" in lines
    result = json.loads((tmp_path / "ranking.json").read_text())
    assert [each["uri"] for each in result["entrants"]] == [f"models:/{model.name}/{number}" for number in (1, 2, 3)]
    assert [each["ranks"][-1] for each in result["models"]] == [2, 1]
    assert (tmp_path / "ranking.png").read_bytes().startswith(b"\x89PNG")


def test_a_list_of_models(model: RegisteredModel) -> None:
    def names(*models: str) -> list[str]:
        return [entrant.name for entrant in entrants(models)]

    name = model.name
    with tracking(model.registry.tracking_uri):
        assert names(model.uri, f"models:/{name}/3", "runs:/1f/model") == [
            f"{name}@champion",
            f"{name}/3",
            "runs:/1f/model",
        ]
        every = [f"{name}/1 (champion)", f"{name}/2", f"{name}/3"]
        assert names(f"models:/{name}", f"models:/{name}/3") == every


def pictures(rows=60):
    return np.random.default_rng(3).normal(size=(rows, 1, 8, 8)).astype(np.float32)


def stems(gains, behind):
    """Modules of one stem each, of a known gain, and a factor behind it."""
    modules = {}
    for index, (gain, factor) in enumerate(zip(gains, behind, strict=True)):
        layer = torch.nn.Conv2d(1, 1, 3, bias=False)
        last = torch.nn.Linear(36, 1, bias=False)
        with torch.no_grad():
            layer.weight.fill_(float(np.sqrt(gain / 9)))
            last.weight.fill_(factor)
        modules[f"m{index}"] = torch.nn.Sequential(layer, torch.nn.Flatten(), last)
    return modules


@pytest.mark.parametrize(
    ("behind", "value", "sentence"),
    [
        ([0.1] * 6, 1.0, "Here they do: noise makes models with more gain worse faster."),
        ([0.1 * 0.5**place for place in range(6)], -1.0, "Here they do not"),
        ([0.1, 0.05, 0.05, 0.01, 0.02, 0.02], None, "That is undecided."),
    ],
)
def test_whether_the_rules_of_advice_hold_is_told_of_gains_and_slopes(behind, value, sentence):
    from scipy import stats

    gains = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    x = pictures()
    ranking = robmon.rank(stems(gains, behind), x, np.zeros(len(x)), scale=1.0, levels=(0.1, 0.2), trials=19)
    assert ranking.noise_gains == pytest.approx(gains)
    found = ranking.rules
    assert found.count == 6 and found.value == pytest.approx(stats.spearmanr(gains, ranking.slopes).statistic)
    assert value is None or found.value == pytest.approx(value)
    assert "noise gain" in str(ranking) and sentence in str(ranking)
    content = ranking.to_dict()
    assert content["models"][2]["noise_gain"] == pytest.approx(2.0)
    assert content["rules"] == {"count": 6, "value": found.value, "low": found.low, "high": found.high}


def test_too_few_models_say_nothing_of_the_rules():
    x = pictures()
    ranking = robmon.rank(stems([1.0, 2.0, 3.0], [0.1] * 3), x, np.zeros(len(x)), levels=(0.1, 0.2), trials=19)
    assert ranking.rules.value is None and ranking.to_dict()["rules"]["count"] == 3
    assert "Not known: over 3 models whose first convolution was read, they are too few to say" in str(ranking)
    alike = robmon.rank(stems([1.0] * 5, [0.1] * 5), x, np.zeros(len(x)), levels=(0.1, 0.2), trials=19)
    assert "one of the two is alike for all" in str(alike)
    plain = robmon.rank({"a": linear(1.0), "b": linear(0.9)}, inputs(), inputs() @ WEIGHTS)
    assert plain.noise_gains == (None, None) and "rules of advice" not in str(plain)


@pytest.mark.parametrize("pairs", [5, 8, 20])
def test_orders_of_chance_are_seldom_called_one(pairs):
    """2.5 % each way; of few pairs the steps between correlations are coarse."""
    from robmon.robustness.statistics.rank_correlation import spearman

    draw = np.random.default_rng(pairs)
    found = [spearman(*draw.normal(size=(2, pairs))).is_positive for _ in range(2000)]
    share = np.mean([each is not None for each in found])
    assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
