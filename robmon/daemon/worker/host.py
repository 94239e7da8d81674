"""The one worker and the model version it has loaded.

Two versions are never loaded together. A version that cannot be loaded leaves the one before in its place.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from robmon.daemon.timing.backoff import Backoff
from robmon.daemon.worker.compiling import COMPILE_SECONDS, no_room, uncompiled, why_not
from robmon.daemon.worker.failures import FailuresInARow
from robmon.daemon.worker.not_assessed import (
    LoadFailedError,
    NotAssessedError,
    died,
    not_assessed,
    not_ready,
    reason_of,
)
from robmon.daemon.worker.question import load_question
from robmon.export.metrics import Metrics
from robmon.history.attack import AttackFound
from robmon.processes.command import Command, worker_environment
from robmon.processes.memory_limit import memory_limit_bytes
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.attack import Attacked, AttackRows
from robmon.processes.messages.every_process import Failure, Rejections
from robmon.processes.messages.model import Compile, Compiled, LoadedModel, ModelVersion
from robmon.processes.messages.question import Assess
from robmon.processes.supervisor import Child, ChildDiedError
from robmon.settings import Settings
from robmon.vocabulary import OUTCOMES

log = structlog.get_logger("robmon.host")

WORKER_BACKOFF_SECONDS = (1.0, 60.0)
# Each further try to load a version costs the one before, which is still assessed, two starts of the worker.
LOAD_BACKOFF_SECONDS = (10.0, 600.0)
ATTACK_GRACE_SECONDS = 30.0
"""After the budget of an attack: it looks at the clock between two calls of the model, and a busy machine is slow."""


class ModelHost:
    """Keeps one worker with one model version; `usable` is the last version that could be loaded to be assessed.

    Args:
        settings: of model, worker and device.
        metrics: has the counters.
        tell_restart: told why a worker was ended, and which version it had.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        tell_restart: Callable[[str, str | None], None] = lambda reason, version: None,
    ) -> None:
        self.usable: ModelVersion | None = None
        self.loaded: LoadedModel | None = None
        self._settings = settings
        self._metrics = metrics
        self._tell_restart = tell_restart
        self._worker: Child | None = None
        self._worker_version: str | None = None
        self._worker_backoff = Backoff(WORKER_BACKOFF_SECONDS)
        self._load_backoffs: defaultdict[str, Backoff] = defaultdict(lambda: Backoff(LOAD_BACKOFF_SECONDS))
        self._load_failure: LoadFailedError | None = None
        self._failures = FailuresInARow()
        self._enough_bytes: dict[str, int] = {}
        """By version: with so much of a CUDA device's memory it has been assessed."""
        self._answered_at = time.monotonic()
        self._uncompiled: dict[str, str] = {}
        """Why versions are not compiled, by version: it is not tried again."""

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the worker, 0 where there is none."""
        return self._worker.memory_bytes if self._worker is not None else 0

    @property
    def version(self) -> str | None:
        """The version that the worker has loaded; None where there is none."""
        return self._worker_version

    @property
    def idle_seconds(self) -> float:
        """Since the worker answered last."""
        return time.monotonic() - self._answered_at

    @property
    def waiting(self) -> bool:
        """Whether the worker failed and is not to be started again yet."""
        return self._worker_backoff.waiting

    async def use(self, target: ModelVersion) -> ModelVersion:
        """Load `target`, or where that cannot be, what was usable before; returns the version loaded.

        Raises:
            NotAssessedError: neither can be loaded.
        """
        backoff = self._load_backoffs[target.version]
        before = self.usable if self.usable is not None and self.usable.version != target.version else None
        if not backoff.waiting:
            try:
                await self.load(target)
            except LoadFailedError as error:
                backoff.failed()
                self._tell_load_failure(target, error, before)
            else:
                backoff.succeeded()
                self.usable = target
                return target
        if before is None:
            again = f"version {target.version} is not loaded and will be tried again: {self._load_failure}"
            raise not_ready(self._load_failure, again)
        try:
            await self.load(before)
        except LoadFailedError as error:
            self._tell_load_failure(before, error, None)
            raise not_ready(error, str(error)) from None
        return before

    async def load(self, model: ModelVersion) -> None:
        """Have a worker with this very version.

        Raises:
            LoadFailedError: it cannot be loaded.
        """
        if self._worker is not None and self._worker_version == model.version:
            return
        if self._worker is not None:
            await self.close()
            self._count_restart("new_version", model.version)
        try:
            self._worker = await Child.start(self._command())
            answer, _ = await self._worker.ask(
                load_question(self._settings, model, self._enough_bytes.get(model.version)),
                timeout_seconds=self._settings.worker.timeout_seconds,
            )
        except ChildDiedError as error:
            self._lost_worker(error)
            raise LoadFailedError(error.reason, str(error)) from None
        if not isinstance(answer, LoadedModel):
            await self.close()
            raise LoadFailedError(*reason_of(answer))
        self._failures.begin(model.version)
        self._worker_version = model.version
        self._answered_at = time.monotonic()
        for mismatch in answer.mismatches:
            log.warning("requirement not met", version=model.version, requirement=mismatch)
        self._take_loaded(answer)

    async def assess(self, question: Assess, blobs: Sequence[bytes]) -> tuple[Assessed, bytes]:
        """Let the worker assess the version that it has loaded.

        Raises:
            NotAssessedError: whatever went wrong.
        """
        if self._worker is None:
            raise NotAssessedError("skipped", "model_not_ready")
        try:
            answer, answered = await self._worker.ask(
                question, blobs, timeout_seconds=self._settings.worker.timeout_seconds
            )
        except ChildDiedError as error:
            self._lost_worker(error)
            raise died(error, question) from None
        self._answered_at = time.monotonic()
        rejections = answer.rejections if isinstance(answer, Assessed | Failure) else Rejections()
        if isinstance(answer, Assessed | Failure) and answer.loaded_again is not None:
            self._take_loaded(answer.loaded_again)
        if question.comparison is None:  # else the same requests were counted with the reference version
            self._metrics.count_rejected(rejections.counts)
        if not isinstance(answer, Assessed) or len(answered) != 1 or answer.number != question.number:
            reason, _ = reason_of(answer)
            await self._replace_if_damaged(reason, is_confused=not isinstance(answer, Failure))
            if reason == "device_full":
                await self.close()  # the next one looks for room before it takes any
            raise not_assessed(answer, rejections)
        self._worker_backoff.succeeded()
        self._failures.end()
        self._note_device_memory(answer)
        if self.loaded is not None:
            self.loaded = self.loaded.model_copy(update={"compiled": answer.compiled})
        return answer, answered[0]

    async def attack(self, question: AttackRows, blobs: Sequence[bytes]) -> AttackFound:
        """Let the worker attack the version that it has loaded.

        A worker that does not answer is killed soon after the budget. The next assessment does not wait for that: it
        starts another one.

        Raises:
            NotAssessedError: whatever went wrong.
        """
        if self._worker is None:
            raise NotAssessedError("skipped", "model_not_ready")
        most_seconds = min(question.sample.max_seconds + ATTACK_GRACE_SECONDS, self._settings.worker.timeout_seconds)
        try:
            answer = await self._ask_between(self._worker, question, blobs, most_seconds)
        except ChildDiedError as error:
            raise died(error) from None
        if isinstance(answer, Attacked):
            return answer.found
        raise not_assessed(answer)

    async def compile(self) -> None:
        """Let the worker compile the version that it has loaded and assessed, where it may, and has not tried before.

        A worker that does not survive it is started again by the next assessment, and does not try it.
        """
        worker, version, loaded = self._worker, self._worker_version, self.loaded
        if worker is None or version is None or loaded is None or not loaded.may_compile:
            return
        because = no_room(worker.memory_bytes, memory_limit_bytes(self._settings.worker.memory_bytes))
        if not because:
            log.info("compiling", version=version)
            try:
                answer = await self._ask_between(worker, Compile(), (), COMPILE_SECONDS)
            except ChildDiedError as error:
                because = f"the worker that compiled it was lost: {error}"
            else:
                if isinstance(answer, Failure) and answer.reason in OUTCOMES["skipped"]:
                    log.info("not compiled yet", version=version, because=answer.sentence)
                    return
                because = why_not(answer)
                if isinstance(answer, Compiled) and not because:
                    self.loaded = loaded.model_copy(update={"may_compile": False})
                    seconds = round(answer.seconds, 1)
                    log.info("compiled", version=version, time_ratio=answer.time_ratio, seconds=seconds)
                    return
        self._uncompiled[version], self.loaded = because, uncompiled(loaded, because)
        log.info("not compiled", version=version, because=because)

    async def _ask_between(
        self, worker: Child, question: AnyMessage, blobs: Sequence[bytes], most_seconds: float
    ) -> AnyMessage:
        """The answer to what is asked between two assessments; the next one does not wait for a worker that is lost."""
        try:
            answer, _ = await worker.ask(question, blobs, timeout_seconds=most_seconds)
        except ChildDiedError as error:
            self._lost_worker(error, is_waited_for=False)
            raise
        except asyncio.CancelledError:
            self._worker = self._worker_version = None  # it has been killed
            raise
        self._answered_at = time.monotonic()
        return answer

    def _take_loaded(self, loaded: LoadedModel) -> None:
        because = self._uncompiled.get(self._worker_version or "")
        self.loaded = loaded if because is None or not loaded.may_compile else uncompiled(loaded, because)
        for remark in loaded.remarks:
            log.warning("device not used as set", version=self._worker_version, because=remark)

    def _note_device_memory(self, answer: Assessed) -> None:
        """What was enough of a device, so that the next worker knows whether others are to blame where less is not."""
        version, held = self._worker_version, answer.device_memory_bytes
        if version is not None and held is not None and self.loaded is not None and self.loaded.device != "cpu":
            self._enough_bytes[version] = min(held, self._enough_bytes.get(version, held))

    async def _replace_if_damaged(self, reason: str, *, is_confused: bool) -> None:
        self._failures.add(reason)
        if not (self._failures.are_too_many or is_confused):
            return
        why = "its answer does not fit the question" if is_confused else f"{self._failures.count} failures in a row"
        log.warning("worker replaced", version=self._worker_version, because=why)
        self._failures.replace_worker()
        version = self._worker_version
        await self.close()
        self._count_restart("crash", version)

    async def release(self) -> None:
        """End the worker until it is asked for again, which is no failure of its."""
        log.info("worker ended until the next assessment", version=self.version, idle_seconds=round(self.idle_seconds))
        await self.close()

    async def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            worker, self._worker, self._worker_version = self._worker, None, None
            await worker.stop()

    def _command(self) -> Command:
        worker = self._settings.worker
        return Command(
            python=worker.python,
            module="robmon.worker",
            environment=worker_environment(self._settings.device.threads),
            memory_bytes=memory_limit_bytes(worker.memory_bytes),
            log_output=worker.output == "log",
        )

    def _lost_worker(self, error: ChildDiedError, *, is_waited_for: bool = True) -> None:
        version = self._worker_version
        self._worker = self._worker_version = None
        if is_waited_for:
            self._worker_backoff.failed()
        self._count_restart(error.reason, version)

    def _count_restart(self, reason: str, version: str | None) -> None:
        self._metrics.worker_restarts.labels(reason).inc()
        self._tell_restart(reason, version)

    def _tell_load_failure(self, target: ModelVersion, error: LoadFailedError, before: ModelVersion | None) -> None:
        self._load_failure = error
        self._metrics.model_failures.labels("load", error.reason).inc()
        log.error(
            "model version cannot be loaded",
            version=target.version,
            reason=error.reason,
            error=str(error),
            still_assessed=before.version if before is not None else None,
        )
