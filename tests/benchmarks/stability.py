"""Does stability training do what it says? Candidates on scikit-learn's digits, beside a control and augmentation.

Each seed: a small CNN is trained on 1,200 digits, then tuned further in four ways, alike in rows, order and steps, and
all are scored on the 597 digits that none of them has seen. `python -m tests.benchmarks.stability [SEEDS]`, 5 seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import robmon
from robmon.hardening.data import prepare
from robmon.hardening.stabilise import TRIALS
from robmon.hardening.training import Recipe, train
from robmon.library.prepared_rows import open_predictor
from robmon.robustness.specification import Specification
from tests.benchmarks._figures import judge
from tests.digits import Digits, digits, trained_cnn

LEVEL, BEYOND, ALPHA, EPOCHS, LEARNING_RATE = 0.3, 0.5, 1.0, 5, 1e-3
FIRST_SEED = 100
"""None that was looked at while the limits were set."""
Accuracies = NDArray[np.float64]


@dataclass(frozen=True)
class Tuned:
    """One model of one seed: accuracies at levels 0, `LEVEL` and `BEYOND`, and the MSE of its own logits at `LEVEL`."""

    accuracy: Accuracies
    logit_mse: float


def scored(module: torch.nn.Module, data: Digits, seed: int) -> Tuned:
    """A model on the rows that none has seen."""
    options = {"levels": [LEVEL, BEYOND], "scale": 1.0, "task": "classification", "trials": TRIALS, "seed": seed}
    against_labels = robmon.assess(module, data.test_inputs, targets=data.test_targets, **options)
    against_itself = robmon.assess(module, data.test_inputs, **options)
    assert against_labels.row_accuracy is not None
    return Tuned(against_labels.row_accuracy.mean(axis=0), against_itself.curve[1].mean_mse)


def augmented(module: torch.nn.Module, data: Digits, seed: int) -> torch.nn.Module:
    """Tuned alike on noisy rows in the place of clean ones."""
    specification = Specification(levels=(LEVEL,), task="classification", trials=TRIALS)
    with open_predictor(module, data.inputs, specification) as rows:
        ready = prepare(rows, data.inputs, data.targets, specification, scale=1.0, seed=seed, test=data.test)
        recipe = Recipe(0.0, LEVEL, EPOCHS, LEARNING_RATE, augments=True)
        return train(module, ready.kind, ready.train, ready.validation, recipe, seed=seed).module


def of_seed(seed: int) -> dict[str, Tuned]:
    """All models of one seed."""
    data = digits(seed)
    module = trained_cnn(data, seed)
    found = robmon.stabilise(
        module, data.inputs, data.targets, levels=LEVEL, alpha=ALPHA, epochs=EPOCHS, learning_rate=LEARNING_RATE,
        scale=1.0, task="classification", seed=seed, test=data.test,
    )  # fmt: skip
    models = {
        "before": module,
        "control": found.control,
        "augmentation": augmented(module, data, seed),
        "stability": found.module,
    }
    return {name: scored(each, data, 1000 + seed) for name, each in models.items()}


def table(seeds: Sequence[dict[str, Tuned]]) -> dict[str, Accuracies]:
    """Print means over seeds with their standard errors, as differences to the model before; returns the means."""
    means = {}
    print(f"{'':14}{'clean':>16}{f'at {LEVEL}':>16}{f'at {BEYOND}':>16}{'logit MSE, ratio':>18}")
    for name in seeds[0]:
        before, here = ([each[which] for each in seeds] for which in ("before", name))
        accuracies = np.array([each.accuracy for each in here])
        moves = accuracies - [each.accuracy for each in before]
        means[name] = accuracies.mean(axis=0) if name == "before" else moves.mean(axis=0)
        errors = (accuracies if name == "before" else moves).std(axis=0, ddof=1) / np.sqrt(len(seeds))
        ratio = np.mean([a.logit_mse / b.logit_mse for a, b in zip(here, before, strict=True)])
        cells = [f"{mean:.3f} ({error:.3f})" for mean, error in zip(means[name], errors, strict=True)]
        print(f"{name:14}" + "".join(f"{cell:>16}" for cell in cells) + f"{ratio:18.2f}")
    return means


def main(count: int) -> bool:
    """Measure, print, and say whether what is required is met."""
    seeds = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        seeds.append(of_seed(seed))
        moves = seeds[-1]["stability"].accuracy - seeds[-1]["before"].accuracy
        print(f"seed {seed}: stability training moves accuracy by {np.round(moves, 3).tolist()}", flush=True)
    means = table(seeds)
    control = np.abs(means["control"][:2]).max()
    return judge([
        (means["stability"][1] >= 0.02, f"mean gain at {LEVEL} at least 0.02", f"{means['stability'][1]:.3f}"),
        (means["stability"][0] >= -0.01, "mean loss without noise at most 0.01", f"{-means['stability'][0]:.3f}"),
        (control <= 0.01, f"the control within 0.01, without noise and at {LEVEL}", f"{control:.3f}"),
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(not main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
