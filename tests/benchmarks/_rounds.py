"""Runs that are timed beside one another, in rounds of random order."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

Run = Callable[[], object]


@dataclass
class Case:
    """A model and its inputs, with the runs that are timed.

    Attributes:
        name: of the model.
        goal: the most that robmon may cost, as a multiple of the floor.
        floors: by batch size, the forward passes alone.
        runs: robmon and whatever stands beside it.
        skipped: why something does not, by its name.
    """

    name: str
    goal: float
    floors: dict[int, Run]
    runs: dict[str, Run]
    skipped: dict[str, str] = field(default_factory=dict)
    planned: Callable[[], tuple[float, float]] | None = None
    """Seconds that the plan of an assessment foretells, and those that it takes from then on."""


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
