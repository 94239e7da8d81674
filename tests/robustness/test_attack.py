"""Attacks against closed forms, on models whose gradient is none or lies, and what every witness keeps to."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import robmon
from robmon.errors import InvalidInputError
from robmon.robustness.probes.attack.doubts import _hides
from robmon.robustness.probes.attack.result import Attack

RADII = (0.05, 0.2, 0.5)
G = np.random.default_rng(0)
X = G.normal(size=(128, 12)).astype(np.float32)
W = G.normal(size=12)
ATTACKED = {"scale": 1.0, "output": "logit", "radii": RADII}


def linear(factor: float = 1.0) -> torch.nn.Module:
    module = torch.nn.Linear(12, 1).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor(factor * W)[None])
        module.bias.fill_(0.3 * factor)
    return module


def distances(norm: str) -> NDArray[np.float64]:
    """How far each row is from the other class of a linear model."""
    size = np.abs(W).sum() if norm == "inf" else np.linalg.norm(W)
    return np.abs(X.astype(np.float64) @ W + 0.3) / float(size)


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("factor", [1.0, 1000.0], ids=["", "sure"])
def test_rows_of_a_linear_model_flip_where_the_dual_norm_says(norm: Any, factor: float) -> None:
    result = robmon.attack(linear(factor), X, norm=norm, attacks=("pgd",), restarts=1, **ATTACKED)
    assert (result.flipped == (distances(norm)[:, None] < np.array(RADII))).all()
    assert (result.gradient, result.masked) == ("ok", False)


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_two_classes_are_told_by_two_columns_too(norm: Any) -> None:
    module = torch.nn.Linear(12, 2).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor(np.stack([-W, W]) / 2))
        module.bias.copy_(torch.tensor([-0.15, 0.15]))
    result = robmon.attack(module, X, norm=norm, attacks=("fgsm",), **ATTACKED)
    assert (result.flipped == (distances(norm)[:, None] < np.array(RADII))).all()
    soft = torch.nn.Sequential(module, torch.nn.Softmax(dim=1))
    options = ATTACKED | {"output": "probability"}
    assert (robmon.attack(soft, X, norm=norm, attacks=("fgsm",), **options).flipped == result.flipped).all()


@pytest.mark.parametrize("attack", ["square", "random"])
def test_answers_alone_find_nearly_as_much(attack: str) -> None:
    result = robmon.attack(lambda x: x.astype(float) @ W[:, None] + 0.3, X, attacks=(attack,), **ATTACKED)
    expected = distances("inf")[:, None] < np.array(RADII)
    assert not (result.flipped & ~expected).any(), "no row flips that cannot"
    assert result.flipped.sum() >= 0.97 * expected.sum()
    assert (result.gradient, result.masked) == ("none", False)
    assert result.queries.max() <= 3 * 501 + 1, "each search with its check, and whether the model is itself random"


class Rounding(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(torch.round(4 * x) / 4)


def test_a_gradient_that_is_rounded_away_hides_nothing() -> None:
    result = robmon.attack(Rounding(linear()), X, restarts=1, queries=200, **ATTACKED)
    assert (result.gradient, result.masked) == ("zero", True)
    assert result.by_attack["pgd"][-1] > result.agreement[-1] + 0.2
    assert "The gradient hides how fragile the model is" in str(result)


class Misleading(torch.nn.Module):
    """Rounds, and has a gradient all the same, which leads elsewhere."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.model(torch.round(4 * x) / 4) + 1e-3 * x[:, :1]
        return result


def test_a_gradient_that_leads_elsewhere_is_told_of_64_rows() -> None:
    found = [
        robmon.attack(Misleading(linear()), X[:64], restarts=1, queries=200, seed=seed, **ATTACKED) for seed in range(3)
    ]
    assert [(each.gradient, each.masked) for each in found] == [("ok", True)] * 3


