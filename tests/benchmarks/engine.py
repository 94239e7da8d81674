"""What an assessment costs beside its forward passes: prints tables of ratios.

    python tests/benchmarks/engine.py [--rounds 15] [--threads 1] [--only mlp cnn encoder forest] [--rows 256]

Everything is timed in the same run, in rounds of random order; a ratio is that of the medians. The floor is the
forward passes alone, on noise that is ready, at the batch that is best for them. What is timed of robmon is
`robmon.assess` from the call to the result. Beside it stand the loops that people write, and what other libraries offer
where they are installed. The plan of a time budget, which nothing exceeds, is held beside what the assessment took.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import robmon
from robmon.library.prepared_rows import open_predictor
from robmon.robustness.specification import Specification
from tests.benchmarks._peers import peers
from tests.benchmarks._rounds import Case, best_batch, medians
from tests.benchmarks._torch_task import BATCHES, LEVELS, TRIALS, TorchTask

NOISY = len(LEVELS) - 1
ROWS = {"mlp": 256, "cnn": 32, "encoder": 32, "forest": 256}
"""By model, what an assessment has unless it is told otherwise."""


# --- the models ------------------------------------------------------------------------------------------------------


def torch_cases(rows: Mapping[str, int], names: Sequence[str]) -> Iterator[Case]:
    """A multilayer perceptron, a small convolutional network and a transformer encoder."""
    torch.manual_seed(0)
    relu = nn.ReLU
    if "mlp" in names:
        mlp = nn.Sequential(nn.Linear(64, 256), relu(), nn.Linear(256, 256), relu(), nn.Linear(256, 10))
        yield torch_case("mlp", 1.10, mlp, torch.randn(rows["mlp"], 64))
    if "cnn" in names:
        cnn = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), relu(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), relu(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 64, 10),
        )  # fmt: skip
        yield torch_case("cnn", 1.05, cnn, torch.randn(rows["cnn"], 3, 32, 32))
    if "encoder" in names:
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        encoder = nn.Sequential(
            nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten(), nn.Linear(4096, 10)
        )
        yield torch_case("encoder", 1.05, encoder, torch.randn(rows["encoder"], 64, 64), scale_axis=2)


def torch_case(name: str, goal: float, model: Any, inputs: Any, **options: Any) -> Case:
    """What is timed of a torch module."""
    task = TorchTask(model, inputs, options)
    runs = {"robmon": task.assess, "naive loop": task.naive, "grouped loop": task.grouped, "NumPy loop": task.in_numpy}
    others, skipped = peers(task)
    plan = partial(planned, model, inputs, **options)
    return Case(name, goal, {size: partial(task.forward, size) for size in task.ready}, runs | others, skipped, plan)


def forest_case(rows: int) -> Case:
    """A random forest of 20 trees that takes a DataFrame, as scikit-learn's pipelines do."""
    generator = np.random.default_rng(0)
    columns = [f"x{index}" for index in range(20)]
    frame = pd.DataFrame(generator.normal(size=(rows, 20)), columns=columns)
    forest = RandomForestClassifier(20, random_state=0, n_jobs=1).fit(frame, generator.integers(0, 3, rows))
    sizes = (*BATCHES, 8192, 16384)
    ready = {size: pd.DataFrame(generator.normal(size=(size, 20)), columns=columns) for size in sizes}
    scale = frame.std(ddof=0).to_numpy()

    def forward(size: int) -> None:
        left = TRIALS * NOISY * rows
        while left > 0:
            forest.predict_proba(ready[size][:left])
            left -= size

    def naive() -> float:
        clean, total = forest.predict_proba(frame), 0.0
        for _ in range(TRIALS):
            for level in LEVELS[1:]:
                noisy = frame + level * (scale * generator.normal(size=frame.shape))
                total += float(((forest.predict_proba(noisy) - clean) ** 2).mean())
        return total

    def assessed() -> object:
        return robmon.assess(forest.predict_proba, frame, levels=LEVELS, trials=TRIALS, task="classification")

    floors, plan = {size: partial(forward, size) for size in sizes}, partial(planned, forest.predict_proba, frame)
    return Case("forest", 1.25, floors, {"robmon": assessed, "naive loop": naive}, planned=plan)


def planned(model: Any, inputs: Any, **options: Any) -> tuple[float, float]:
    """Seconds that the plan of an assessment foretells, and those that it takes from then on."""
    specification, told = Specification(levels=LEVELS, trials=TRIALS, task="classification", **options), []
    with open_predictor(model, inputs, specification, "cpu") as rows:
        rows.assess(specification, max_seconds=600, expect=lambda seconds: told.append((seconds, time.perf_counter())))
    seconds, began = told[0]
    return seconds, time.perf_counter() - began


# --- the table -------------------------------------------------------------------------------------------------------


def measure(case: Case, rounds: int) -> bool:
    """Print the table of a model; whether robmon keeps to its goal."""
    best = best_batch(case)
    seconds = medians({"floor": case.floors[best], **case.runs}, rounds)
    print(f"\n{case.name}: the floor is {seconds['floor'] * 1e3:.1f} ms, in batches of {best} rows")
    for name in case.runs:
        print(f"  {name:20s} {seconds[name] / seconds['floor']:6.2f}")
    for name, why in case.skipped.items():
        print(f"  skipped {name}: {why}")
    met = seconds["robmon"] <= case.goal * seconds["floor"]
    print(f"  {'PASS' if met else 'FAIL'}: robmon at most {case.goal:.2f}")
    is_foretold = case.planned is None or keeps_plan(case.planned, rounds)
    return met and is_foretold


def keeps_plan(plan: Callable[[], tuple[float, float]], rounds: int) -> bool:
    """Print how far off plans are; whether the median is within a fifth."""
    ratios = sorted(foretold / taken for foretold, taken in (plan() for _ in range(rounds)))
    median = statistics.median(ratios)
    met = 0.8 <= median <= 1.2
    told = f"{median:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"  {'PASS' if met else 'FAIL'}: the plan is {told} times what was taken, 0.8 to 1.2 wanted", flush=True)
    return met


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    usual = ", ".join(f"{name} {rows}" for name, rows in ROWS.items())
    parser.add_argument("--rows", type=int, help=f"of each model (default: {usual})")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=tuple(ROWS), default=tuple(ROWS))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows = dict.fromkeys(ROWS, asked.rows) if asked.rows else ROWS
    cases = [*torch_cases(rows, asked.only), *([forest_case(rows["forest"])] if "forest" in asked.only else [])]
    met = [measure(case, asked.rounds) for case in cases]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
