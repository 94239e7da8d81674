"""Where a model that is given by its URI runs: where `auto` puts it, or on the CPU where that turns out too small."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from robmon.errors import ModelLoadError, SingleRowError, is_out_of_memory
from robmon.models.devices.device import AUTO
from robmon.robustness.engine.device_memory import release_memory

Result = TypeVar("Result")


@dataclass
class Place:
    """Where a model runs.

    Attributes:
        device: by its name, or `auto`.
        notes: why that is the CPU, where it was to be another.
        retries: how often memory ran out there.
        spent_seconds: what of a time budget that took.
        opened: when the model was there, by `time.perf_counter`; None before.
    """

    device: str = AUTO
    notes: tuple[str, ...] = ()
    retries: int = 0
    spent_seconds: float = 0.0
    opened: float | None = None


def wherever_it_fits(predictor: Any, device: str, work: Callable[[Place], Result]) -> Result:
    """What the work returns; of a model by its URI that is too large for the device that `auto` chose, on the CPU.

    Args:
        predictor: the model, as in `robmon.assess`. One that is not loaded here stays where it is.
        device: as there.
        work: loads the model at a place, and asks it; all that it holds of the model ends with it.

    Raises:
        RobmonError: whatever the work raises.
    """
    place = Place(device)
    if device != AUTO or not isinstance(predictor, (str, Path)):
        return work(place)
    try:
        return work(place)
    except (SingleRowError, ModelLoadError) as error:
        if not error.device.startswith("cuda") or not is_out_of_memory(error):
            raise
        on_cpu = _instead(place, error)
        release_memory(error)
        gc.collect()  # models may hold themselves in cycles
        release_memory()
    return work(on_cpu)


def _instead(place: Place, error: SingleRowError | ModelLoadError) -> Place:
    what, retries = "the model", 1
    if isinstance(error, SingleRowError):
        what, retries = "a single row", error.retries
    note = f"device is auto, and the model runs on the CPU: {what} needs more memory than there is on {error.device}"
    return Place("cpu", (note,), retries, 0.0 if place.opened is None else time.perf_counter() - place.opened)