@pytest.mark.parametrize(("rows", "most"), [(8, 2), (64, 5), (256, 12)])
def test_what_is_flipped_alone_says_something_beyond_chance_only(rows: int, most: int) -> None:
    for count in range(rows):
        alone = np.zeros((rows, 3), dtype=bool)
        alone[:count, 1] = True
        lost = {"pgd": np.zeros_like(alone), "random": alone}
        assert _hides(lost) == (count > most)
        assert not _hides({"pgd": alone, "random": alone}), "the gradient finds them too"
        assert not _hides({"pgd": alone})


def test_where_two_rows_of_a_hundred_are_missed_one_sample_of_a_hundred_is_called_masked() -> None:
    generator = np.random.default_rng(0)
    alone = generator.random((2_000, 64, 3)) < 0.02
    called = [_hides({"pgd": np.zeros_like(each), "square": each}) for each in alone]
    assert np.mean(called) < 0.01


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(15, random_state=0).fit(X, X @ W > 0)


def test_a_forest_is_attacked_by_queries_and_labels_by_corners() -> None:
    trees = forest()
    options: dict[str, Any] = {"radii": (0.3,), "scale": 1.0, "queries": 150}
    scores = robmon.attack(trees.predict_proba, X[:48], **options)
    assert scores.notes[-1] == "the model has no gradient: it is asked for answers alone"
    labels = robmon.attack(lambda x: trees.predict(x).astype(int), X[:48], **options)
    assert scores.agreement[0] <= labels.agreement[0] < 0.9
    with pytest.raises(InvalidInputError, match="has no gradient: choose square or random"):
        robmon.attack(trees.predict_proba, X[:48], attacks=("pgd",), **options)


def check_witnesses(result: Attack, model: Any, inputs: NDArray[Any], scale: NDArray[Any]) -> None:
    """Every witness flips in a call of its own, lies in the ball, and rows without one are as they were."""
    classes = model(inputs) > 0
    for index, radius in enumerate(result.radii):
        witnesses, flipped = result.adversarial(float(radius)), result.flipped[:, index]
        assert witnesses.dtype == inputs.dtype
        assert ((model(witnesses) > 0) != classes)[flipped].all()
        np.testing.assert_array_equal(witnesses[~flipped], inputs[~flipped])
        moves = np.abs(witnesses.astype(np.float64) - inputs) / scale
        sizes = moves.max(axis=1) if result.norm == "inf" else np.linalg.norm(moves, axis=1)
        assert sizes.max() <= radius


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_witness_keeps_to_ball_range_and_frozen_columns(norm: Any, dtype: Any) -> None:
    inputs = (X * np.geomspace(0.01, 100, 12)).astype(dtype)
    scale = inputs.astype(np.float64).std(axis=0)

    def model(x: NDArray[Any]) -> NDArray[Any]:
        return np.tanh((x.astype(np.float64) / scale) @ W) + 0.05 * np.sin(x[:, 3].astype(np.float64))

    low, high = inputs.min(axis=0), np.quantile(inputs, 0.9, axis=0).astype(dtype)
    result = robmon.attack(
        lambda x: model(x)[:, None], inputs, output="logit", norm=norm, radii=(0.1, 0.4), queries=80,
        clip=(low, high), frozen=(1, 5), seed=3,
    )  # fmt: skip
    assert 0 < result.flipped[:, 0].sum() < result.flipped[:, 1].sum()
    check_witnesses(result, model, inputs, scale)
    for radius in result.radii:
        found = result.adversarial(float(radius))
        np.testing.assert_array_equal(found[:, [1, 5]], inputs[:, [1, 5]])
        assert (found >= np.minimum(low, inputs)).all()
        assert (found <= np.maximum(high, inputs)).all()
    again = robmon.attack(
        lambda x: model(x)[:, None], inputs, output="logit", norm=norm, radii=(0.1, 0.4), queries=80,
        clip=(low, high), frozen=(1, 5), seed=3,
    )  # fmt: skip
    np.testing.assert_array_equal(again.witnesses, result.witnesses)


