"""How many CUDA devices there are, asked of the driver alone: torch takes seconds to import."""

from __future__ import annotations

import ctypes

from robmon.models.devices.device import LIBCUDA


def count_devices() -> int:
    """The number of devices that this process may use, as CUDA_VISIBLE_DEVICES says; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL(LIBCUDA)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
