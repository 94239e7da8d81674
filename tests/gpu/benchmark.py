"""What an assessment costs beside its forward passes, for networks of the sizes that GPUs serve.

The medians of rounds in random order, as a multiple of the floor: the forward passes alone, on noise that is ready, at
the batch that is best for them. What is timed of robmon is `robmon.assess` from the call to the result.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial

import torch

from tests.benchmarks._peers import peers
from tests.benchmarks._rounds import Case, Run, best_batch, medians
from tests.benchmarks._torch_task import TorchTask, largest
from tests.gpu.networks import inputs, make
from tests.gpu.record import Record
from tests.gpu.serving import neighbour

GOAL = 1.05
ROUNDS = 15
OTHERS_ROUNDS = 2
"""Of loops and libraries that stand beside it, for orientation."""
IMAGE_BATCHES = (256, 512)
ROW_BATCHES = (4096, 16384, 65536, 262144)
PEERS = ("captum sensitivity", "torchmetrics")


@dataclass(frozen=True)
class Sizes:
    """How much is run of a network: so many rows, trials and levels, in batches of one of these sizes."""

    rows: int
    trials: int
    levels: tuple[float, ...]
    batches: tuple[int, ...]


SIZES = {
    "resnet": Sizes(24, 39, (0.0, 0.05, 0.1, 0.2, 0.4), IMAGE_BATCHES),
    "vit": Sizes(24, 39, (0.0, 0.05, 0.1, 0.2, 0.4), IMAGE_BATCHES),
    "mlp": Sizes(65536, 39, (0.0, 0.05, 0.1, 0.2, 0.4), ROW_BATCHES),
}
QUICK_SIZES = {
    "resnet": Sizes(4, 19, (0.0, 0.1), (16, 32)),
    "vit": Sizes(4, 19, (0.0, 0.1), (16, 32)),
    "mlp": Sizes(64, 39, (0.0, 0.1, 0.2), (256, 1024)),
}


def measure(record: Record) -> None:
    """Each network by itself first, then an odd number of its rows, then with somebody else on the device."""
    sizes, rounds = (QUICK_SIZES, 3) if record.is_quick else (SIZES, ROUNDS)
    floors: dict[str, tuple[int, float]] = {}
    for name in sizes:
        task = task_of(name, record, sizes[name])
        runs = {"naive loop": task.naive, "grouped loop": task.grouped, "smoothing": partial(smoothing, task)}
        runs |= those_that_run(name, task, record)
        floors[name] = compare(name, task, runs, rounds, record)
    for name, (batch, seconds) in floors.items():
        odd = replace(sizes[name], rows=sizes[name].rows - 3, batches=(batch,))
        part = f"{name}, {odd.rows} rows"
        if has_time(part, 3 * rounds * seconds + 5, record):
            compare(part, task_of(name, record, odd), {}, rounds, record)
    for name, (batch, seconds) in floors.items():
        part = f"{name}, beside another"
        if (record.is_quick and name != "mlp") or not has_time(part, 6 * rounds * seconds + 15, record):
            continue
        with neighbour(name, record.device, record.is_quick) as other:
            task = task_of(name, record, replace(sizes[name], batches=(batch,)))
            other.begin(pause_seconds=0.0)
            compare(part, task, {"naive loop": task.naive}, rounds, record)
            served = other.end()
        record.add(part, answers_of_the_other=len(served.latencies))
        record.require(f"{name}: no request of the other failed", not served.failures, f"{served.failures[:1]}")


def has_time(part: str, needed_seconds: float, record: Record) -> bool:
    """Whether there is time for a part, which is skipped otherwise."""
    if needed_seconds > record.left_seconds:
        record.skip(part, f"it may take {needed_seconds:.0f} s, and {record.left_seconds:.0f} are left")
    return needed_seconds <= record.left_seconds


def those_that_run(name: str, task: TorchTask, record: Record) -> dict[str, Run]:
    """Of other libraries those that are installed and take this network."""
    others, skipped = peers(task, PEERS)
    for peer, why in skipped.items():
        record.skip(f"{name}: {peer}", why)
    running = {}
    for peer, run in others.items():
        try:
            run()
        except Exception as error:  # whatever it is that another library raises
            record.skip(f"{name}: {peer}", f"{type(error).__name__}: {str(error)[:200]}")
        else:
            running[peer] = run
    return running


def task_of(name: str, record: Record, sizes: Sizes) -> TorchTask:
    """A network and inputs on the device."""
    network, shape = make(name, record.device, record.is_quick)
    given = inputs(sizes.rows, shape, record.device)
    return TorchTask(network, given, {}, trials=sizes.trials, levels=sizes.levels, sizes=sizes.batches)


def compare(part: str, task: TorchTask, others: dict[str, Run], rounds: int, record: Record) -> tuple[int, float]:
    """Time robmon and others; the batch of the floor, and its seconds."""
    began = time.monotonic()
    case = Case(part, GOAL, {size: partial(task.forward, size) for size in task.ready}, {})
    batch = best_batch(case)
    seconds = medians({"floor": case.floors[batch], "robmon": task.assess}, rounds)
    floor = seconds["floor"]
    ratios = {"robmon": seconds["robmon"] / floor}
    if others:
        beside = medians({"floor": case.floors[batch], **others}, min(rounds, OTHERS_ROUNDS))
        ratios |= {name: beside[name] / beside["floor"] for name in others}
    record.add(
        part,
        rows=len(task.inputs),
        trials=task.trials,
        levels=len(task.levels) - 1,
        rounds=rounds,
        floor_ms=1e3 * floor,
        floor_batch=batch,
        ratios=ratios,
        took_seconds=time.monotonic() - began,
    )
    ratio = ratios["robmon"]
    record.require_of_speed(f"{part}: robmon at most {GOAL:.2f} of its forward passes", ratio <= GOAL, f"{ratio:.3f}")
    return batch, floor


def smoothing(task: TorchTask) -> float:
    """Randomised smoothing (Cohen et al. 2019): of each row the classes of as many copies under one noise."""
    copies, agree = task.noisy_rows // len(task.inputs), 0
    together = max(1, min(largest(task.inputs), 1024) // copies)
    for rows in task.inputs.split(together):
        noisy = rows.repeat_interleave(copies, 0)
        classes = task.predict(noisy + task.levels[-1] * task.scale * torch.randn_like(noisy)).argmax(1)
        counts = torch.zeros(len(rows), 1 + int(classes.max()), device=rows.device)
        counts.scatter_add_(
            1, classes.view(len(rows), copies), torch.ones_like(classes.view(len(rows), copies), dtype=counts.dtype)
        )
        agree += int(counts.max(dim=1).values.sum())
    return agree / task.noisy_rows
