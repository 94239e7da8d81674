"""A CUDA device as its driver tells of it. The driver's library is a fake, of the functions that are called."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from robmon.worker import cuda_device
from robmon.worker.cuda_device import LocalCudaDevice

TOTAL_BYTES, FREE_BYTES = 80 * 2**30, 70 * 2**30
CONTEXT = 0xABC


class FakeDriver:
    """Device 1 of two; what wants a context gets error 201 without one, as of the real library."""

    def __init__(self) -> None:
        self.current: list[int] = []
        self.retained: list[int] = []

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the library's names
        assert flags == 0
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = 40 + ordinal
        return 0 if ordinal < 2 else 101

    def cuDeviceGetUuid_v2(self, uuid: Any, device: ctypes.c_int) -> int:  # noqa: N802
        uuid._obj[:] = [device.value] * 16
        return 0

    def cuDeviceTotalMem_v2(self, total: Any, device: ctypes.c_int) -> int:  # noqa: N802
        total._obj.value = TOTAL_BYTES
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: ctypes.c_int) -> int:  # noqa: N802
        self.retained.append(device.value)
        context._obj.value = CONTEXT
        return 0

    def cuCtxPushCurrent_v2(self, context: ctypes.c_void_p | None) -> int:  # noqa: N802
        if context is None or context.value != CONTEXT:
            return 201
        self.current.append(CONTEXT)
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:  # noqa: N802
        context._obj.value = self.current.pop()
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        free._obj.value, total._obj.value = FREE_BYTES, TOTAL_BYTES
        return 0 if self.current else 201


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    found = FakeDriver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: found)
    monkeypatch.setattr(cuda_device, "_torch_cuda", lambda: None)
    return found


def test_what_the_driver_tells(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def open_nvml(uuid: bytes) -> tuple[None, str]:
        asked.append(uuid)
        return None, "no NVML"

    monkeypatch.setattr(cuda_device, "open_nvml", open_nvml)
    device = LocalCudaDevice(1)
    assert (device.name, device.total_bytes, asked) == ("cuda:1", TOTAL_BYTES, [bytes([41] * 16)])
    assert driver.retained == [], "no context is opened before it is asked for"
    with pytest.raises(OSError, match="cuCtxPushCurrent_v2 of the CUDA driver failed with error 201"):
        device.free_bytes()
    device.open_context()
    assert (device.free_bytes(), driver.retained, driver.current) == (FREE_BYTES, [41], [])


def test_without_nvml_and_torch_it_tells_what_it_can(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_device, "open_nvml", lambda uuid: (None, "no NVML"))
    device = LocalCudaDevice(0)
    device.open_context()
    device.bound_allocator(2**30)
    device.give_back()
    assert (device.allocator_bytes(), device.peak_allocator_bytes()) == (0, 0)
    assert (device.own_bytes(), device.nvml_free_bytes(), device.utilization()) == (None, None, None)
    assert device.nvml_problem == "no NVML"


def test_a_device_that_is_not_there(driver: FakeDriver) -> None:
    with pytest.raises(OSError, match="cuDeviceGet of the CUDA driver failed with error 101"):
        LocalCudaDevice(2)
