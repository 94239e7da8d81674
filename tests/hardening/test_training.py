"""One training: what is minimised, what stays as it is, and that nothing but alpha tells a candidate from a control."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robmon.errors import InvalidInputError
from robmon.hardening.loss import distance_of, error_of
from robmon.hardening.module import copied_module
from robmon.hardening.rows import Part, child_seed, split
from robmon.hardening.training import Recipe, train
from robmon.robustness.features.features import measure
from robmon.robustness.noise.by_name import noise_model
from robmon.vocabulary import OutputKind


def part(inputs: np.ndarray, truth: np.ndarray, stream: str, noise: str = "gaussian") -> Part:
    rows = torch.from_numpy(inputs)
    features = measure(rows, 1.0)
    return Part.of(rows, torch.from_numpy(truth), rows.dtype, noise_model(noise), features, child_seed(0, stream))


EPOCHS = 100


@pytest.mark.parametrize(("columns", "outputs", "alpha", "sigma"), [(4, 1, 3.0, 0.5), (7, 2, 0.4, 0.6)])
def test_the_minimiser_of_a_linear_regression_is_ridge(columns: int, outputs: int, alpha: float, sigma: float) -> None:
    """E|w.(x + e) - w.x|² is sigma² |w|²: with alpha the minimiser is that of ridge at alpha sigma², not at sigma²."""
    generator = np.random.default_rng(columns)
    inputs = generator.normal(size=(1024, columns))
    truth = inputs @ generator.normal(size=(columns, outputs)) + 0.1 * generator.normal(size=(1024, outputs))
    torch.manual_seed(0)
    found = train(
        nn.Linear(columns, outputs, bias=False).double(),
        "value",
        part(inputs, truth, "train"),
        part(inputs, truth, "validation"),
        Recipe(alpha, sigma, epochs=EPOCHS, learning_rate=0.05),
        seed=0,
        stop_after=EPOCHS,
    )
    weights = found.module.weight.detach().numpy()  # type: ignore[operator, union-attr]

    def ridge(penalty: float) -> np.ndarray:
        gram = inputs.T @ inputs / len(inputs) + penalty * np.eye(columns)
        return np.linalg.solve(gram, inputs.T @ truth / len(inputs)).T

    assert np.linalg.norm(weights - ridge(alpha * sigma**2)) < 0.01 * np.linalg.norm(weights)
    assert np.linalg.norm(weights - ridge(sigma**2)) > 0.1 * np.linalg.norm(weights), "that of plain augmentation"


class Served(nn.Module):
    """With parts that a training in train mode would move: statistics, and what is dropped out."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3), nn.BatchNorm1d(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out


