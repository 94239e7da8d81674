"""What an assessment costs beside its forward passes: prints tables of ratios.

    python tests/benchmarks/engine.py [--rounds 15] [--threads 1] [--only mlp cnn encoder forest] [--rows 256]

Everything is timed in the same run, in rounds of random order; a ratio is that of the medians. The floor is the
forward passes alone, on noise that is ready, at the batch that is best for them. What is timed of robmon is
`robmon.assess` from the call to the result. Beside it stand the loops that people write, and what other libraries offer
where they are installed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import robmon

TRIALS = 39
LEVELS = (0.0, 0.05, 0.1, 0.2, 0.4)
NOISY = len(LEVELS) - 1
BATCHES = (64, 128, 256, 512, 1024, 2048, 4096)
Run = Callable[[], object]


@dataclass
class Case:
    """A model and its inputs, with the runs that are timed.

    Attributes:
        name: of the model.
        goal: the most that robmon may cost, as a multiple of the floor.
        floors: by batch size, the forward passes alone.
        runs: robmon and whatever stands beside it.
    """

    name: str
    goal: float
    floors: dict[int, Run]
    runs: dict[str, Run]


# --- the models ------------------------------------------------------------------------------------------------------


def torch_cases(rows: int, names: Sequence[str]) -> Iterator[Case]:
    """A multilayer perceptron, a small convolutional network and a transformer encoder."""
    torch.manual_seed(0)
    relu = nn.ReLU
    if "mlp" in names:
        mlp = nn.Sequential(nn.Linear(64, 256), relu(), nn.Linear(256, 256), relu(), nn.Linear(256, 10))
        yield torch_case("mlp", 1.10, mlp, torch.randn(rows, 64))
    if "cnn" in names:
        cnn = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), relu(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), relu(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 64, 10),
        )  # fmt: skip
        yield torch_case("cnn", 1.05, cnn, torch.randn(rows, 3, 32, 32))
    if "encoder" in names:
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
        encoder = nn.Sequential(
            nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten(), nn.Linear(4096, 10)
        )
        yield torch_case("encoder", 1.05, encoder, torch.randn(rows, 64, 64), scale_axis=2)


@dataclass
class TorchTask:
    """A module and its inputs, and the ways to find out what noise does to its outputs."""

    model: Any
    inputs: Any
    options: dict[str, Any]
    trials: int = TRIALS
    levels: tuple[float, ...] = LEVELS
    sizes: Sequence[int] = BATCHES
    """Of the batches among which the floor's is looked for."""

    def __post_init__(self) -> None:
        self.scale = self.inputs.std(dim=0, unbiased=False)
        self.predict = torch.inference_mode()(self.model.eval())
        sizes = [size for size in self.sizes if size <= largest(self.inputs)]
        self.ready = {size: torch.randn(size, *self.inputs.shape[1:], device=self.inputs.device) for size in sizes}

    @property
    def noisy_rows(self) -> int:
        """How many rows with noise an assessment gives the model."""
        return self.trials * (len(self.levels) - 1) * len(self.inputs)

    def forward(self, size: int) -> None:
        """The forward passes alone, in batches of this size."""
        left = self.noisy_rows
        while left > 0:
            self.predict(self.ready[size][:left])
            left -= size

    def naive(self) -> float:
        """One draw a level and trial, in the sample's own batch."""
        clean, total = self.predict(self.inputs), 0.0
        for _ in range(self.trials):
            for level in self.levels[1:]:
                noisy = self.inputs + level * self.scale * torch.randn_like(self.inputs)
                total += float(((self.predict(noisy) - clean) ** 2).mean())
        return total

    def grouped(self) -> float:
        """One draw a trial, trials grouped to batches of 1,024 rows or so."""
        together = max(1, min(self.trials, 1024 // len(self.inputs), largest(self.inputs) // len(self.inputs)))
        clean, total = self.predict(self.inputs), 0.0
        for _ in range(-(-self.trials // together)):
            moves = self.scale * torch.randn(together, *self.inputs.shape, device=self.inputs.device)
            for level in self.levels[1:]:
                outputs = self.predict((self.inputs + level * moves).flatten(0, 1))
                total += float(((outputs.view(together, *clean.shape) - clean) ** 2).mean())
        return total

    def in_numpy(self) -> float:
        """NumPy's noise, and a trip to the model and back a level and trial."""
        generator, given, scale = np.random.default_rng(0), self.inputs.cpu().numpy(), self.scale.cpu().numpy()

        def predict(x: Any) -> Any:
            return self.predict(torch.from_numpy(x.astype(np.float32)).to(self.inputs.device)).cpu().numpy()

        clean, total = predict(given), 0.0
        for _ in range(self.trials):
            for level in self.levels[1:]:
                noisy = given + level * scale * generator.normal(size=given.shape)
                total += float(((predict(noisy) - clean) ** 2).mean())
        return total

    def assess(self) -> object:
        """All that robmon returns."""
        given = {"levels": self.levels, "trials": self.trials, "task": "classification"}
        given["device"] = str(self.inputs.device)
        return robmon.assess(self.model, self.inputs, **given, **self.options)


def torch_case(name: str, goal: float, model: Any, inputs: Any, **options: Any) -> Case:
    """What is timed of a torch module."""
    task = TorchTask(model, inputs, options)
    runs = {"robmon": task.assess, "naive loop": task.naive, "grouped loop": task.grouped, "NumPy loop": task.in_numpy}
    return Case(name, goal, {size: partial(task.forward, size) for size in task.ready}, runs | peers(task))


def largest(inputs: Any) -> int:
    """Rows of the largest batch that is tried: some 64 MiB of inputs, on a device 512 MiB."""
    return max(64, 2 ** (24 if inputs.device.type == "cpu" else 27) // int(np.prod(inputs.shape[1:])))


def peers(task: TorchTask) -> dict[str, Run]:
    """Libraries that answer part of the same question, where they are installed."""
    found: dict[str, Run] = {}
    if find_spec("captum"):
        from captum.metrics import sensitivity_max

        samples, together = task.noisy_rows // len(task.inputs), min(task.noisy_rows, max(1024, len(task.inputs)))
        given = {"perturb_radius": 0.1, "n_perturb_samples": samples, "max_examples_per_batch": together}
        found["captum sensitivity"] = partial(
            sensitivity_max, lambda inputs: (task.predict(*inputs),), task.inputs, **given
        )
    if find_spec("torchmetrics"):
        from torchmetrics import MeanSquaredError

        def metric() -> float:
            error, clean = MeanSquaredError().to(task.inputs.device), task.predict(task.inputs)
            for _ in range(task.trials):
                for level in task.levels[1:]:
                    error.update(task.predict(task.inputs + level * torch.randn_like(task.inputs)), clean)
            return float(error.compute())

        found["torchmetrics"] = metric
    return found


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

    return Case(
        "forest", 1.25, {size: partial(forward, size) for size in sizes}, {"robmon": assessed, "naive loop": naive}
    )


# --- the table -------------------------------------------------------------------------------------------------------


def medians(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Median seconds of each, over rounds of random order after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name in order.sample(list(runs), len(runs)):
            wait()
            began = time.perf_counter()
            runs[name]()
            wait()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def wait() -> None:
    """Wait until a device has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def best_batch(case: Case) -> int:
    """Rows of the batch in which the forward passes alone are fastest."""
    tried = medians({str(size): run for size, run in case.floors.items()}, 3)
    return int(min(tried, key=lambda size: tried[size]))


def measure(case: Case, rounds: int) -> bool:
    """Print the table of a model; whether robmon keeps to its goal."""
    best = best_batch(case)
    seconds = medians({"floor": case.floors[best], **case.runs}, rounds)
    print(f"\n{case.name}: the floor is {seconds['floor'] * 1e3:.1f} ms, in batches of {best} rows")
    for name in case.runs:
        print(f"  {name:20s} {seconds[name] / seconds['floor']:6.2f}")
    met = seconds["robmon"] <= case.goal * seconds["floor"]
    print(f"  {'PASS' if met else 'FAIL'}: robmon at most {case.goal:.2f}")
    return met


def main() -> None:
    """Measure what is asked for."""
    names = ("mlp", "cnn", "encoder", "forest")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    cases = [*torch_cases(asked.rows, asked.only), *([forest_case(asked.rows)] if "forest" in asked.only else [])]
    met = [measure(case, asked.rounds) for case in cases]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
