"""How the processes run: the worker, its device, the log."""

from __future__ import annotations

import sys
from typing import Literal

from pydantic import Field

from robmon.models.devices.device import DeviceUse, Precision
from robmon.settings.sections.section import Section
from robmon.settings.values import DEVICES, Device, PositiveInt, PositiveSeconds, Share


class WorkerSettings(Section):
    python: str = Field(sys.executable, description="Python interpreter that loads the model; default: robmon's own")
    timeout_seconds: PositiveSeconds = Field(600, description="Seconds after which a silent worker is killed")
    memory_bytes: PositiveInt | Literal["auto"] = Field(
        "auto", description="Memory at which the worker is killed; auto: 85 % of the cgroup's limit less 128 MiB"
    )
    output: Literal["drop", "log"] = Field(
        "drop", description="What to do with what the model prints, which may hold production inputs"
    )


class DeviceSettings(Section):
    name: Device = Field(
        "cpu",
        json_schema_extra={"pattern": DEVICES},
        description="Device that the model runs on; auto: cuda where there is a device with enough memory for it",
    )
    threads: PositiveInt = Field(1, description="Threads of the worker: of torch, ONNX Runtime, OpenMP, BLAS, joblib")
    memory_fraction: Share = Field(
        0.2,
        description="Share of a CUDA device's memory, as far as it is free without robmon, that the worker may take, "
        "all that the driver counts for it included; 1 GiB, or 5 % of the device if that is more, always stays free",
    )
    duty_cycle: Share = Field(0.5, description="Share of an assessment's time in which it may keep a CUDA device busy")
    max_utilization: Share | None = Field(
        None,
        description="Utilisation of a CUDA device by others (as NVML reports it) above which an assessment waits, and "
        "then is skipped",
    )
    precision: Precision | None = Field(
        None, description="Precision in which torch models compute, by autocast; results say so; unset: the model's own"
    )
    compile: Literal["auto", "never"] = Field(
        "auto",
        description="Whether to compile a torch model for a CUDA device, after its first assessment, if that is "
        "measured to be faster and gives the same outputs; never where `idle_release_seconds` ends the worker",
    )
    idle_release_seconds: PositiveSeconds | None = Field(
        None,
        description="Seconds without an assessment after which the worker is ended, to free its memory, until the next "
        "one; unset: it stays",
    )

    @property
    def use(self) -> DeviceUse:
        """How the worker uses its device."""
        use = DeviceUse(**self.model_dump(include=set(DeviceUse.model_fields)))
        # Each worker would have to compile anew.
        return use if self.idle_release_seconds is None else use.model_copy(update={"compile": "never"})


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line that is logged")
    format: Literal["json", "console"] | None = Field(
        None, description="Form of the log lines; unset: console on a terminal, else json"
    )
