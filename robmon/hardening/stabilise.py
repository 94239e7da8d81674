"""`robmon.stabilise`: stability training of a torch module, and the verdict on what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from robmon.errors import InvalidInputError
from robmon.hardening.result import Stabilised
from robmon.library.prepared_rows import open_predictor
from robmon.robustness.checks import check_above_zero, check_seed, check_whole
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.specification import Specification

if TYPE_CHECKING:
    import torch

    from robmon.hardening.data import Data
    from robmon.hardening.judging import Assessed, Judgement
    from robmon.hardening.search import Tried

TRIALS = 19
"""Of each assessment on the held-out rows: the fewest that have a bound at 95 %."""


def stabilise(
    module: torch.nn.Module,
    inputs: Any,
    targets: Any,
    *,
    noise: str | Noise = Specification.noise,
    levels: float | Sequence[float],
    alpha: float | Sequence[float] = (0.1, 1.0),
    epochs: int = 5,
    seed: int = 0,
    max_seconds: float | None = None,
    task: str = Specification.task,
    output: str | None = None,
    scale: Any = None,
    scale_axis: int | None = None,
    layout: ImageLayout | None = None,
    distance: str = Specification.distance,
    test: tuple[Any, Any] | None = None,
    tolerance: float = 0.01,
    learning_rate: float = 1e-3,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    expect: Callable[[float], None] | None = None,
) -> Stabilised:
    """Train a copy of a module so that noise moves its outputs less, and judge it on rows it was not trained on.

    The loss is that of the task on clean rows plus `alpha` times the distance between the outputs of a row and of a
    noisy copy of it (Zheng et al., "Improving the Robustness of Deep Neural Networks via Stability Training", CVPR
    2016), under robmon's own noise. Every alpha is tried with every level; 15 % of the rows choose the best pair, and
    another 15 % judge it. It passes if its score without noise is no worse than `tolerance` below the original's, and
    its score under noise of the highest level is better than the original's and better than that of a control: the same
    module trained for as long without noise. The score is the accuracy; for values, `1 - MSE / variance` of the labels;
    for embeddings, the precision at 1: the share of rows whose nearest other row, itself without noise, has the same
    label.

    All parts run as they are served: batch norm keeps its statistics, and dropout is off. The module that is given
    keeps its weights, mode and statistics.

    Args:
        module: a torch module (also TorchScript, or of an exported program) that returns one tensor of values, scores
            or probabilities with one row per input row.
        inputs: array or tensor `(n, *input_shape)`, n at least 133.
        targets: what the outputs should be, shape `(n, outputs)`; for class scores, class indices 0, 1, ... of shape
            `(n,)`, or one column per class; for embeddings, one label per row, shape `(n,)`: rows with the same label
            are the same thing.
        noise: as in `robmon.assess`.
        levels: noise strengths to train at, as in `robmon.assess`; the highest one decides. Relative levels are
            multiples of the standard deviations of the training rows.
        alpha: weights of the distance to try, each at least 0.
        epochs: most passes over the rows for each pair; the pass whose weights do best on validation is kept.
        seed: fixes the split, the order of rows and the noise.
        max_seconds: time budget: pairs that do not fit are left out, and named. None: all are tried.
        task: `regression`, `classification` or `embedding`.
        output: what the outputs are, as in `robmon.assess`.
        scale: as in `robmon.assess`; 1.0: levels are in input units.
        scale_axis: as in `robmon.assess`.
        layout: as in `robmon.assess`.
        distance: for embeddings, `l2` or `cosine`.
        test: inputs and targets to judge on, in place of 15 % of the rows. Give rows that the module was never trained
            on: on its own training rows, its score without noise is too good.
        tolerance: loss of the score without noise that is tolerated: 0.01 is one percentage point.
        learning_rate: of the first step; it falls to 0 along a cosine.
        device: as in `robmon.assess`.
        progress: called with the number of steps done and the number planned.
        expect: called with the expected seconds of training, as soon as a few steps have been timed.

    Returns:
        The candidate, the control and the report.

    Raises:
        InvalidInputError: module, inputs, targets or an option cannot be used.
        OverBudgetError: not even one pair and its control fit into `max_seconds`.
        PredictionError: the module raised, or did not return one output per row.

    >>> import numpy as np, torch
    >>> inputs = np.random.default_rng(0).normal(size=(2000, 8)).astype("float32")
    >>> module = torch.nn.Linear(8, 1)
    >>> _ = torch.nn.init.constant_(module.weight, 1.0)
    >>> result = stabilise(module, inputs, inputs.sum(axis=1), levels=1.0, alpha=1.0, epochs=20, learning_rate=0.03)
    >>> result.passed, round(result.module.weight.mean().item(), 1)
    (False, 0.5)
    """
    # They import torch, which whoever imports all of robmon's names need not have.
    from robmon.hardening.data import prepare
    from robmon.hardening.judging import judge
    from robmon.hardening.module import copied_module, trained_weights
    from robmon.hardening.search import Search, check_budget, recipes_of
    from robmon.hardening.training import steps_of

    began = time.monotonic()
    alphas = _checked_options(alpha, epochs, tolerance, learning_rate, max_seconds)
    check_seed(seed)
    specification = Specification(
        noise=noise,
        levels=(levels,) if isinstance(levels, (int, float)) else tuple(levels),
        trials=TRIALS,
        task=task,
        output=output,
        scale_axis=scale_axis,
        layout=layout,
        distance=distance,
    )
    trained_weights(module)  # refused before anything is computed
    base = copied_module(module)
    with open_predictor(base, inputs, specification, device) as rows:
        data = prepare(rows, inputs, targets, specification, scale=scale, seed=seed, test=test)
        level = data.specification.levels[-1]
        recipes = recipes_of(alphas, data.specification.levels[1:], epochs=epochs, learning_rate=learning_rate)
        told = _Steps(progress, steps_of(len(data.train), epochs) * (len(recipes) + 1))
        kind = data.kind
        search = Search(base, kind, data.train, data.validation, level, tolerance, seed, told.add, began)
        each_seconds, row_seconds = search.seconds(recipes[0])
        judging_seconds = 3 * data.passes * row_seconds
        stop_at = check_budget(max_seconds, each_seconds, judging_seconds)
        if expect is not None:
            expect(min((len(recipes) + 1) * each_seconds + judging_seconds, max_seconds or math.inf))
        tried = search.run(recipes, stop_at, each_seconds)
        best = search.best(tried)
        told.add(steps_of(len(data.train), epochs) * (len(recipes) - len(tried)))
        control = search.trained(replace(best.trained.recipe, alpha=0.0), stop_after=best.trained.epoch)
        before, plain, after = (data.assessed(each) for each in (base, control.module, best.trained.module))
        verdict = judge(before, plain, after, data.truth, level, tolerance)
        for trained in (control.module, best.trained.module):
            for part, given in zip(trained.modules(), module.modules(), strict=True):
                part.training = given.training
    report = _report(data, verdict, best, tried, (before, plain, after))
    report |= {
        "left_out": [{"alpha": each.alpha, "level": each.level} for each in recipes[len(tried) :]],
        "tolerance": tolerance,
        "seed": seed,
        "seconds": time.monotonic() - began,
    }
    return Stabilised(best.trained.module, control.module, verdict.passed, report)


def _checked_options(
    alpha: float | Sequence[float], epochs: int, tolerance: float, learning_rate: float, max_seconds: float | None
) -> tuple[float, ...]:
    """The alphas; refuses what cannot be."""
    alphas = (alpha,) if isinstance(alpha, (int, float)) else tuple(alpha)
    if not alphas or not all(0.0 <= each < math.inf for each in alphas):
        raise InvalidInputError(f"alpha must be numbers of at least 0, not {alpha!r}")
    check_whole(epochs, "epochs")
    if epochs < 1:
        raise InvalidInputError(f"epochs must be at least 1, not {epochs}")
    if not 0.0 <= tolerance < 1.0:
        raise InvalidInputError(f"tolerance must lie between 0 and 1, not {tolerance!r}: 0.01 is one point")
    check_above_zero(learning_rate, "learning_rate")
    if max_seconds is not None:
        check_above_zero(max_seconds, "max_seconds")
    return alphas


class _Steps:
    """Counts steps, and tells of them."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def add(self, steps: int) -> None:
        self._done += steps
        if steps and self._progress is not None:
            self._progress(self._done, self._total)


