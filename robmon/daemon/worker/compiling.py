"""What it comes to that a worker was told to compile its model, or cannot be told to. No I/O."""

from __future__ import annotations

from typing import Final

from robmon.daemon.worker.not_assessed import reason_of
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.model import Compiled, LoadedModel

COMPILE_SECONDS: Final = 180.0
"""After so long a worker that compiles is killed; it gives up before by itself, if torch lets it."""
COMPILE_BYTES: Final = 768 * 2**20
"""What compiling takes of memory, the C compiler's share included: 575 MiB for a small network on a CPU."""


def no_room(held_bytes: int, most_bytes: int | None) -> str:
    """Why a worker that holds so much would be killed in the middle of it; empty where it would not."""
    if most_bytes is None or held_bytes + COMPILE_BYTES <= most_bytes:
        return ""
    needs = f"compiling may take {COMPILE_BYTES >> 20} MiB beside {held_bytes >> 20} MiB"
    return f"{needs}, and worker.memory_bytes allows {most_bytes >> 20} MiB"


def why_not(answer: AnyMessage) -> str:
    """Why the model is not compiled, by the worker's answer; empty where it is."""
    return answer.because if isinstance(answer, Compiled) else reason_of(answer)[1]


def uncompiled(loaded: LoadedModel, because: str) -> LoadedModel:
    """A loaded model that stays as it is, and says why.

    >>> uncompiled(LoadedModel(flavor="torch", device="cuda:0", may_compile=True), "there is no C compiler").remarks
    ['device.compile is auto, and the model is not compiled: there is no C compiler']
    """
    remark = f"device.compile is auto, and the model is not compiled: {because}"
    return loaded.model_copy(update={"may_compile": False, "remarks": [*loaded.remarks, remark]})
