"""One version examined: downloaded by this process, loaded and examined in one of its own that can be killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from robmon.audit.task import Limits, Task, failed
from robmon.errors import ModelError, RegistryError, RobmonError
from robmon.models.uri import mask
from robmon.processes.command import Command, worker_environment
from robmon.processes.messages.audit import Examine, Examined
from robmon.processes.messages.every_process import Failure
from robmon.processes.supervisor import Child, ChildDiedError
from robmon.processes.template import NoTemplateError, Template

MODULE: Final = "robmon.audit.examine"
_DIED: Final = {"timeout": "timeout", "memory": "out_of_memory", "crash": "crash"}


def download(task: Task, folder: Path, tracking_uri: str | None) -> Path:
    """The version's files below a folder. This process has the registry's credentials.

    Raises:
        RegistryError: the registry did not answer, or refused the credentials.
        ModelError: there are no such files.
    """
    from robmon.models.registry.download import download_version
    from robmon.models.registry.registry import Registry

    registry = Registry(tracking_uri)
    return download_version(registry, registry.resolve(task.uri), folder)


def not_downloaded(error: RobmonError) -> dict[str, Any]:
    """The content of the result of a version that could not be had."""
    if isinstance(error, RegistryError):
        return failed("registry_unreachable", str(error))
    return failed("not_found" if isinstance(error, ModelError) else "error", str(error))


async def examine(
    task: Task,
    model: Path,
    inputs: Path,
    limits: Limits,
    devices: tuple[int, ...] | None = None,
    template: Template | None = None,
) -> dict[str, Any]:
    """What the version's own process finds, or why it found nothing.

    Args:
        task: what is done.
        model: local folder of the version.
        inputs: local file of inputs.
        limits: beyond which the process is killed, and all that it started.
        devices: the GPUs that it sees; None: as this process does.
        template: of which the process is made a copy; None: it is started.
    """
    home = tempfile.mkdtemp(prefix="process-")
    environment = worker_environment(limits.threads) | {"TMPDIR": home}
    if devices is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, devices))
    command = Command(task.entry.python or sys.executable, MODULE, environment, limits.memory_bytes)
    try:
        async with asyncio.timeout(limits.seconds):
            child = await _started(command, template)
            try:
                answer, _ = await child.ask(_question(task, model, inputs, limits), timeout_seconds=limits.seconds)
            finally:
                await child.kill("crash")
    except TimeoutError:
        return failed("timeout", f"no result within {limits.seconds:g} s")
    except ChildDiedError as error:
        why = f"no result within {limits.seconds:g} s" if error.reason == "timeout" else str(error)
        return failed(_DIED[error.reason], why)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if isinstance(answer, Examined):
        return answer.content
    if isinstance(answer, Failure):
        return failed(answer.reason, answer.sentence.replace(str(inputs), mask(task.entry.inputs)))
    return failed("error", "no answer")


async def _started(command: Command, template: Template | None) -> Child:
    if template is not None:
        with suppress(NoTemplateError):
            return await Child.start(command, template)
    return await Child.start(command)


def _question(task: Task, model: Path, inputs: Path, limits: Limits) -> Examine:
    entry = task.entry
    return Examine(
        path=str(model),
        device=limits.device,
        threads=limits.threads,
        inputs=str(inputs),
        targets=list(entry.targets),
        specification=entry.specification,
        scale=1.0 if entry.absolute else None,
        seed=entry.seed,
        attack=None if entry.attack is None else dict(entry.attack),
        certify=None if entry.certify is None else dict(entry.certify),
        advise=entry.advise,
    )


def visible_devices(count: int) -> list[int]:
    """The first GPUs that this process may use, by the numbers that its children know them by."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    numbers = [int(word) for word in told.split(",") if word.strip().isdecimal()]
    return (numbers or list(range(count)))[:count]
