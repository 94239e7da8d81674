"""Engine `local`: a pool of killable processes on this machine."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robmon.audit import version_process
from robmon.audit.task import Limits, Task
from robmon.audit.templates import Templates
from robmon.errors import InvalidInputError, RobmonError
from robmon.models.devices.cuda_driver import count_devices
from robmon.processes.strays import strays

Tell = Callable[[Task, dict[str, Any], float], None]
"""Told a task, the content of its result and the seconds that it took."""


def check_gpus(limits: Limits) -> int:
    """How many versions the GPUs of this machine serve at a time, each with its own; 0: none is asked for.

    Raises:
        InvalidInputError: there are fewer GPUs than one version is to have.
    """
    if not limits.gpus:
        return 0
    devices = count_devices()
    if devices < limits.gpus:
        raise InvalidInputError(f"{limits.gpus} GPUs are requested for each version, and this machine has {devices}")
    return devices // limits.gpus


def run(
    tasks: Sequence[Task],
    inputs: Mapping[str, Path],
    limits: Limits,
    workers: int,
    tracking_uri: str | None,
    tell: Tell,
) -> None:
    """Examine the versions, so many at a time; a version that dies, hangs or eats memory costs its own result.

    Args:
        tasks: what is to be done.
        inputs: local files of inputs, by their digest.
        limits: of each version.
        workers: versions at a time.
        tracking_uri: of the registry; None: as MLflow finds it.
        tell: told each result as soon as it is there.

    Raises:
        RobmonError: `tell` raised it; nothing goes on.
    """
    try:
        asyncio.run(_Pool(tasks, inputs, limits, tracking_uri, tell).run(workers))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


class _Pool:
    def __init__(
        self, tasks: Sequence[Task], inputs: Mapping[str, Path], limits: Limits, tracking_uri: str | None, tell: Tell
    ) -> None:
        self._waiting = deque(tasks)
        self._inputs = inputs
        self._limits = limits
        self._tracking_uri = tracking_uri
        self._tell = tell
        self._templates = Templates(limits)
        # One download at a time: MLflow's client is told by the process's environment how to behave.
        self._downloads = ThreadPoolExecutor(1, "download")

    async def run(self, workers: int) -> None:
        """Until nothing waits."""
        devices = version_process.visible_devices(workers * self._limits.gpus)
        try:
            async with asyncio.TaskGroup() as group:
                for place in range(workers):
                    first = place * self._limits.gpus
                    own = tuple(devices[first : first + self._limits.gpus])
                    group.create_task(self._work(own))
        finally:
            self._templates.end()
            await strays.end()  # what model code left behind, where this process has taken it on
            self._downloads.shutdown(wait=False, cancel_futures=True)

    async def _work(self, devices: tuple[int, ...]) -> None:
        while self._waiting:
            task = self._waiting.popleft()
            began = time.monotonic()
            content = await self._one(task, devices)
            self._tell(task, content, time.monotonic() - began)

    async def _one(self, task: Task, devices: tuple[int, ...]) -> dict[str, Any]:
        with TemporaryDirectory(prefix="version-", ignore_cleanup_errors=True) as folder:
            try:
                model = await asyncio.get_running_loop().run_in_executor(
                    self._downloads, version_process.download, task, Path(folder), self._tracking_uri
                )
            except RobmonError as error:
                return version_process.not_downloaded(error)
            template = await self._templates.of(task, model)
            return await version_process.examine(
                task, model, self._inputs[task.inputs_sha256], self._limits, devices, template
            )
