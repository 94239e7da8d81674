"""The nearest witness of each row against closed forms, and witnesses that another model gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import robmon
from robmon.errors import InvalidInputError
from tests.robustness.test_attack import ATTACKED, RADII, Rounding, W, X, distances, forest, linear


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("factor", [1.0, 1000.0], ids=["", "sure"])
def test_the_nearest_witness_of_a_linear_model_is_at_the_border(norm: Any, factor: float) -> None:
    result = robmon.attack(linear(factor), X, norm=norm, attacks=("minimal",), **ATTACKED)
    ratio = result.minimal_distance / distances(norm)
    assert ratio.min() >= 1.0 and ratio.max() < 1.001
    assert (result.flipped == (result.minimal_distance[:, None] <= result.radii)).all()
    assert (result.gradient, result.masked) == ("ok", False)


def test_few_steps_find_the_border_too() -> None:
    result = robmon.attack(linear(), X, attacks=("minimal",), steps=8, restarts=1, **ATTACKED)
    assert (result.minimal_distance / distances("inf")).max() < 1.01


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_steps_that_could_go_to_and_fro_arrive(norm: Any) -> None:
    """Between two borders, beyond each of which the way back is the steepest."""

    class Band(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 1 - (x.sum(dim=1, keepdim=True) - 0.1) ** 2

    rows = np.zeros((8, 4), dtype=np.float32)
    rows[:, 0] = np.linspace(-0.6, 0.6, 8)
    result = robmon.attack(Band(), rows, norm=norm, attacks=("minimal",), scale=1.0, output="logit", radii=(0.1, 1.0))
    nearest = (1 - np.abs(rows.sum(axis=1) - 0.1)) / (4 if norm == "inf" else 2)
    np.testing.assert_allclose(result.minimal_distance, nearest, rtol=0.01)


def test_cells_that_cannot_move_make_it_longer() -> None:
    result = robmon.attack(linear(), X, norm="2", attacks=("minimal",), frozen=(0, 1, 2), **ATTACKED)
    expected = distances("2") * np.linalg.norm(W) / np.linalg.norm(W[3:])
    np.testing.assert_allclose(result.minimal_distance, expected, rtol=1e-3)


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_every_attack_gives_a_distance_and_what_is_nearer_counts_at_smaller_radii(norm: Any) -> None:
    trees = forest()
    result = robmon.attack(
        trees.predict_proba, X[:64], norm=norm, radii=(0.1, 0.3, 1.0), scale=1.0, attacks=("random",), queries=60
    )
    found = np.isfinite(result.minimal_distance)
    assert 0 < found.sum() == result.flipped[:, -1].sum()
    assert (result.flipped == (result.minimal_distance[:, None] <= result.radii)).all()
    quantiles = result.distance_quantiles
    assert quantiles[0.1] <= quantiles[0.5] <= quantiles[0.9]
    assert f"of 10 % of the rows within {quantiles[0.1]:.3g}" in str(result)
    for radius in result.radii:
        moves = result.adversarial(float(radius)).astype(np.float64) - X[:64]
        assert (np.abs(moves).max(axis=1) if norm == "inf" else np.linalg.norm(moves, axis=1)).max() <= radius


def answers(module: torch.nn.Module) -> Any:
    """A black box."""

    def ask(x: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return np.asarray(module(torch.as_tensor(x).double()))

    return ask


def test_a_substitute_gets_round_rounding_and_black_boxes() -> None:
    rounded = Rounding(linear())
    options: dict[str, Any] = ATTACKED | {"substitute": linear(), "restarts": 1, "attacks": ("pgd", "transfer")}
    white = robmon.attack(rounded, X, **options)
    assert white.by_attack["transfer"][-1] < white.by_attack["pgd"][-1] - 0.2
    assert (white.gradient, white.masked) == ("zero", True)
    black = robmon.attack(answers(rounded), X, **options)
    assert list(black.by_attack) == ["transfer"]
    np.testing.assert_array_equal(black.by_attack["transfer"], white.by_attack["transfer"])
    assert any(note.startswith("the substitute gives 9") for note in black.notes)


def test_labels_are_attacked_through_a_substitute() -> None:
    trees, module = forest(), linear()
    options: dict[str, Any] = {"radii": RADII, "scale": 1.0, "attacks": ("transfer",), "substitute": module}
    result = robmon.attack(lambda x: trees.predict(x).astype(int), X[:64], **options)
    assert 0 < result.agreement[-1] < 0.7
    assert module.training, "it comes back in the mode it had"
    with pytest.raises(InvalidInputError, match="the substitute has 2 classes, counted from 0"):
        robmon.attack(lambda x: np.where(trees.predict(x), "yes", "no"), X[:64], **options)


def test_what_no_substitute_can_be_is_refused() -> None:
    def model(x: NDArray[Any]) -> NDArray[Any]:
        return x.astype(float) @ W[:, None]

    with pytest.raises(InvalidInputError, match="transfer needs another model"):
        robmon.attack(model, X, attacks=("transfer",), **ATTACKED)
    with pytest.raises(InvalidInputError, match="a substitute is a torch module, not function"):
        robmon.attack(model, X, attacks=("transfer",), substitute=model, **ATTACKED)
