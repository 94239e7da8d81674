"""How much of a device's memory an assessment takes, and what it does where there is too little."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from tests.gpu.record import Record
from tests.gpu.serving import neighbour

NETWORK = "resnet"
MIB = 2**20
SPARE_BYTES = 64 * MIB
FRACTION = 0.2
TAKEN_SHARE = 0.95
ROWS = 64
SEVERAL = {"trials": 19, "levels": (0.1, 0.2)}
TWICE = {"trials": 39, "levels": (0.05, 0.1, 0.2, 0.4)}


def measure(record: Record) -> None:
    """The peak, a forced out-of-memory, and a neighbour that holds nearly all."""
    if not record.device.startswith("cuda"):
        record.skip("memory of the device", "there is none: the tests try a module that runs out of memory")
        return
    peaks(record)
    forced(record)
    crowded(record)


def alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What the function returns in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peaks(record: Record) -> None:
    """Model, sample, the batch's activations and 64 MiB, whatever trials and levels; within the fraction set."""
    for part, sizes in (("19 trials, 2 levels", SEVERAL), ("39 trials, 4 levels", TWICE)):
        found = alone(assess, record.device, record.is_quick, FRACTION, sizes)
        record.add(part, **found)
        most = found["model_mib"] + found["sample_mib"] + found["activations_mib"] + SPARE_BYTES / MIB
        told = f"{found['peak_mib']:.0f} of {most:.0f} MiB"
        record.require(f"{part}: model, sample, a batch's activations and 64 MiB", found["peak_mib"] <= most, told)
        is_within = found["reserved_mib"] <= found["limit_mib"]
        told = f"{found['reserved_mib']:.0f} of {found['limit_mib']:.0f} MiB"
        record.require(f"{part}: within the fraction set", is_within, told)


def forced(record: Record) -> None:
    """Too little memory for the first batch: the same numbers, by smaller ones."""
    free = alone(assess, record.device, record.is_quick, 1.0, SEVERAL)
    fraction = (free["model_mib"] + free["sample_mib"] + 0.3 * free["activations_mib"]) / free["total_mib"]
    asked = SEVERAL | {"max_batch_rows": int(free["batch_rows"])}
    tight = alone(assess, record.device, record.is_quick, fraction, asked)
    record.add("out of memory", fraction=fraction, **tight)
    off = max(abs(a - b) / b for a, b in zip(tight["means"], free["means"], strict=True))
    record.require("a forced out-of-memory is met by smaller batches", tight["retries"] > 0, f"{tight['retries']}")
    record.require("with the same numbers but for convolutions of other batches", off <= 1e-3, f"{off:.1e} off")


def crowded(record: Record) -> None:
    """A neighbour that holds 95 % of the memory loses no request, whether the assessment runs or is refused."""
    with neighbour(NETWORK, record.device, record.is_quick, TAKEN_SHARE) as other:
        other.begin(pause_seconds=0.002)
        found = alone(assess_or_tell, record.device, record.is_quick, (1 - TAKEN_SHARE) * FRACTION, SEVERAL)
        served = other.end()
    ran = f"ran in batches of {found.get('batch_rows')} rows after {found.get('retries')} retries"
    outcome = found.get("refused", ran)
    record.add("beside one that holds 95 %", outcome=outcome, answers=len(served.latencies))
    met = not served.failures and len(served.latencies) > 0
    record.require("the neighbour loses no request", met, f"{len(served.failures)} failed {served.failures[:1]}")


def assess_or_tell(*arguments: Any) -> dict[str, Any]:
    """As `assess`; what it raises, in words."""
    try:
        return assess(*arguments)
    except Exception as error:  # whatever a device with no memory left makes of it
        return {"refused": f"refused: {type(error).__name__}: {str(error)[:200]}"}


def assess(device: str, is_quick: bool, fraction: float, sizes: dict[str, Any]) -> dict[str, Any]:
    """One assessment in a process that may take this fraction of the device's memory: bytes in MiB, and numbers."""
    import torch

    import robmon
    from tests.gpu.networks import inputs, make

    network, shape = make(NETWORK, device, is_quick)
    given = inputs(ROWS, shape, device)
    model = sum(each.nbytes for each in (*network.parameters(), *network.buffers()))
    torch.backends.cudnn.allow_tf32 = False  # numbers by batches of different sizes are compared
    asked = {"task": "classification", "device": device, **sizes}
    settle(device)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(fraction, device)
    first = robmon.assess(network, given, **asked)  # tries batches of several sizes
    reserved, retries = torch.cuda.max_memory_reserved(device), first.out_of_memory_retries
    settle(device)
    seen: list[int] = []
    hook = network.register_forward_hook(lambda module, arguments, outputs: seen.append(len(outputs)))
    result = robmon.assess(network, given, **asked)
    hook.remove()
    peak, reserved = torch.cuda.max_memory_allocated(device), max(reserved, torch.cuda.max_memory_reserved(device))
    retries += result.out_of_memory_retries
    batch_rows = max(seen)
    torch.cuda.set_per_process_memory_fraction(1.0, device)
    settle(device)
    before = torch.cuda.memory_allocated(device)
    with torch.inference_mode():
        network(inputs(batch_rows, shape, device))
    activations = torch.cuda.max_memory_allocated(device) - before
    found = {"peak": peak, "reserved": reserved, "limit": fraction * total, "total": total}
    found |= {"model": model, "sample": given.nbytes, "activations": activations}
    means = [point.mean_mse for point in result.curve[1:]]
    figures = {f"{name}_mib": value / MIB for name, value in found.items()}
    return {**figures, "batch_rows": batch_rows, "retries": retries, "means": means}


def settle(device: str) -> None:
    """Give back what is not held, and count peaks anew."""
    import torch

    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
