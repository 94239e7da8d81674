"""Whether what an assessment costs is linear in rows, trials and levels: seconds, and the line through them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import robmon
from tests.benchmarks._rounds import wait
from tests.gpu.networks import inputs, make
from tests.gpu.record import Record

LEVELS = tuple(0.05 * (1 + index) for index in range(8))
MEASURED = {"rows": (1, 2, 4, 8), "trials": (19, 38, 76, 152), "levels": (1, 2, 4, 8)}


def measure(record: Record) -> None:
    """The fit for each of the three, the others fixed."""
    network, shape = make("mlp", record.device, record.is_quick)
    unit, timings = (32, 1) if record.is_quick else (2**15, 5)

    def seconds(rows: int = 2, trials: int = 38, levels: int = 2) -> float:
        given, took = inputs(rows * unit, shape, record.device), []
        for _ in range(timings + 1):
            wait()
            began = time.perf_counter()
            robmon.assess(network, given, trials=trials, levels=LEVELS[:levels], device=record.device)
            took.append(time.perf_counter() - began)
        return float(np.median(took[1:]))

    for name, sizes in MEASURED.items():
        found = [seconds(**{name: size}) for size in sizes]
        fit(record, name, [size * (unit if name == "rows" else 1) for size in sizes], found)


def fit(record: Record, name: str, sizes: list[int], seconds: list[float]) -> None:
    """The line of least squares, each point by its share, since it is shares that noise is of."""
    slope, first = np.polyfit(sizes, seconds, 1, w=1 / np.asarray(seconds))
    off: Any = np.abs(first + slope * np.asarray(sizes) - seconds) / seconds
    record.add(
        name,
        sizes=sizes,
        ms=[round(1e3 * each, 2) for each in seconds],
        fixed_ms=1e3 * float(first),
        each_ms=1e3 * float(slope),
        farthest_off=float(off.max()),
    )
    met = off.max() <= 0.15 and slope > 0
    record.require_of_speed(f"cost is linear in {name}: at most 15 % off the line", met, f"{100 * off.max():.1f} %")
