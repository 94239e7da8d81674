"""What NVIDIA's management library tells of one device: its memory, who holds it, how busy it is."""

from __future__ import annotations

import uuid
from typing import Any

from robmon.extras import how_to_install


class Nvml:
    """One device.

    Args:
        library: the module `pynvml`.
        handle: the library's handle of the device.
    """

    def __init__(self, library: Any, handle: Any) -> None:
        self._library = library
        self._handle = handle

    def free_bytes(self) -> int | None:
        """Memory that nobody holds; None where that is not told."""
        try:
            return int(self._library.nvmlDeviceGetMemoryInfo(self._handle).free)
        except self._library.NVMLError:
            return None

    def process_bytes(self, pid: int) -> int | None:
        """Memory that a process holds; None where the library does not know it, or not its memory."""
        try:
            processes = self._library.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except self._library.NVMLError:
            return None
        return next((each.usedGpuMemory for each in processes if each.pid == pid), None)

    def utilization(self) -> float | None:
        """Share of the last sample, up to a second, in which something ran; None where that is not told, as of MIG."""
        try:
            return int(self._library.nvmlDeviceGetUtilizationRates(self._handle).gpu) / 100
        except self._library.NVMLError:
            return None


def open_nvml(device: bytes) -> tuple[Nvml | None, str]:
    """The device with that UUID, of 16 bytes, where NVML is there; and why it does not tell how busy that is, if so."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None, f"nvidia-ml-py, which asks NVML, is not installed beside the model: {how_to_install('pynvml')}"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"NVML cannot be used: {error}"
    text = str(uuid.UUID(bytes=device))
    for kind in ("GPU", "MIG"):
        try:
            nvml = Nvml(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"{kind}-{text}"))
        except pynvml.NVMLError:
            continue
        is_told = nvml.utilization() is not None
        return nvml, "" if is_told else "NVML does not tell how busy this device is, as it does of no MIG slice"
    return None, "NVML does not know this device"