def _report(
    data: Data, verdict: Judgement, best: Tried, tried: Sequence[Tried], assessed: Sequence[Assessed]
) -> dict[str, Any]:
    """What was done and found, in plain values."""
    before, _, after = (each.against_itself.curve[-1].mean_mse for each in assessed)
    first = assessed[0].against_itself
    score = "determination"
    if assessed[0].counts_rows:
        score = "precision" if data.kind == "embedding" else "accuracy"
    return {
        "passed": verdict.passed,
        "score": score,
        "task": first.task,
        "output": first.output,
        "noise": first.noise,
        "level": first.levels[-1],
        "level_unit": first.level_unit,
        "levels": list(first.levels),
        "rows": {"train": len(data.train), "validation": len(data.validation), "test": data.judged_rows},
        "alpha": best.trained.recipe.alpha,
        "sigma": best.trained.recipe.level,
        "epoch": best.trained.epoch,
        **verdict.to_dict(),
        "output_mse_ratio": after / before if before else None,
        "curves": {
            name: {
                "labels": each.against_labels and each.against_labels.to_dict()["curve"],
                "prediction": each.against_itself.to_dict()["curve"],
            }
            for name, each in zip(verdict.scores, assessed, strict=True)
        },
        "tried": [
            {
                **asdict(each.trained.recipe),
                "epoch": each.trained.epoch,
                "epochs_run": len(each.trained.objective),
                "clean": each.scores.clean,
                "noisy": each.scores.noisy,
                "seconds": each.trained.seconds,
            }
            for each in tried
        ],
        "notes": list(data.notes),
    }
