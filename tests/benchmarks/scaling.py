"""How an assessment's seconds grow with rows, trials and levels, and its memory with trials and levels: prints tables.

    python tests/benchmarks/scaling.py [--rounds 5] [--rows 256] [--only mlp forest]

Seconds are medians over rounds of random order; the fit is of least squares. Memory is the peak of a process of its own
less what the model, its sample and a forward pass of a whole batch took there before.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
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
from tests.benchmarks._figures import judge

SIZES = {
    "rows": (128, 256, 512, 1024),
    "trials": (19, 39, 79, 159),
    "noisy levels": (1, 2, 4, 8),
}
USUAL = {"rows": 256, "trials": 39, "noisy levels": 4}
TRIALS, LEVELS = (19, 99, 499), (1, 5, 20)
BATCH_ROWS = {"mlp": 1024, "forest": 16384}
LARGE = (4096, (39, 199), (20,))
"""Rows of a sample of several batches, with trials and noisy levels; of the perceptron, since they take it seconds."""
LEAST_R2, MOST_MIB = 0.98, 64


def model_and_inputs(name: str, rows: int) -> tuple[Callable[[Any], Any], Any]:
    """A multilayer perceptron on tensors, or a random forest on a DataFrame."""
    generator = np.random.default_rng(0)
    if name == "mlp":
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
        return module, torch.randn(rows, 64)
    frame = pd.DataFrame(generator.normal(size=(rows, 20)), columns=[f"x{index}" for index in range(20)])
    forest = RandomForestClassifier(20, random_state=0, n_jobs=1)
    return forest.fit(frame, generator.integers(0, 3, rows)).predict_proba, frame


def assess(name: str, model: Any, inputs: Any, trials: int, noisy_levels: int) -> None:
    """All that robmon returns, at so many levels beside level 0."""
    levels = [0.0, *np.linspace(0.02, 0.4, noisy_levels)]
    options = {"task": "classification", "max_batch_rows": BATCH_ROWS[name], "confidence": 0.9}
    robmon.assess(model, inputs, levels=levels, trials=trials, **options)


# --- seconds ---------------------------------------------------------------------------------------------------------


def median_seconds(runs: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Of each, over rounds of random order after one to warm up."""
    order, seconds = random.Random(0), [[] for _ in runs]
    for run in runs:
        run()
    for _ in range(rounds):
        for index in order.sample(range(len(runs)), len(runs)):
            began = time.perf_counter()
            runs[index]()
            seconds[index].append(time.perf_counter() - began)
    return [statistics.median(each) for each in seconds]


def fit(name: str, what: str, rounds: int) -> tuple[bool, str, str]:
    """Print seconds against rows, trials or levels, and the line through them."""
    runs = []
    for size in SIZES[what]:
        count = USUAL | {what: size}
        model, inputs = model_and_inputs(name, count["rows"])
        runs.append(partial(assess, name, model, inputs, count["trials"], count["noisy levels"]))
    seconds = median_seconds(runs, rounds)
    each, constant = np.polyfit(SIZES[what], seconds, 1)
    r2 = float(np.corrcoef(SIZES[what], seconds)[0, 1] ** 2)
    told = ", ".join(f"{size}: {value * 1e3:.0f}" for size, value in zip(SIZES[what], seconds, strict=True))
    print(f"  ms by {what}: {told}")
    print(f"    = {constant * 1e3:.1f} ms + {each * 1e3:.3f} ms each, R² {r2:.4f}", flush=True)
    return r2 >= LEAST_R2, f"{name}: seconds are linear in {what}", f"R² {r2:.4f}"


# --- memory ----------------------------------------------------------------------------------------------------------


def peak_mib() -> float:
    """The most that this process was ever resident with."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def grown_mib(name: str, rows: int, trials: int, noisy_levels: int) -> float:
    """What an assessment adds to the peak, in this process, which has done nothing else."""
    torch.set_num_threads(1)
    model, inputs = model_and_inputs(name, rows)
    times = -(-BATCH_ROWS[name] // rows)
    batch = torch.cat([inputs] * times) if name == "mlp" else pd.concat([inputs] * times, ignore_index=True)
    with torch.inference_mode():
        model(batch[: BATCH_ROWS[name]])
    assess(name, model, inputs[:32], 19, 1)  # what is imported at the first call is the library's own
    before = peak_mib()
    assess(name, model, inputs, trials, noisy_levels)
    return peak_mib() - before


def memory(name: str, rows: int, trials: Sequence[int], levels: Sequence[int]) -> tuple[bool, str, str]:
    """Print the peak of memory by trials and levels."""
    most = 0.0
    print(f"  MiB above model, sample and batch, {rows} rows, by noisy levels {tuple(levels)}:")
    for count in trials:
        measured = []
        for noisy in levels:
            asked = [sys.executable, __file__, "--child", name, str(rows), str(count), str(noisy)]
            measured.append(json.loads(subprocess.run(asked, check=True, capture_output=True).stdout))
        print(f"    {count:4d} trials: " + " ".join(f"{each:7.1f}" for each in measured), flush=True)
        most = max(most, *measured)
    return (
        most <= MOST_MIB,
        f"{name}, {rows} rows: at most {MOST_MIB} MiB more, whatever trials and levels",
        f"{most:.1f} MiB",
    )


def main() -> None:
    """Measure what is asked for."""
    names = ("mlp", "forest")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=256, help="of the sample whose memory is measured")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(grown_mib(asked.child[0], *map(int, asked.child[1:]))))
        return
    torch.set_num_threads(1)
    found = []
    for name in asked.only:
        print(f"\n{name}")
        found += [fit(name, what, asked.rounds) for what in SIZES]
        found.append(memory(name, asked.rows, TRIALS, LEVELS))
        if name == "mlp":
            found.append(memory(name, *LARGE))
    print()
    sys.exit(0 if judge(found) else 1)


if __name__ == "__main__":
    main()
