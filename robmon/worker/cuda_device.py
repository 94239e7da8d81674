"""A CUDA device, as the driver, NVML and, where it has CUDA, torch tell of it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from typing import Any, Final

from robmon.models.devices.device import LIBCUDA
from robmon.models.devices.nvml import Nvml, open_nvml

UUID_BYTES: Final = 16


class LocalCudaDevice:
    """The CUDA device of that number, as this process counts them. See `device_guest.CudaDevice`."""

    def __init__(self, number: int) -> None:
        self.name = f"cuda:{number}"
        self._number = number
        self._driver = _Driver(number)
        self._torch = _torch_cuda()
        self._nvml: Nvml | None
        self._nvml, self.nvml_problem = open_nvml(self._driver.uuid)
        self.total_bytes = self._driver.total_bytes

    def nvml_free_bytes(self) -> int | None:
        """What is free by NVML."""
        return None if self._nvml is None else self._nvml.free_bytes()

    def open_context(self) -> None:
        """Have the primary context, which torch and ONNX Runtime use."""
        self._driver.open_context()

    def free_bytes(self) -> int:
        """What is free by the driver."""
        return self._driver.free_bytes()

    def own_bytes(self) -> int | None:
        """What this process holds, by NVML."""
        return None if self._nvml is None else self._nvml.process_bytes(os.getpid())

    def allocator_bytes(self) -> int:
        """What torch's allocator holds."""
        return 0 if self._torch is None else int(self._torch.memory_reserved(self._number))

    def peak_allocator_bytes(self) -> int:
        """The most that it has held since it last gave back."""
        return 0 if self._torch is None else int(self._torch.max_memory_reserved(self._number))

    def bound_allocator(self, most_bytes: int) -> None:
        """Let torch's allocator hold no more."""
        if self._torch is not None:
            share = min(max(most_bytes / self.total_bytes, 0.0), 1.0)
            self._torch.set_per_process_memory_fraction(share, self._number)

    def give_back(self) -> None:
        """Give back what no tensor needs."""
        if self._torch is not None:
            self._torch.empty_cache()
            self._torch.reset_peak_memory_stats(self._number)

    def utilization(self) -> float | None:
        """How busy it was, by NVML."""
        return None if self._nvml is None else self._nvml.utilization()


class _Driver:
    """One device, by the driver's own library: torch need not be there, and if it is, need not have CUDA."""

    def __init__(self, number: int) -> None:
        self._library: Any = ctypes.CDLL(LIBCUDA)
        self._context: ctypes.c_void_p | None = None
        device, uuid, total = ctypes.c_int(), (ctypes.c_ubyte * UUID_BYTES)(), ctypes.c_size_t()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), number)
        self._call("cuDeviceGetUuid_v2", ctypes.byref(uuid), device)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(total), device)
        self._device, self.uuid, self.total_bytes = device, bytes(uuid), int(total.value)

    def open_context(self) -> None:
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._context = context

    def free_bytes(self) -> int:
        free, total, popped = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_void_p()
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(popped))
        return int(free.value)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise OSError(f"{name} of the CUDA driver failed with error {code}")


def _torch_cuda() -> Any:
    """The module `torch.cuda`, where it has a device; else None."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch.cuda if torch.cuda.is_available() else None