@pytest.mark.parametrize("mean", [1e4, 1e5, 1e6, 1e7])
def test_a_column_that_is_coarse_in_its_type_holds_up_no_other(mean: float) -> None:
    inputs = X[:, :6].copy()
    inputs[:, 0] += mean

    def model(x: NDArray[Any]) -> NDArray[Any]:
        return (x[:, 1:].astype(np.float64) @ W[1:6])[:, None]

    result = robmon.attack(model, inputs, radii=(0.05,), output="logit", attacks=("random",), queries=150)
    sizes = np.abs(inputs[:, 1:].astype(np.float64).std(axis=0) * W[1:6]).sum()
    expected = np.abs(model(inputs)[:, 0]) < 0.05 * sizes
    assert (result.flipped[:, 0] == expected).mean() > 0.98
    check_witnesses(result, lambda x: model(x)[:, 0], inputs, inputs.astype(np.float64).std(axis=0))


def test_what_makes_witnesses_say_less_is_told() -> None:
    generator = np.random.default_rng(1)
    options: dict[str, Any] = {"scale": 1.0, "output": "logit", "radii": (0.01,), "queries": 3}
    noisy = robmon.attack(lambda x: x @ W[:, None] + generator.normal(size=(len(x), 1)), X, **options)
    assert any("the model is itself random" in note for note in noisy.notes)
    beyond = robmon.attack(lambda x: x @ W[:, None], X, clip=(-1, 1), **options)
    assert any("lie outside the valid range (clip) by themselves" in note for note in beyond.notes)


@pytest.mark.parametrize(
    ("predict", "sentence"),
    [
        (lambda x: x[:, 0] + 100.0, "all 40 rows get the same class (the one column is above 0 in each"),
        (lambda x: np.full(len(x), "no"), "all 40 rows get the same class"),
        (lambda x: (x[:, 0] > x[0, 0]).astype(int), "or its answer depends on other rows"),
    ],
    ids=["a regressor", "one label", "ranks in the batch"],
)
def test_a_share_that_says_little_is_not_left_without_a_word(predict: Any, sentence: str) -> None:
    rows = np.random.default_rng(3).normal(size=(40, 2))
    result = robmon.attack(predict, rows, attacks=("random",), queries=10)
    assert any(sentence in note for note in result.notes)


def test_of_tables_only_measurements_move() -> None:
    frame = pd.DataFrame(X[:64, :3], columns=["a", "b", "c"])
    frame["city"] = np.where(X[:64, 3] > 0, "x", "y")
    frame.loc[frame.index[:7], "c"] = np.nan
    seen: list[pd.DataFrame] = []

    def model(rows: pd.DataFrame) -> NDArray[Any]:
        seen.append(rows)
        found = rows[["a", "b"]].sum(axis=1) + rows["c"].fillna(0.0) + np.where(rows["city"] == "x", 0.2, -0.2)
        return np.stack([-found, found], axis=1)

    result = robmon.attack(model, frame, radii=(0.2,), output="logit", queries=60, frozen=("b",))
    assert 0 < result.agreement[0] < 1
    assert all(set(rows["city"]) <= {"x", "y"} for rows in seen)
    witnesses = result.adversarial(0.2)
    assert list(witnesses.columns) == list(frame.columns)
    assert witnesses["c"][:7].isna().all()
    np.testing.assert_array_equal(witnesses["b"], frame["b"])
    moved = (model(witnesses).argmax(axis=1) != model(frame).argmax(axis=1)).tolist()
    assert moved == result.flipped[:, 0].tolist()
    assert result.queries.sum() < 64 * (2 * 61 + 10), "no row is asked about for the sake of another"


def test_targets_give_the_accuracy_and_radii_are_nested() -> None:
    truth = (X @ W + G.normal(size=128) > 0).astype(int)
    result = robmon.attack(linear(), X, targets=truth[:, None], attacks=("pgd", "random"), queries=50, **ATTACKED)
    right = (X.astype(np.float64) @ W + 0.3 > 0) == truth
    kept = distances("inf")[:, None] >= np.array(RADII)
    np.testing.assert_allclose(result.accuracy, (right[:, None] & kept).mean(axis=0))
    assert (np.diff(result.flipped.astype(int), axis=1) >= 0).all()


