"""How the processes run: the worker, its device, the log."""

from __future__ import annotations

import sys
from typing import Literal

from pydantic import Field

from robmon.models.devices.device import DeviceUse, Precision
from robmon.settings.sections.section import Section
from robmon.settings.values import DEVICES, Device, PositiveInt, PositiveSeconds, Share


class WorkerSettings(Section):
    python: str = Field(sys.executable, description="Interpreter that loads the model; default: robmon's own")
    timeout_seconds: PositiveSeconds = Field(600, description="Seconds after which a silent worker is killed")
    memory_bytes: PositiveInt | Literal["auto"] = Field(
        "auto", description="Memory at which the worker is killed; auto: 85 % of the cgroup's limit less 128 MiB"
    )
    output: Literal["drop", "log"] = Field("drop", description="What the model prints; it may hold production inputs")


class DeviceSettings(Section):
    name: Device = Field(
        "cpu",
        json_schema_extra={"pattern": DEVICES},
        description="Device; auto: cuda where there is one that has memory for the model",
    )
    threads: PositiveInt = Field(1, description="Threads of the worker: of torch, ONNX Runtime, OpenMP, BLAS, joblib")
    memory_fraction: Share = Field(
        0.2,
        description="Most of the memory of a CUDA device that is free without robmon which the worker takes, all that "
        "the driver counts for it included; 1 GiB, or 5 % of the device where that is more, stays free in any case",
    )
    duty_cycle: Share = Field(0.5, description="Share of an assessment's time in which it keeps a CUDA device busy")
    max_utilization: Share | None = Field(
        None,
        description="Share of the time in which others may keep a CUDA device busy (by NVML); above it an assessment "
        "waits, then is skipped",
    )
    precision: Precision | None = Field(
        None, description="What torch models compute in by autocast, which their results say; unset: as they are"
    )
    compile: Literal["auto", "never"] = Field(
        "auto",
        description="Whether torch compiles a torch model for a CUDA device, after its first assessment, where that is "
        "measured to be faster and gives the same outputs; never where `idle_release_seconds` ends the worker",
    )
    idle_release_seconds: PositiveSeconds | None = Field(
        None,
        description="Seconds between two assessments after which the worker is ended, with all memory that it holds, "
        "until the next one; unset: it stays",
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
