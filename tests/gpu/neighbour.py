"""What a second process that serves the same network on the same device feels of an assessment, by its duty cycle."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

from robmon.library.prepared_rows import open_predictor
from robmon.robustness.specification import Specification
from tests.benchmarks._figures import quantile
from tests.gpu.networks import inputs, make
from tests.gpu.record import Record
from tests.gpu.serving import neighbour

DUTY_CYCLES = (1.0, 0.5, 0.2)
PAUSE_SECONDS = 0.002
GOAL_AT_FIFTH = 1.05


def measure(record: Record) -> None:
    """Latencies with no assessment, and with one after the other at each duty cycle, in rounds of random order."""
    name, rounds, seconds = ("mlp", 2, 0.5) if record.is_quick else ("resnet", 3, 2.0)
    network, shape = make(name, record.device, record.is_quick)
    given = inputs(64, shape, record.device)
    phases: tuple[float | None, ...] = (None, *DUTY_CYCLES)
    latencies: dict[float | None, list[float]] = {phase: [] for phase in phases}
    assessments = dict.fromkeys(phases, 0)
    failures: list[str] = []
    order = random.Random(0)
    with neighbour(name, record.device, record.is_quick) as other:
        assess(network, given, record.device, None)
        for done in range(rounds):
            if done and record.left_seconds < 4 * len(phases) * seconds:
                record.skip(f"round {done + 1}", f"{record.left_seconds:.0f} s are left")
                break
            for phase in order.sample(phases, len(phases)):
                other.begin(PAUSE_SECONDS)
                began = time.monotonic()
                while time.monotonic() - began < seconds:
                    if phase is None:
                        time.sleep(seconds)
                    else:
                        assess(network, given, record.device, phase)
                        assessments[phase] += 1
                served = other.end()
                latencies[phase] += served.latencies
                failures += served.failures
    for phase in phases:
        tell(record, phase, latencies, assessments[phase])
    record.require("no request failed", not failures, f"{failures[:1]}")
    ratio = quantile(latencies[0.2], 0.99) / quantile(latencies[None], 0.99)
    record.require_of_speed("p99 at duty cycle 0.2 at most 5 % longer", ratio <= GOAL_AT_FIFTH, f"{ratio:.3f} times")


def assess(network: Any, given: Any, device: str, duty_cycle: float | None) -> None:
    """One assessment at a duty cycle, as the daemon's worker runs it."""
    specification = Specification(levels=(0.1, 0.2), trials=19, task="classification")
    with open_predictor(network, given, specification, device) as rows:
        replace(rows, predictor=replace(rows.predictor, duty_cycle=duty_cycle)).assess(specification, seed=0)


def tell(record: Record, phase: float | None, latencies: dict[float | None, list[float]], assessments: int) -> None:
    """The latencies of a phase, in milliseconds and as a multiple of those without an assessment."""
    found = {f"p{100 * share:g}": quantile(latencies[phase], share) for share in (0.5, 0.99)}
    record.add(
        "no assessment" if phase is None else f"duty cycle {phase:g}",
        answers=len(latencies[phase]),
        assessments=assessments,
        **{f"{name}_ms": 1e3 * seconds for name, seconds in found.items()},
        ratios={
            name: seconds / quantile(latencies[None], share)
            for (name, seconds), share in zip(found.items(), (0.5, 0.99), strict=True)
        },
    )
