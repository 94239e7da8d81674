"""How a device is used: settings of the daemon, carried to the worker. Imports nothing heavy."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

AUTO: Final = "auto"
"""The name of cuda where there is one, and of the CPU elsewhere."""
LIBCUDA: Final = "libcuda.so.1"
"""The CUDA driver's library."""
Precision = Literal["bfloat16", "float16"]
"""What autocast may compute in."""


class DeviceUse(BaseModel):
    """How a model uses the device that it runs on. What it is by default, a caller's own process does; a guest less."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "cpu"
    """`cpu`, `cuda`, `cuda:N`, or `auto`: cuda where there is one."""
    precision: Precision | None = None
    """What autocast computes in, where it may; None: as the model is."""
    compile: Literal["auto", "never"] = "never"
    """Whether a torch module may be compiled for a CUDA device, where that is measured to be faster. It takes longer
    than an assessment: a process that makes a few gains nothing."""
    memory_fraction: float | None = None
    """Most of the free memory of a CUDA device that is taken; None: as much as is needed."""
    duty_cycle: float | None = None
    """Share of the time in which a CUDA device computes; None: all of it."""
    max_utilization: float | None = None
    """Share of the time in which others may keep a CUDA device busy before it is waited for them; None: any."""

    def on(self, device: str, precision: Precision | None = None) -> DeviceUse:
        """What is in force on that device, in that precision: what spares a GPU spares no processor."""
        spared = () if device.startswith("cuda") else ("memory_fraction", "duty_cycle", "max_utilization")
        return self.model_copy(update={"name": device, "precision": precision, **dict.fromkeys(spared)})


AS_IT_IS: Final = DeviceUse()
"""On the processor, and sparing nothing."""
