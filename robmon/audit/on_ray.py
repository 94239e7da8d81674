"""Engine `ray`: one Ray Core task a version, and in it robmon's own killable process, on a cluster or on this machine.

Ray gives places and restarts what its nodes lose; what models do is bounded by robmon, as in engine `local`. A task's
arguments, which Ray logs, hold no credential: each node has its own, by MLflow's variables.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from robmon.audit import version_process
from robmon.audit.local import Tell, check_gpus
from robmon.audit.task import Limits, Task, failed
from robmon.errors import InvalidInputError, RobmonError
from robmon.extras import check_installed
from robmon.models.uri import mask
from robmon.processes.strays import strays
from robmon.processes.temporary import temporary_home

GRACE_SECONDS: Final = 600.0
"""Beyond a version's own deadline, for a node to start, and for the download."""
LOOK_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 5.0
MOST_CHARACTERS: Final = 40
"""Of the folder in which Ray makes its sockets, whose names may have 107, of which it takes up to 66."""
RETRIES: Final = 1
"""Of a task that Ray itself lost, by a node or by memory: models are in a process of their own."""


@dataclass(frozen=True)
class _Running:
    task: Task
    until: float


@contextmanager
def connected(address: str | None, limits: Limits, tracking_uri: str | None, scratch: Path) -> Iterator[None]:
    """Ray, while the block runs: the cluster at the address, or one of this machine, on loopback alone.

    Args:
        address: of a cluster, or `auto`; None: this machine's own.
        limits: of each version.
        tracking_uri: of the registry.
        scratch: a folder for what a Ray of this machine's own writes, and leaves there.

    Raises:
        InvalidInputError: no cluster answers, or it has not the GPUs that are asked for; or credentials would be told.
        MissingPackageError: Ray is not installed.
    """
    check_installed("ray", "engine ray", instead="give --engine local")
    if tracking_uri is not None and mask(tracking_uri) != tracking_uri:
        raise InvalidInputError(
            "the tracking URI holds a password, which would stand in the arguments of Ray's tasks: set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD here and on the nodes"
        )
    if address is None:
        check_gpus(limits)  # before Ray is started, which takes long
    elif address != "auto":
        _check_answers(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    on_terminate = signal.getsignal(signal.SIGTERM)
    with _folder_of(address, scratch) as home:
        try:
            ray.init(**_options(address, home))
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InvalidInputError(f"no Ray cluster answers at {address}: {type(error).__name__}") from None
        signal.signal(signal.SIGTERM, on_terminate)  # which Ray takes for itself
        try:
            _check_cluster(ray.cluster_resources(), limits)
            yield
        finally:
            ray.shutdown()


def run(
    tasks: Sequence[Task],
    inputs: Mapping[str, Path],
    limits: Limits,
    at_once: int | None,
    tracking_uri: str | None,
    tell: Tell,
) -> None:
    """Examine the versions on the cluster that is connected.

    Args:
        tasks: what is to be done.
        inputs: local files of inputs, by their digest; each is put into Ray's store once.
        limits: of each version.
        at_once: tasks that Ray is given at a time; None: as many as the cluster has places for.
        tracking_uri: of the registry, as the nodes reach it; None: as their MLflow finds it.
        tell: told each result as soon as it is there.
    """
    import ray

    put = {
        digest: (file.suffix, ray.put(np.frombuffer(file.read_bytes(), np.uint8))) for digest, file in inputs.items()
    }
    remote = ray.remote(
        num_cpus=limits.threads,
        num_gpus=limits.gpus,
        memory=limits.memory_bytes,  # what is asked for is set apart; None: nothing
        max_calls=1,
        max_retries=RETRIES,
        retry_exceptions=False,
    )(_examine)
    waiting, running = deque(tasks), dict[Any, _Running]()
    while waiting or running:
        while waiting and len(running) < (at_once or places(limits)):
            task = waiting.popleft()
            suffix, content = put[task.inputs_sha256]
            bare = replace(task, entry=replace(task.entry, inputs=""))  # its URL may hold what opens it
            reference = remote.remote(bare, content, suffix, limits, tracking_uri)
            running[reference] = _Running(task, time.monotonic() + limits.seconds + GRACE_SECONDS)
        done, _ = ray.wait(list(running), timeout=LOOK_SECONDS)
        for reference in done:
            tell(running.pop(reference).task, *_result(reference))
        for reference, each in list(running.items()):
            if time.monotonic() > each.until:
                del running[reference]
                ray.cancel(reference, force=True)
                why = f"Ray gave no result within {limits.seconds + GRACE_SECONDS:g} s"
                tell(each.task, failed("node_lost", why), limits.seconds + GRACE_SECONDS)


def _examine(
    task: Task, inputs: Any, suffix: str, limits: Limits, tracking_uri: str | None
) -> tuple[dict[str, Any], float]:
    """On a node: the content of the result, and the seconds that it took."""
    from robmon.models.loading import bound_waiting

    began = time.monotonic()
    bound_waiting()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
    logging.disable(logging.CRITICAL)
    with temporary_home("robmon-audit-") as folder:
        rows = folder / f"inputs{suffix}"
        rows.write_bytes(inputs.tobytes())
        try:
            model = version_process.download(task, folder, tracking_uri)
        except RobmonError as error:
            return version_process.not_downloaded(error), time.monotonic() - began
        devices = None if limits.gpus else ()  # Ray says which GPUs
        content = asyncio.run(_alone(task, model, rows, limits, devices))
    return content, time.monotonic() - began


async def _alone(
    task: Task, model: Path, rows: Path, limits: Limits, devices: tuple[int, ...] | None
) -> dict[str, Any]:
    """With the end of what model code left behind: this process is of one version."""
    strays.adopt()
    try:
        return await version_process.examine(task, model, rows, limits, devices)
    finally:
        await strays.end()


def _result(reference: Any) -> tuple[dict[str, Any], float]:
    import ray
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

    try:
        content, seconds = ray.get(reference)
    except OutOfMemoryError:
        return failed("out_of_memory", "Ray ended the task because its node ran out of memory"), 0.0
    except RayTaskError as error:
        return failed("node_lost", f"the task raised {type(error.cause).__name__} on its node"), 0.0
    except RayError as error:
        return failed("node_lost", f"Ray lost the task: {type(error).__name__}"), 0.0
    return content, seconds


@contextmanager
def _folder_of(address: str | None, scratch: Path) -> Iterator[Path]:
    """Where a Ray of this machine's own, and its tasks, write: there, or where names of sockets are not too long."""
    if address is not None:
        yield scratch
        return
    before = os.environ.get("TMPDIR")
    with ExitStack() as opened:
        if len(str(scratch)) > MOST_CHARACTERS:
            other = TemporaryDirectory(prefix="robmon-audit-", dir="/tmp", ignore_cleanup_errors=True)
            scratch = Path(opened.enter_context(other))
        os.environ["TMPDIR"] = str(scratch)
        try:
            yield scratch
        finally:
            os.environ.pop("TMPDIR")
            if before is not None:
                os.environ["TMPDIR"] = before


def _options(address: str | None, home: Path) -> dict[str, Any]:
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address is not None:
        return shared | {"address": address}
    own: dict[str, Any] = {
        "address": "local",
        "include_dashboard": False,  # whoever reaches it runs what he likes
        "_node_ip_address": "127.0.0.1",
        # Else it retries without end where memory runs out, and on a busy machine its workers wait for all others.
        "_system_config": {"task_oom_retries": RETRIES, "worker_niceness": 0},
    }
    return shared | own | {"_temp_dir": str(home)}


def _check_answers(address: str) -> None:
    """Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "://" in host:
        raise InvalidInputError(f"the address of a Ray cluster is auto, or host:port of its head, not {mask(address)}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InvalidInputError(f"no Ray cluster answers at {address}: {type(error).__name__}") from None


def _check_cluster(resources: Mapping[str, float], limits: Limits) -> None:
    """Ray waits for ever, silently, for what a cluster has not."""
    if limits.gpus > resources.get("GPU", 0):
        raise InvalidInputError(
            f"{limits.gpus} GPUs are requested for each version, and the Ray cluster has {resources.get('GPU', 0):g}"
        )
    if limits.threads > resources.get("CPU", 0):
        raise InvalidInputError(
            f"{limits.threads} threads are requested for each version, and the Ray cluster has "
            f"{resources.get('CPU', 0):g} processors"
        )


def places(limits: Limits) -> int:
    """How many versions the cluster has room for at this moment."""
    import ray

    resources = ray.cluster_resources()
    found = int(resources.get("CPU", 0)) // limits.threads
    if limits.gpus:
        found = min(found, int(resources.get("GPU", 0)) // limits.gpus)
    return max(found, 1)
