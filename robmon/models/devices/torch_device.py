"""The device on which a torch model runs, and why it is not the one that was wanted."""

from __future__ import annotations

import contextlib
import ctypes
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import torch
from numpy.typing import NDArray

from robmon.errors import ModelLoadError
from robmon.models.devices.device import AUTO, LIBCUDA, DeviceUse, Precision

NO_DEVICE: Final = 100
"""What cuInit returns where there is none."""


class Driver(Protocol):
    """The CUDA driver's library, as ctypes has it."""

    cuInit: Callable[[int], int]  # noqa: N815 - the library's names
    cuDriverGetVersion: Callable[[object], int]  # noqa: N815


def resolve(name: str) -> tuple[torch.device, list[str]]:
    """The device of that name, with its number, and, where `auto` is not cuda, why, in a sentence.

    Raises:
        ModelLoadError: it is not there.
    """
    if name == "cpu":
        return torch.device("cpu"), []
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        why = why_no_cuda(torch.version.cuda, load_driver)
        if name == AUTO:
            return torch.device("cpu"), [f"device.name is auto, and the model runs on the CPU: {why}"]
        raise ModelLoadError(f"device.name is {name}, which cannot be used: {why}")
    number = 0 if name == AUTO else torch.device(name).index or 0
    if number >= count:
        raise ModelLoadError(f"device.name is {name}, and there are {count} CUDA devices")
    return torch.device("cuda", number), []


def tensor_on(device: torch.device, array: NDArray[Any]) -> torch.Tensor:
    """An array as a tensor on a device; on the CPU it is the same memory."""
    # A tensor may be written to.
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def why_no_cuda(built_for: str | None, driver: Callable[[], Driver | None]) -> str:
    """Why torch finds no CUDA device, as far as that can be told.

    Args:
        built_for: the CUDA version that torch was built for; None: for none.
        driver: loads the driver's library; None where there is none.
    """
    if built_for is None:
        return f"torch {torch.__version__} was built without CUDA"
    library = driver()
    if library is None:
        return f"there is no NVIDIA driver ({LIBCUDA}); a container gets it from the NVIDIA container runtime"
    version = ctypes.c_int(0)
    if library.cuDriverGetVersion(ctypes.byref(version)) == 0:
        most = f"{version.value // 1000}.{version.value % 1000 // 10}"
        if version.value // 1000 < int(built_for.partition(".")[0]):
            return f"the driver goes up to CUDA {most}, and torch {torch.__version__} was built for CUDA {built_for}"
    code = library.cuInit(0)
    if code == NO_DEVICE:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        chosen = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
        return f"there is a driver, but no CUDA device in this container or machine{chosen}"
    if code:
        return f"the CUDA driver cannot be initialised (error {code})"
    return "torch finds no CUDA device"


def precise(use: DeviceUse, device: torch.device, module: torch.nn.Module) -> tuple[Precision | None, list[str]]:
    """What autocast computes in for this module on this device, and, where that is not what is set, why.

    Raises:
        ModelLoadError: the device, or this torch, does not compute in it.
    """
    if use.precision is None:
        return None, []
    dtypes = {each.dtype for each in module.parameters() if each.is_floating_point()}
    if dtypes and dtypes <= {torch.float64}:
        return None, [f"device.precision is {use.precision}, and autocast leaves a float64 model as it is"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it cannot do it warns of, and does nothing
        try:
            with autocast(use.precision, device):
                works = torch.is_autocast_enabled(device.type)
        except RuntimeError:
            works = False
    if not works:
        raise ModelLoadError(f"device.precision is {use.precision}, which torch {torch.__version__} lacks on {device}")
    return use.precision, []


def autocast(precision: Precision | None, device: torch.device) -> AbstractContextManager[object]:
    """In which a module computes in that precision where autocast lets it."""
    if precision is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bfloat16" else torch.float16)


def load_driver() -> Driver | None:
    """The driver's library; None where there is none."""
    try:
        return ctypes.CDLL(LIBCUDA)  # type: ignore[return-value]
    except OSError:
        return None
