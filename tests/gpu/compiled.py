"""A network as torch compiles it for the worker: its numbers, and its time beside that of the network as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import robmon
from robmon.models.devices.channels_last import with_channels_last
from robmon.models.devices.compilation import Compilation
from robmon.models.devices.same_outputs import tolerance
from tests.gpu.networks import inputs, make
from tests.gpu.record import Record

SHARE = 0.6
"""Of the step's time, what compiling the larger network may take."""
ROWS, QUICK_ROWS = 256, 1024
NEAR = 1e-3
"""Of one another, errors that are the same."""


def measure(record: Record) -> None:
    """Numbers first, of a small network, then the time of a batch of one that convolves."""
    figures, decided = compiled_and_not(record.device)
    if not figures:
        record.skip("compiled", decided)
        return
    farthest = float(np.abs(figures[1] / figures[0] - 1).max())
    record.add("numbers", farthest_off=farthest)
    record.require(
        "an assessment has the same numbers where the network is compiled", farthest < NEAR, f"{farthest:.1e}"
    )
    name, rows = ("mlp", QUICK_ROWS) if record.is_quick else ("resnet", ROWS)
    network, shape = make(name, record.device, record.is_quick)
    run = compilation_of(network, record.device)
    given = inputs(rows, shape, record.device)
    with torch.inference_mode():
        run(given)
    found = run.decide(SHARE * record.left_seconds)
    if found.time_ratio is None:
        record.skip(name, found.because)
    else:
        record.add(name, rows=rows, time_ratio=found.time_ratio, is_kept=run.is_on, took_seconds=found.seconds)


def compilation_of(network: nn.Module, device: str) -> Compilation:
    """As the worker has it."""
    place = torch.device(device)
    return Compilation(
        with_channels_last(network, place), tolerance({each.dtype for each in network.parameters()}, place)
    )


def compiled_and_not(device: str) -> tuple[list[Any], str]:
    """Mean errors of an assessment before and after a network is compiled; none, and why, where it cannot be."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3)).to(device).eval()
    run, given = compilation_of(network, device), inputs(200, (8,), device)

    def predict(x: Any) -> Any:
        with torch.inference_mode():
            return run(x)

    def means() -> Any:
        result = robmon.assess(predict, given, trials=19, levels=(0.1, 0.2), max_batch_rows=1000)
        return np.array([point.mean_mse for point in result.curve[1:]])

    figures = [means()]
    decided = run.decide(gain=-np.inf)
    if decided.because:
        return [], decided.because
    figures.append(means())
    return (figures, "") if run.calls else ([], "what was compiled has not been called")
