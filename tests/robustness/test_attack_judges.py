"""Attacks of ours beside those of the Adversarial Robustness Toolbox and foolbox, on one network and one forest."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import robmon
from tests.robustness.test_attack import check_witnesses

ROWS, RADIUS, STEPS = 64, 0.1, 20


def trained(rows: int) -> tuple[torch.nn.Module, NDArray[np.float32], NDArray[np.int64]]:
    """A small network of scikit-learn's digits, from 0 to 1, and pictures that it has not seen, with its classes."""
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    x = torch.tensor(pictures.reshape(-1, 1, 8, 8) / 16, dtype=torch.float32)
    y = torch.tensor(labels)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 12, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(192, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(50):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x[:600]), y[:600]).backward()
        optimizer.step()
    network.eval()
    unseen = x[1200 : 1200 + rows]
    with torch.no_grad():
        classes = network(unseen).argmax(dim=1)
    assert (classes == y[1200 : 1200 + rows]).double().mean() > 0.85
    return network, unseen.numpy(), classes.numpy()


@pytest.fixture(scope="module")
def digits() -> tuple[torch.nn.Module, NDArray[np.float32], NDArray[np.int64]]:
    return trained(ROWS)


def kept(network: torch.nn.Module, points: Any, classes: NDArray[np.int64]) -> float:
    with torch.no_grad():
        return float((network(torch.as_tensor(points)).argmax(dim=1).numpy() == classes).mean())


def ours(network: torch.nn.Module, pictures: NDArray[np.float32], **options: Any) -> Any:
    return robmon.attack(
        network, pictures, scale=1.0, layout=robmon.ImageLayout(range=(0, 1)), output="logit", steps=STEPS, **options
    )


def foolbox_model(network: torch.nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

    return foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")


def test_pgd_finds_what_foolbox_finds(digits: Any) -> None:
    network, pictures, classes = digits
    model = foolbox_model(network)
    import foolbox

    attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / STEPS, steps=STEPS, random_start=True)
    torch.manual_seed(0)
    _, points, _ = attack(model, torch.as_tensor(pictures), torch.as_tensor(classes), epsilons=RADIUS)
    own = ours(network, pictures, radii=(RADIUS,), attacks=("pgd",), restarts=1)
    theirs = kept(network, points, classes)
    assert 0.05 < own.agreement[0] < 0.95
    assert own.agreement[0] <= theirs + 0.02
    assert abs(own.agreement[0] - theirs) <= 0.02 or own.agreement[0] < theirs
    check_witnesses_of_digits(own, network, pictures, classes)


def check_witnesses_of_digits(result: Any, network: Any, pictures: Any, classes: Any) -> None:
    for index, radius in enumerate(result.radii):
        points = result.adversarial(float(radius))
        with torch.no_grad():
            said = network(torch.as_tensor(points)).argmax(dim=1).numpy()
        np.testing.assert_array_equal(said != classes, result.flipped[:, index])
        assert np.abs(points.astype(np.float64) - pictures).max() <= radius
        assert points.min() >= 0 and points.max() <= 1


def test_the_nearest_witnesses_are_as_near_as_those_of_foolboxs_ddn(digits: Any) -> None:
    network, pictures, classes = digits
    model = foolbox_model(network)
    import foolbox

    attack = foolbox.attacks.DDNAttack(steps=60)
    _, points, found = attack(model, torch.as_tensor(pictures), torch.as_tensor(classes), epsilons=None)
    theirs = np.linalg.norm((points.numpy() - pictures).reshape(ROWS, -1), axis=1)[found.numpy()]
    own = ours(network, pictures, radii=(0.5, 1.0), norm="2", attacks=("minimal",), restarts=3)
    assert np.isfinite(own.minimal_distance).mean() >= found.numpy().mean()
    assert np.median(own.minimal_distance) <= 1.02 * np.median(theirs)
    check_distances(own, pictures)


def check_distances(result: Any, pictures: Any) -> None:
    for radius in result.radii:
        moves = (result.adversarial(float(radius)).astype(np.float64) - pictures).reshape(ROWS, -1)
        assert np.linalg.norm(moves, axis=1).max() <= radius


