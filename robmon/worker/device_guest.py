"""The worker as a guest on a CUDA device: how much memory it may take, and when it may compute.

Memory is counted as the driver counts it. What is free, and what the guest itself holds, is what would be free without
it; of that it takes at most `device.memory_fraction`, and leaves `reserve_bytes` free in any case. Of its share
everything is paid that is not torch's: the CUDA context, which alone is some hundred MiB, libraries' handles, the arena
of another runtime in this process. What remains is the bound that torch's allocator is given, as a share of the
device's whole memory, which is how torch counts it. All that is done anew at the start of each assessment, because the
neighbour has its own ups and downs; and what the allocator keeps for later is given back at the end of each.

How much this process holds, NVML says where it knows the process: mostly, but not with every driver in a container with
its own process ids, where the same id may be another's. So it must be unknown before the context is opened, and known
after. Elsewhere it is what torch's allocator holds and the context, and no arena of another runtime is seen, which is
bounded when its model is loaded. The driver tells nothing before there is a context, so that the context is what NVML
saw vanish while it was opened; without NVML it is taken to be `CONTEXT_BYTES`. A neighbour that takes or frees memory
in that moment falsifies it, within bounds: it is taken for no less than half of that, and no more than four times.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from robmon.errors import DeviceUnavailableError
from robmon.models.devices.device import DeviceUse

GIB: Final = 2**30
CONTEXT_BYTES: Final = GIB // 2
"""What a CUDA context with torch's kernels takes, where nobody tells."""
LEAST_FREE_BYTES: Final = GIB
LEAST_FREE_SHARE: Final = 0.05
"""The larger of the two stays free."""
MEMORY_SECONDS: Final = 10.0
"""For so long memory is waited for before a model is loaded: that of a worker that was killed comes back by and by."""
MEMORY_LOOK_SECONDS: Final = 0.25
UTILIZATION_SECONDS: Final = 15.0
"""For so long others are waited for before an assessment."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at the utilisation, each of which is of up to a second: the first one is of no work of ours."""
LOOKS: Final = 3
"""So many in a row are averaged: a server computes in bursts."""


class CudaDevice(Protocol):
    """One CUDA device, as torch, the driver and NVML tell of it."""

    name: str
    total_bytes: int
    """All of its memory."""
    nvml_problem: str
    """Why NVML does not tell how busy it is, in words; empty where it does."""

    def nvml_free_bytes(self) -> int | None:
        """What is free by NVML, which needs no context; None where it does not tell."""

    def open_context(self) -> None:
        """Have a CUDA context from now on."""

    def free_bytes(self) -> int:
        """What is free by the driver, in a context."""

    def own_bytes(self) -> int | None:
        """What this process holds in all; None where that cannot be told."""

    def allocator_bytes(self) -> int:
        """What torch's allocator holds; 0 where there is none."""

    def peak_allocator_bytes(self) -> int:
        """The most that it has held since it last gave back."""

    def bound_allocator(self, most_bytes: int) -> None:
        """Let torch's allocator hold no more than that."""

    def give_back(self) -> None:
        """Give back what torch's allocator holds and no tensor needs."""

    def utilization(self) -> float | None:
        """Share of the last moments, up to a second, in which it was busy; None where that cannot be told."""