class Nested(nn.Module):
    """The same kinds of parts two modules deep, of other widths, over pictures."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(nn.Conv2d(1, 5, 2), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout2d(0.4))
        self.outer = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Sequential(block, nn.Flatten()))
        self.head = nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.outer(x))
        return out


def classes(rows: int = 256) -> tuple[np.ndarray, np.ndarray]:
    inputs = np.random.default_rng(1).normal(size=(rows, 6)).astype(np.float32)
    return inputs, np.eye(3, dtype=np.float32)[inputs[:, :3].argmax(axis=1)]


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, given) for mine, given in pairs)


@pytest.mark.parametrize("kind", [Served, Nested])
def test_nothing_but_weights_moves_and_the_module_given_not_at_all(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = kind()
    module(torch.randn(64, 6))  # its statistics are not those of a new one
    next(part for part in module.modules() if isinstance(part, nn.Dropout | nn.Dropout2d)).eval()
    before, modes = copied_module(module), [each.training for each in module.modules()]
    inputs, truth = classes()
    rows, validation = part(inputs, truth, "train"), part(inputs, truth, "validation")
    found = train(module, "logit", rows, validation, Recipe(1.0, 0.5, 2, 0.01), seed=0)
    assert same(module, before) and modes == [each.training for each in module.modules()]
    assert not same(found.module, before)
    for (name, mine), (_, given) in zip(found.module.named_buffers(), module.named_buffers(), strict=True):
        assert torch.equal(mine, given), f"{name}: statistics belong to the clean data"
    assert modes == [each.training for each in found.module.modules()]
    assert all(weight.grad is None for weight in found.module.parameters())


@pytest.mark.parametrize("kind", [Served, Nested])
def test_alpha_0_is_the_control_bit_for_bit_and_a_seed_fixes_the_rest(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = kind()
    inputs, truth = classes()
    rows, validation = part(inputs, truth, "train"), part(inputs, truth, "validation")

    def run(alpha: float, level: float, seed: int = 0, stop_after: int | None = None) -> nn.Module:
        recipe = Recipe(alpha, level, 3, 0.01)
        return train(module, "logit", rows, validation, recipe, seed=seed, stop_after=stop_after).module

    candidate = train(module, "logit", rows, validation, Recipe(0.0, 5.0, 3, 0.01), seed=0)
    assert same(candidate.module, run(0.0, 0.1, stop_after=candidate.epoch))
    assert same(run(1.0, 0.3), run(1.0, 0.3))
    assert not same(run(1.0, 0.3), run(1.0, 0.3, seed=1))
    assert not same(run(1.0, 0.3), run(0.0, 0.3))


def test_the_epoch_that_validation_likes_best_is_taken_and_training_ends_where_none_follows() -> None:
    inputs, truth = classes()
    elsewhere = np.roll(truth, 1, axis=1)  # what is learnt is wrong on these
    module = Served()
    found = train(
        module, "logit", part(inputs, truth, "train"), part(inputs, elsewhere, "validation"),
        Recipe(0.0, 0.1, 12, 0.05), seed=0,
    )  # fmt: skip
    assert len(found.objective) == found.epoch + 3 < 12
    assert found.objective[found.epoch - 1] == min(found.objective)


@pytest.mark.parametrize("kind", ["logit", "probability", "multilabel", "value"])
@pytest.mark.parametrize("columns", [1, 3])
def test_losses_are_those_of_torch(kind: OutputKind, columns: int) -> None:
    torch.manual_seed(columns)
    outputs, others = torch.randn(50, columns, dtype=torch.float64), torch.randn(50, columns, dtype=torch.float64)
    truth = torch.eye(3, dtype=torch.float64)[torch.arange(50) % 3][:, :columns]
    is_binary = kind == "multilabel" or columns == 1
    if kind in ("probability", "multilabel"):
        outputs, others = (each.sigmoid() if is_binary else each.softmax(1) for each in (outputs, others))
    error, distance = error_of(kind)(outputs, truth), distance_of(kind)(outputs, others)
    assert distance_of(kind)(outputs, outputs).item() == pytest.approx(0.0, abs=1e-12)
    if kind == "value":
        assert error == nn.functional.mse_loss(outputs, truth) and distance == nn.functional.mse_loss(outputs, others)
        return
    if is_binary:
        scores = outputs.logit() if kind != "logit" else outputs
        there = others.logit() if kind != "logit" else others
        wanted = nn.functional.binary_cross_entropy_with_logits(scores, truth) * columns
        law = torch.distributions.Bernoulli(logits=scores), torch.distributions.Bernoulli(logits=there)
        moved = torch.distributions.kl_divergence(*law).sum(1).mean()
    else:
        scores, there = (each if kind == "logit" else each.log() for each in (outputs, others))
        wanted = nn.functional.cross_entropy(scores, truth)
        pair = torch.distributions.Categorical(logits=scores), torch.distributions.Categorical(logits=there)
        moved = torch.distributions.kl_divergence(*pair).mean()
    assert error.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert distance.item() == pytest.approx(moved.item(), rel=1e-6)


def test_the_gradient_flows_through_both_branches() -> None:
    clean, noisy = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    for kind in ("value", "logit"):
        distance_of(kind)(clean, noisy).backward()  # type: ignore[arg-type, no-untyped-call]
        for branch in (clean, noisy):
            assert branch.grad is not None and branch.grad.abs().sum() > 0
            branch.grad = None


def test_noise_is_fresh_each_epoch_and_always_the_same_for_the_seed() -> None:
    inputs, truth = classes(2000)
    rows = part(inputs, truth, "train")
    first = rows.noisy(1, 0.5)
    assert torch.equal(first, rows.noisy(1, 0.5)) and not torch.equal(first, rows.noisy(2, 0.5))
    moves = (first - rows.inputs) / 0.5
    assert moves.std().item() == pytest.approx(1.0, abs=0.05)
    assert torch.allclose((rows.noisy(1, 0.1) - rows.inputs) / 0.1, moves, atol=1e-5), "common random numbers"


def test_parts_are_apart_and_too_few_rows_are_refused() -> None:
    parts = split(1000, 3, has_test=False)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(together.tolist()) == list(range(1000))
    assert [len(each) for each in (parts.train, parts.validation, parts.test)] == [700, 150, 150]
    assert len(split(1000, 3, has_test=True).test) == 0
    with pytest.raises(InvalidInputError, match="100 rows are too few: of each part at least 20 are needed, so 133"):
        split(100, 0, has_test=False)