def test_a_forest_is_flipped_by_queries_where_brute_force_over_two_features_flips_it() -> None:
    from sklearn.ensemble import RandomForestClassifier

    generator = np.random.default_rng(2)
    inputs = generator.normal(size=(200, 5))
    trees = RandomForestClassifier(8, max_depth=4, random_state=0).fit(inputs, inputs[:, 0] * inputs[:, 3] > 0)
    rows, radius = inputs[:40], 0.25
    moves = np.array(list(itertools.product(np.linspace(-radius, radius, 9), repeat=2)))
    tried = np.repeat(rows[:, None], len(moves), axis=1)
    tried[:, :, [0, 3]] += moves
    said = trees.predict(tried.reshape(-1, 5)).reshape(len(rows), -1)
    brute = (said != trees.predict(rows)[:, None]).any(axis=1)
    result = robmon.attack(
        trees.predict_proba, rows, radii=(radius,), scale=1.0, attacks=("random", "square"), queries=200,
        frozen=(1, 2, 4),
    )  # fmt: skip
    assert brute.sum() >= 5
    assert (result.flipped[:, 0] | ~brute).mean() >= 0.95
    np.testing.assert_array_equal(result.adversarial(radius)[:, [1, 2, 4]], rows[:, [1, 2, 4]])


@pytest.mark.long
def test_pgd_finds_what_art_finds(digits: Any) -> None:
    from art.attacks.evasion import ProjectedGradientDescentNumpy
    from art.estimators.classification import PyTorchClassifier

    network, pictures, classes = digits
    loss = torch.nn.CrossEntropyLoss()
    classifier = PyTorchClassifier(network, loss, (1, 8, 8), nb_classes=10, clip_values=(0, 1), device_type="cpu")
    attack = ProjectedGradientDescentNumpy(
        classifier, eps=RADIUS, eps_step=2.5 * RADIUS / STEPS, max_iter=STEPS, num_random_init=1, verbose=False
    )
    points = attack.generate(pictures, y=np.eye(10)[classes])
    network.eval()
    own = ours(network, pictures, radii=(RADIUS,), attacks=("pgd",), restarts=1)
    assert own.agreement[0] <= kept(network, points, classes) + 0.02


@pytest.mark.long
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_arts_decisions_of_a_black_box_are_seen_again_and_kept_within_bounds(norm: Any) -> None:
    generator = np.random.default_rng(0)
    inputs, weights = generator.normal(size=(24, 6)).astype(np.float32), generator.normal(size=6)
    scale = inputs.astype(np.float64).std(axis=0)

    def model(x: NDArray[Any]) -> NDArray[Any]:
        return (x.astype(np.float64) @ weights).reshape(-1, 1)

    state = np.random.get_state()[1]
    options: dict[str, Any] = {
        "norm": norm, "radii": (0.3, 1.0), "attacks": ("art:hop_skip_jump",), "queries": 400, "frozen": (2,),
    }  # fmt: skip
    result = robmon.attack(lambda x: (model(x)[:, 0] > 0).astype(int), inputs, **options)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    movable = np.delete(scale * weights, 2)
    nearest = np.abs(model(inputs)[:, 0]) / (np.abs(movable).sum() if norm == "inf" else np.linalg.norm(movable))
    found = np.isfinite(result.minimal_distance)
    assert found.mean() > 0.9
    ratio = (result.minimal_distance / nearest)[found]
    assert ratio.min() >= 1 - 1e-6 and np.median(ratio) < 2
    assert result.queries.max() <= 400 + 2 + 8, "the budget, whether the model is random, the last look, halvings"
    check_witnesses(result, lambda x: model(x)[:, 0], inputs, scale)
    np.testing.assert_array_equal(result.adversarial(1.0)[:, 2], inputs[:, 2])
    again = robmon.attack(lambda x: (model(x)[:, 0] > 0).astype(int), inputs, **options)
    np.testing.assert_array_equal(again.witnesses, result.witnesses)
