"""Why a CUDA device cannot be used. The driver is a fake: it answers as NVIDIA's library does where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from robmon.errors import ModelLoadError
from robmon.models.devices.device import DeviceUse
from robmon.models.devices.torch_device import precise, why_no_cuda


@dataclass
class FakeDriver:
    version: int = 12040
    initialised: int = 0

    def cuDriverGetVersion(self, pointer: Any) -> int:  # noqa: N802 - the library's names
        pointer._obj.value = self.version
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self.initialised


def test_torch_without_cuda() -> None:
    assert why_no_cuda(None, FakeDriver) == f"torch {torch.__version__} was built without CUDA"


def test_no_driver() -> None:
    assert why_no_cuda("12.8", lambda: None).startswith("there is no NVIDIA driver (libcuda.so.1)")


def test_driver_too_old() -> None:
    told = why_no_cuda("12.8", lambda: FakeDriver(11040))
    assert told == f"the driver goes up to CUDA 11.4, and torch {torch.__version__} was built for CUDA 12.8"


@pytest.mark.parametrize("minor", [0, 40, 90])
def test_minor_versions_of_cuda_work_with_each_other(minor: int) -> None:
    assert "goes up to" not in why_no_cuda("12.8", lambda: FakeDriver(12000 + minor, initialised=100))


@pytest.mark.parametrize("visible", [None, "", "-1", "7"])
def test_no_device_in_this_container(visible: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    chosen = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
    told = why_no_cuda("12.8", lambda: FakeDriver(initialised=100))
    assert told == f"there is a driver, but no CUDA device in this container or machine{chosen}"


def test_a_driver_that_does_not_start() -> None:
    assert (
        why_no_cuda("12.8", lambda: FakeDriver(initialised=802)) == "the CUDA driver cannot be initialised (error 802)"
    )


def test_nothing_to_be_found() -> None:
    assert why_no_cuda("12.8", FakeDriver) == "torch finds no CUDA device"


def test_a_precision_that_a_device_has_not_is_refused() -> None:
    """What torch does by itself is to warn, and to compute in full precision."""
    use, device = DeviceUse(precision="bfloat16"), torch.device("meta")
    with pytest.raises(ModelLoadError, match=r"device\.precision is bfloat16, which torch .* lacks on meta"):
        precise(use, device, torch.nn.Linear(2, 1))
