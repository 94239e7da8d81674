"""Which alpha and which level: every pair is trained, and the validation rows choose one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from robmon.errors import OverBudgetError
from robmon.hardening.loss import distance_of, error_of
from robmon.hardening.module import copied_module, outputs_of, trainable, trained_weights
from robmon.hardening.rows import Part
from robmon.hardening.scores import row_scores
from robmon.hardening.training import (
    BATCH_ROWS,
    VALIDATION_TRIALS,
    Recipe,
    Trained,
    predicted,
    steps_of,
    train,
)
from robmon.robustness.arrays import wait_for
from robmon.vocabulary import OutputKind

TIMED_STEPS: Final = 3


@dataclass(frozen=True)
class Scores:
    """Mean scores on validation rows, clean and under noise of the level that decides; see `row_scores`."""

    clean: float
    noisy: float


@dataclass(frozen=True, eq=False)
class Tried:
    """A recipe that was trained, and how it does on the validation rows."""

    trained: Trained
    scores: Scores


@dataclass(frozen=True, eq=False)
class Search:
    """What a search is made with.

    Attributes:
        module: where every training begins.
        kind: what its outputs are.
        rows: that are trained on.
        validation: that choose.
        level: that decides.
        tolerance: how much worse the clean score may be.
        seed: fixes the order of rows.
        on_step: called with the number of steps done since the call before.
    """

    module: torch.nn.Module
    kind: OutputKind
    rows: Part
    validation: Part
    level: float
    tolerance: float
    seed: int
    on_step: Callable[[int], None] = lambda _: None
    began: float = field(default_factory=time.monotonic)

    def scores(self, module: torch.nn.Module) -> Scores:
        """A model's scores on the validation rows: of noise the mean over the same draws for all models."""
        with trainable(module):
            outputs = self._predicted(module, self.validation.clean)
            clean = row_scores(outputs, self.validation.truth, self.kind)
            noisy = [
                row_scores(
                    self._predicted(module, self.validation.noisy(trial, self.level)),
                    self.validation.truth,
                    self.kind,
                    outputs,
                )
                for trial in range(VALIDATION_TRIALS)
            ]
        return Scores(float(clean.mean()), float(torch.stack(noisy).mean()))

    def _predicted(self, module: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
        return self.validation.comparable(predicted(module, rows))

    def seconds(self, recipe: Recipe) -> tuple[float, float]:
        """What a training by a recipe is expected to take, and a forward pass of one row; by a few steps."""
        module = copied_module(self.module)
        error, distance, weights = error_of(self.kind), distance_of(self.kind), trained_weights(module)
        clean, truth = self.rows.clean[:BATCH_ROWS], self.rows.truth[:BATCH_ROWS]
        passes, steps = [], []
        with trainable(module):
            for _ in range(TIMED_STEPS):
                began = time.monotonic()
                wait_for(predicted(module, clean))
                passes.append(time.monotonic() - began)
                outputs = self.rows.comparable(outputs_of(module, clean))
                moved = self.rows.comparable(outputs_of(module, clean))
                loss = error(outputs, truth) + distance(outputs, moved)
                slopes = torch.autograd.grad(loss, weights, allow_unused=True)
                wait_for(next(each for each in slopes if each is not None))
                steps.append(time.monotonic() - began)
        row = min(passes) / len(clean)
        validated = len(self.validation) * (1 + VALIDATION_TRIALS) * row * recipe.epochs
        return steps_of(len(self.rows), recipe.epochs) * min(steps) + validated, row

    def run(self, recipes: Sequence[Recipe], stop_at: float, each_seconds: float) -> list[Tried]:
        """Train by each recipe until the time is over, as it stands before a training; the first one always is.

        Args:
            recipes: those that matter most first.
            stop_at: seconds after `began` at which the last one must have ended.
            each_seconds: what one is expected to take.
        """
        tried: list[Tried] = []
        for recipe in recipes:
            left = stop_at - (time.monotonic() - self.began)
            if tried and left < max(each_seconds, tried[-1].trained.seconds):
                break
            trained = self.trained(recipe)
            tried.append(Tried(trained, self.scores(trained.module)))
        return tried

    def trained(self, recipe: Recipe, stop_after: int | None = None) -> Trained:
        """One training; steps of epochs that it left out count as done."""
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            self.on_step(1)

        result = train(
            self.module,
            self.kind,
            self.rows,
            self.validation,
            recipe,
            seed=self.seed,
            stop_after=stop_after,
            on_step=step,
        )
        self.on_step(steps_of(len(self.rows), recipe.epochs) - done)
        return result

    def best(self, tried: Sequence[Tried]) -> Tried:
        """The one with the best score under noise, among those whose clean score is no worse than tolerated.

        Where all lose more than that, the one that loses least.
        """
        least = self.scores(self.module).clean - self.tolerance

        def rank(each: Tried) -> tuple[float, float]:
            return min(each.scores.clean - least, 0.0), each.scores.noisy

        return max(tried, key=rank)


def recipes_of(alphas: Sequence[float], levels: Sequence[float], **rest: Any) -> list[Recipe]:
    """Every alpha with every level: the highest levels first, since the highest one decides.

    >>> [(each.alpha, each.level) for each in recipes_of([0.1, 1], [0.2, 0.4], epochs=5, learning_rate=1e-3)]
    [(0.1, 0.4), (1, 0.4), (0.1, 0.2), (1, 0.2)]
    """
    return [Recipe(alpha, level, **rest) for level in sorted(levels, reverse=True) for alpha in alphas]


def check_budget(max_seconds: float | None, each_seconds: float, judging_seconds: float) -> float:
    """Seconds after which the search ends, so that a control can be trained and judged; without a budget infinite.

    Raises:
        OverBudgetError: not even one recipe and its control fit.
    """
    if max_seconds is None:
        return math.inf
    needed = 2 * each_seconds + judging_seconds
    if needed > max_seconds:
        raise OverBudgetError(needed, max_seconds, "give fewer epochs or rows, or more seconds", what="search")
    return max_seconds - each_seconds - judging_seconds