def test_pictures_are_attacked_by_squares() -> None:
    pictures = G.random((24, 3, 8, 8)).astype(np.float32)
    weights = np.random.default_rng(4).normal(size=(3, 8, 8))
    weights -= weights.mean()
    options: dict[str, Any] = {
        "scale": 1.0,
        "output": "logit",
        "radii": (0.05,),
        "attacks": ("square",),
        "clip": (0, 1),
    }
    first = robmon.attack(lambda x: (x * weights).sum(axis=(1, 2, 3))[:, None], pictures, **options)
    assert 0 < first.agreement[0] < 0.7
    assert first.adversarial(0.05).min() >= 0
    last = np.moveaxis(pictures, 1, -1)
    other = robmon.attack(lambda x: (np.moveaxis(x, -1, 1) * weights).sum(axis=(1, 2, 3))[:, None], last, **options)
    assert other.agreement[0] == pytest.approx(first.agreement[0], abs=0.2)


@pytest.mark.parametrize("packed", [lambda outputs: (outputs,), lambda outputs: {"logits": outputs}])
def test_outputs_that_stand_alone_in_a_tuple_or_dict_have_a_gradient(packed: Any) -> None:
    class Packed(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            return packed(super().forward(x))

    torch.manual_seed(0)
    result = robmon.attack(Packed(4, 3), X[:32, :4].astype(np.float32), attacks=("pgd",), restarts=1, output="logit")
    assert result.gradient == "ok" and result.agreement[-1] < 1


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_module_in_training_comes_back_so_and_has_no_gradient_of_its_own() -> None:
    module = torch.nn.Sequential(linear(), torch.nn.Dropout(0.5))
    robmon.attack(module, X[:16], attacks=("pgd",), restarts=1, **ATTACKED)
    assert module.training
    assert all(part.grad is None for part in module.parameters())
    scripted = torch.jit.script(linear())
    result = robmon.attack(scripted, X, attacks=("pgd",), restarts=1, **ATTACKED)
    assert (result.flipped == (distances("inf")[:, None] < np.array(RADII))).all()


def test_the_time_budget_is_kept_and_told() -> None:
    def slow(x: NDArray[Any]) -> NDArray[Any]:
        time.sleep(0.02)
        return np.tanh(x @ W)[:, None] * 0.0 + 1.0

    began = time.monotonic()
    result = robmon.attack(slow, X, output="logit", queries=100_000, max_seconds=0.6)
    assert time.monotonic() - began < 200, "all queries take 2,000 s"
    assert "the time budget of 0.6 s ended attacks early" in result.cut
    assert result.agreement.tolist() == [1.0] * 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"radii": ()}, "radii must be finite numbers above 0"),
        ({"radii": (0.0,)}, "radii must be finite numbers above 0"),
        ({"norm": "1"}, "norm '1' is not known"),
        ({"attacks": ("cw",)}, "attack 'cw' is not known"),
        ({"attacks": ()}, "attacks are some of"),
        ({"queries": 0}, "queries must be at least 1"),
        ({"max_seconds": 0}, "max_seconds must be a number above 0, not 0"),
        ({"clip": 1.0}, "clip is a pair"),
        ({"frozen": tuple(range(12))}, "nothing can be moved"),
        ({"frozen": ("nobody",)}, "'nobody' is not one of the floating features"),
        ({"task": "regression", "output": None}, "an attack changes classes"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        robmon.attack(lambda x: x.astype(float) @ W[:, None], X, **{"output": "logit", "scale": 1.0, **options})
    with pytest.raises(InvalidInputError, match="radius 9 was not attacked"):
        robmon.attack(lambda x: x @ W[:, None], X[:4], output="logit", queries=1, scale=1.0).adversarial(9)
