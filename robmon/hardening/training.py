"""One training: AdamW with a cosine schedule, and the weights of the epoch that validation likes best.

Stability training (Zheng, Song, Leung & Goodfellow, "Improving the Robustness of Deep Neural Networks via Stability
Training", CVPR 2016) minimises `L0(x) + alpha D(f(x), f(x'))`: the error of the task on clean rows alone, and how far
the outputs of noisy copies are from theirs. The gradient flows through both branches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from robmon.hardening.embedding import grouped_order
from robmon.hardening.loss import distance_of, error_of
from robmon.hardening.module import Weights, copied_module, outputs_of, trainable, trained_weights
from robmon.hardening.rows import Part, child_seed
from robmon.vocabulary import OutputKind

BATCH_ROWS: Final = 64
VALIDATION_TRIALS: Final = 5
"""Draws of the noise with which a recipe is chosen; the same for all recipes and epochs."""
PATIENCE: Final = 3
"""Epochs, or a quarter of all if that is more, without a better one after which training ends."""


@dataclass(frozen=True)
class Recipe:
    """How one model is trained.

    Attributes:
        alpha: weight of the distance; 0 is plain training on clean rows.
        level: of the noise in the distance.
        epochs: over which the learning rate falls to 0.
        learning_rate: the first.
        augments: noisy rows in the place of the clean ones, and no distance: what stability training is compared with.
    """

    alpha: float
    level: float
    epochs: int
    learning_rate: float
    augments: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """What came of a recipe.

    Attributes:
        module: in the mode of the module that it began with.
        epoch: whose weights these are, counted from 1.
        objective: on the validation rows, of each epoch that was run.
        seconds: that it took.
    """

    recipe: Recipe
    module: torch.nn.Module
    epoch: int
    objective: tuple[float, ...]
    seconds: float


def train(
    module: torch.nn.Module,
    kind: OutputKind,
    rows: Part,
    validation: Part,
    recipe: Recipe,
    *,
    seed: int,
    stop_after: int | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Trained:
    """Train a copy of a module.

    Args:
        module: where it begins; it is not changed.
        kind: what its outputs are.
        rows: that are trained on.
        validation: by which the epoch is chosen: that with the least objective of the recipe.
        recipe: how.
        seed: fixes the order of the rows; the same for all recipes.
        stop_after: the epoch that is taken, whatever validation says of it: of a control the candidate's.
        on_step: called after each step.
    """
    began = time.monotonic()
    result = copied_module(module)
    modes = [part.training for part in result.modules()]
    objective = _Objective(kind, validation, recipe)
    best: tuple[int, Weights] = (0, [])
    seen: list[float] = []
    with trainable(result):
        for epoch in _epochs(result, kind, rows, recipe, seed, on_step):
            if epoch == stop_after:
                best = (epoch, [])
                break
            if stop_after is not None:
                continue
            seen.append(objective(result))
            if not best[0] or seen[-1] < seen[best[0] - 1]:
                best = (epoch, [each.detach().clone() for each in trained_weights(result)])
            elif epoch - best[0] >= max(PATIENCE, recipe.epochs // 4):
                break
    with torch.no_grad():
        for weight, kept in zip(trained_weights(result), best[1], strict=bool(best[1])):
            weight.copy_(kept)
    for part, mode in zip(result.modules(), modes, strict=True):
        part.training = mode
    result.zero_grad(set_to_none=True)
    return Trained(recipe, result, best[0], tuple(seen), time.monotonic() - began)


def steps_of(rows: int, recipe_epochs: int) -> int:
    """How many steps a training of so many rows has."""
    return math.ceil(rows / BATCH_ROWS) * recipe_epochs


def _epochs(
    module: torch.nn.Module,
    kind: OutputKind,
    rows: Part,
    recipe: Recipe,
    seed: int,
    on_step: Callable[[], None],
) -> Iterator[int]:
    """Train epoch after epoch; each is told when it is over."""
    error, distance = error_of(kind), distance_of(kind)
    # Nothing pulls at the weights but the objective.
    optimizer = torch.optim.AdamW(trained_weights(module), lr=recipe.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps_of(len(rows), recipe.epochs))
    orders = np.random.default_rng(child_seed(seed, "order"))
    clean = rows.clean
    labels = rows.truth[:, 0].cpu().numpy() if kind == "embedding" else None
    for epoch in range(1, recipe.epochs + 1):
        drawn = orders.permutation(len(rows)) if labels is None else grouped_order(labels, orders)
        order = torch.from_numpy(drawn).to(clean.device)
        noisy = rows.noisy(epoch, recipe.level) if recipe.alpha or recipe.augments else clean
        for batch in torch.split(order, BATCH_ROWS):
            outputs = rows.comparable(outputs_of(module, (noisy if recipe.augments else clean)[batch]))
            loss = error(outputs, rows.truth[batch])
            if recipe.alpha:
                loss = loss + recipe.alpha * distance(outputs, rows.comparable(outputs_of(module, noisy[batch])))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            on_step()
        yield epoch


class _Objective:
    """What a recipe minimises, on validation rows: always the same draws."""

    def __init__(self, kind: OutputKind, validation: Part, recipe: Recipe) -> None:
        self._error, self._distance, self._rows, self._recipe = error_of(kind), distance_of(kind), validation, recipe
        is_noisy = recipe.alpha or recipe.augments
        self._noisy = [validation.noisy(trial, recipe.level) for trial in range(VALIDATION_TRIALS * bool(is_noisy))]

    def __call__(self, module: torch.nn.Module) -> float:
        with torch.no_grad():
            if self._recipe.augments:
                return _mean([self._error(self._predicted(module, noisy), self._rows.truth) for noisy in self._noisy])
            clean = self._predicted(module, self._rows.clean)
            value = float(self._error(clean, self._rows.truth))
            if self._recipe.alpha:
                moves = [self._distance(clean, self._predicted(module, noisy)) for noisy in self._noisy]
                value += self._recipe.alpha * _mean(moves)
            return value if math.isfinite(value) else math.inf

    def _predicted(self, module: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
        return self._rows.comparable(predicted(module, rows))


def _mean(values: list[torch.Tensor]) -> float:
    return float(torch.stack(values).mean())


def predicted(module: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Outputs without gradients, in batches, shape `(n, outputs)`."""
    with torch.no_grad():
        return torch.cat([outputs_of(module, batch) for batch in torch.split(rows, 4 * BATCH_ROWS)])