class DeviceGuest:
    """Keeps this process to its share of a device: `settle` before a model is loaded, `assessing` around assessments.

    Args:
        device: the device.
        use: what may be taken of it.
        enough_bytes: with so much in all this version has been assessed before; None: it has not.
        clock, sleep: seconds, and how they are waited for.

    Attributes:
        used_bytes: the most that this process held in the last assessment.
    """

    def __init__(
        self,
        device: CudaDevice,
        use: DeviceUse,
        *,
        enough_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.used_bytes = 0
        self._device = device
        self._use = use
        self._clock = clock
        self._sleep = sleep
        self._context_bytes = 0
        self._is_known = False
        self._enough_bytes = enough_bytes
        self._granted_bytes = 0
        """What this process might hold in all when it was looked at last."""

    @property
    def remarks(self) -> list[str]:
        """What cannot be kept to, in sentences."""
        if self._use.max_utilization is None or not self._device.nvml_problem:
            return []
        setting = f"device.max_utilization is {self._use.max_utilization:g}"
        return [f"{setting}, and nobody is waited for: {self._device.nvml_problem}"]

    def settle(self) -> int:
        """Open the context and bound torch's allocator, before anything lies on the device.

        Returns:
            the bytes that an allocator may hold.

        Raises:
            DeviceUnavailableError: there is no room for that, nor was for some seconds.
        """
        device = self._device
        self._wait_for_room(lambda: self._share_bytes(self._free_bytes()) - CONTEXT_BYTES)
        before, is_anothers = device.nvml_free_bytes(), device.own_bytes() is not None
        device.open_context()
        self._is_known = not is_anothers and device.own_bytes() is not None
        after, self._context_bytes = device.nvml_free_bytes(), CONTEXT_BYTES
        if before is not None and after is not None:
            self._context_bytes = min(max(before - after, CONTEXT_BYTES // 2), 4 * CONTEXT_BYTES)
        self._wait_for_room(self._for_allocator)
        room = self._for_allocator()
        self._grant(room)
        return room

    @contextmanager
    def assessing(self) -> Iterator[None]:
        """Assess in the body, when others let the device do so; then give back what the model itself does not need.

        Raises:
            DeviceUnavailableError: they do not, or there is no room for the model that is loaded.
        """
        self._wait_for_others()
        device = self._device
        device.give_back()
        outside, room = self._outside_bytes(), self._for_allocator()
        if room < max(device.allocator_bytes(), 1):
            raise self.full(f"the model and CUDA's context hold {_gib(outside + device.allocator_bytes())}")
        self._grant(room)
        try:
            yield
        finally:
            self.used_bytes = max(outside, self._outside_bytes()) + device.peak_allocator_bytes()
            device.give_back()
        self._enough_bytes = min(self.used_bytes, self._enough_bytes or self.used_bytes)

    def leave(self) -> None:
        """Give back what the model held that lay there, and compute there no more. CUDA's context stays."""
        gc.collect()  # models may hold themselves in cycles
        if self._context_bytes:
            self._device.give_back()

    def look(self) -> None:
        """See what this process holds where it does not compute any more."""
        self.used_bytes = self._outside_bytes() + self._device.allocator_bytes() if self._context_bytes else 0

    @property
    def is_crowded_out(self) -> bool:
        """Where memory ran out, whether that is for what others hold: they have taken of this process's share since it
        was looked at, or the share has been larger and was enough then."""
        is_less = self._enough_bytes is not None and self._granted_bytes < self._enough_bytes
        return is_less or self._free_without_us_bytes() < self._granted_bytes

    @property
    def is_too_small(self) -> bool:
        """Whether the device's memory leaves no share beside CUDA's context even where nobody else holds any."""
        return self._share_bytes(self._device.total_bytes) <= (self._context_bytes or CONTEXT_BYTES)

    @property
    def share(self) -> str:
        """What this process might hold when it was looked at last, in words."""
        return (
            f"its share of {self._device.name}, {_gib(self._granted_bytes)} with CUDA's context "
            f"(device.memory_fraction is {self._fraction:g})"
        )

    def full(self, what: str) -> DeviceUnavailableError:
        """The device has no room: in numbers, and what would need it."""
        free, without_us = self._free_bytes(), self._free_without_us_bytes()
        return DeviceUnavailableError(
            "device_full",
            f"{self._device.name} has {_gib(free)} of {_gib(self._device.total_bytes)} free, so that robmon may hold "
            f"{_gib(max(self._share_bytes(without_us), 0))} of it in all (device.memory_fraction is "
            f"{self._fraction:g}, and {_gib(self._reserve_bytes)} stay free), and {what}",
        )

    # --- memory ------------------------------------------------------------------------------------------------------

    @property
    def _fraction(self) -> float:
        return 1.0 if self._use.memory_fraction is None else self._use.memory_fraction

    @property
    def _reserve_bytes(self) -> int:
        return max(LEAST_FREE_BYTES, int(LEAST_FREE_SHARE * self._device.total_bytes))

    def _free_bytes(self) -> int:
        """What is free: before there is a context by NVML, or, where that does not tell, all of the device."""
        if self._context_bytes:
            return self._device.free_bytes()
        free = self._device.nvml_free_bytes()
        return self._device.total_bytes if free is None else free

    def _free_without_us_bytes(self) -> int:
        if not self._context_bytes:
            return self._free_bytes()
        return self._free_bytes() + self._outside_bytes() + self._device.allocator_bytes()

    def _share_bytes(self, without_us: int) -> int:
        """What may be held in all, of so much that would be free; less than nothing where the reserve is gone."""
        return min(int(self._fraction * without_us), without_us - self._reserve_bytes)

    def _outside_bytes(self) -> int:
        """What this process holds besides torch's allocator."""
        own = self._device.own_bytes() if self._is_known else None
        return self._context_bytes if own is None else max(own - self._device.allocator_bytes(), 0)

    def _grant(self, room: int) -> None:
        """Let torch's allocator hold so much."""
        self._granted_bytes = self._outside_bytes() + room
        self._device.bound_allocator(room)

    def _for_allocator(self) -> int:
        """What torch's allocator may hold now; 0 or less where it may hold nothing."""
        return self._share_bytes(self._free_without_us_bytes()) - self._outside_bytes()

    def _wait_for_room(self, room: Callable[[], int]) -> None:
        deadline = self._clock() + MEMORY_SECONDS
        while room() <= 0:
            if self._clock() >= deadline:
                raise self.full(f"CUDA's context alone takes {_gib(self._context_bytes or CONTEXT_BYTES)}")
            self._sleep(MEMORY_LOOK_SECONDS)

    # --- time --------------------------------------------------------------------------------------------------------

    def _wait_for_others(self) -> None:
        most, deadline = self._use.max_utilization, self._clock() + UTILIZATION_SECONDS
        if most is None or self._device.nvml_problem:
            return
        looks: deque[float] = deque(maxlen=LOOKS)
        while len(looks) < LOOKS or sum(looks) > LOOKS * most:
            if self._clock() >= deadline:
                raise DeviceUnavailableError(
                    "device_busy",
                    f"others kept {self._device.name} busy for {sum(looks) / len(looks):.0%} of the time, and "
                    f"device.max_utilization is {most:g}",
                )
            self._sleep(LOOK_SECONDS)
            looks.append(self._device.utilization() or 0.0)


def open_device(name: str) -> CudaDevice | None:
    """The device of that name; None of one whose memory and time are no guest's."""
    if not name.startswith("cuda:"):
        return None
    from robmon.worker.cuda_device import LocalCudaDevice  # it asks torch, where that has CUDA

    return LocalCudaDevice(int(name.removeprefix("cuda:")))


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
