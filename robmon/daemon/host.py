"""The one worker and the model version it has loaded.

Two versions are never loaded together. A version that cannot be loaded leaves the one before in its place.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from robmon.errors import RobmonError
from robmon.export.metrics import Metrics
from robmon.history.attack import AttackFound
from robmon.processes.command import Command, worker_environment
from robmon.processes.memory_limit import memory_limit_bytes
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.attack import Attacked, AttackRows
from robmon.processes.messages.every_process import Failure, Rejections
from robmon.processes.messages.model import Load, LoadedModel, ModelVersion
from robmon.processes.messages.question import Assess
from robmon.processes.supervisor import Child, ChildDiedError
from robmon.settings import Settings
from robmon.vocabulary import OUTCOMES, Outcome

log = structlog.get_logger("robmon.host")

WORKER_BACKOFF_SECONDS = (1.0, 60.0)
# Each further try to load a version costs the one before, which is still assessed, two starts of the worker.
LOAD_BACKOFF_SECONDS = (10.0, 600.0)
COMPARISON_BACKOFF_SECONDS = (10.0, 600.0)
ATTACK_GRACE_SECONDS = 30.0
"""After the budget of an attack: it looks at the clock between two calls of the model, and a busy machine is slow."""
FAILURES_OF_A_DAMAGED_WORKER = (3, 48)
"""After so many failures in a row a worker is replaced, for its model may have damaged the interpreter; a new one that
does no better gets twice as many, up to the second number."""
DAMAGED_REASONS = frozenset({"model_raised", "invalid_output", "invalid_input", "error"})


class NotAssessedError(RobmonError):
    """An assessment was skipped or failed.

    Attributes:
        outcome: `skipped` or `failed`.
        reason: one of the reasons of that outcome.
        rejections: what of the sample turned out to be of no use.
        served_version: version as which the endpoint answered, where that is another than the one assessed.
    """

    def __init__(
        self,
        outcome: Outcome,
        reason: str,
        message: str = "",
        rejections: Rejections | None = None,
        served_version: str | None = None,
    ) -> None:
        self.outcome = outcome
        self.rejections = rejections or Rejections()
        self.served_version = served_version
        self.reason = reason if reason in OUTCOMES[outcome] else "error"
        super().__init__(message or reason)


class LoadFailedError(RobmonError):
    """A model version could not be loaded.

    Attributes:
        reason: a short word for counters.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class Backoff:
    """A wait that doubles with each failure in a row, between a first and a longest one."""

    def __init__(self, first_and_longest_seconds: tuple[float, float]) -> None:
        self._first_seconds, self._longest_seconds = first_and_longest_seconds
        self._failures = 0
        self._until = 0.0

    def failed(self) -> None:
        """Start, or lengthen, the wait."""
        self._until = time.monotonic() + min(self._first_seconds * 2**self._failures, self._longest_seconds)
        self._failures = min(self._failures + 1, 16)

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures, self._until = 0, 0.0

    @property
    def waiting(self) -> bool:
        """Whether the wait is still on."""
        return time.monotonic() < self._until


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
        self._failed_version: str | None = None
        self._failures = 0
        self._failures_allowed = FAILURES_OF_A_DAMAGED_WORKER[0]
        self._answered_at = time.monotonic()

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
            raise _not_ready(self._load_failure, again)
        try:
            await self.load(before)
        except LoadFailedError as error:
            self._tell_load_failure(before, error, None)
            raise _not_ready(error, str(error)) from None
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
                load_question(self._settings, model), timeout_seconds=self._settings.worker.timeout_seconds
            )
        except ChildDiedError as error:
            self._lost_worker(error)
            raise LoadFailedError(error.reason, str(error)) from None
        if not isinstance(answer, LoadedModel):
            await self.close()
            raise LoadFailedError(*_told(answer))
        if model.version != self._failed_version:
            self._failures, self._failures_allowed = 0, FAILURES_OF_A_DAMAGED_WORKER[0]
        self._worker_version = self._failed_version = model.version
        self._answered_at = time.monotonic()
        self.loaded = answer
        for mismatch in answer.mismatches:
            log.warning("requirement not met", version=model.version, requirement=mismatch)
        for remark in answer.remarks:
            log.warning("device not used as set", version=model.version, because=remark)

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
            raise _died(error, Rejections(unusable=_suspects(question))) from None
        self._answered_at = time.monotonic()
        rejections = answer.rejections if isinstance(answer, Assessed | Failure) else Rejections()
        if question.comparison is None:  # else the same requests were counted with the reference version
            self._metrics.count_rejected(rejections.counts)
        if not isinstance(answer, Assessed) or len(answered) != 1 or answer.number != question.number:
            reason, message = _told(answer)
            outcome: Outcome = "skipped" if reason in OUTCOMES["skipped"] else "failed"
            await self._replace_if_damaged(reason, is_confused=not isinstance(answer, Failure))
            if reason == "device_full":
                await self.close()  # the next one looks for room before it takes any
            served_version = answer.served_version if isinstance(answer, Failure) else None
            raise NotAssessedError(outcome, reason, message, rejections, served_version)
        self._worker_backoff.succeeded()
        self._failures, self._failures_allowed = 0, FAILURES_OF_A_DAMAGED_WORKER[0]
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
        most_seconds = question.sample.max_seconds + ATTACK_GRACE_SECONDS
        try:
            answer, _ = await self._worker.ask(
                question, blobs, timeout_seconds=min(most_seconds, self._settings.worker.timeout_seconds)
            )
        except ChildDiedError as error:
            self._lost_worker(error, is_waited_for=False)
            raise _died(error) from None
        except asyncio.CancelledError:
            self._worker = self._worker_version = None  # it has been killed
            raise
        self._answered_at = time.monotonic()
        if isinstance(answer, Attacked):
            return answer.found
        reason, message = _told(answer)
        outcome: Outcome = "skipped" if reason in OUTCOMES["skipped"] else "failed"
        served_version = answer.served_version if isinstance(answer, Failure) else None
        raise NotAssessedError(outcome, reason, message, served_version=served_version)

    async def _replace_if_damaged(self, reason: str, *, is_confused: bool) -> None:
        self._failures += reason in DAMAGED_REASONS
        if self._failures < self._failures_allowed and not is_confused:
            return
        why = "its answer does not fit the question" if is_confused else f"{self._failures} failures in a row"
        log.warning("worker replaced", version=self._worker_version, because=why)
        self._failures = 0
        self._failures_allowed = min(2 * self._failures_allowed, FAILURES_OF_A_DAMAGED_WORKER[1])
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


def _died(error: ChildDiedError, rejections: Rejections | None = None) -> NotAssessedError:
    why = "out_of_memory" if error.reason == "memory" else error.reason
    return NotAssessedError("failed", why, str(error), rejections)


def load_question(settings: Settings, model: ModelVersion) -> Load:
    """What a worker is told to load."""
    shape = settings.model.input_shape
    return Load(
        model=model.model_copy(update={"baseline": None, "tags": {}}),
        access=settings.model.access,
        device=settings.device.use,
        threads=settings.device.threads,
        input_dtype=settings.model.input_dtype,
        input_shape=list(shape) if shape is not None else None,
        integers=list(settings.specification.perturbed_integers),
    )


def _not_ready(error: LoadFailedError | None, message: str) -> NotAssessedError:
    is_full = error is not None and error.reason == "device_full"
    return NotAssessedError("skipped", "device_full" if is_full else "model_not_ready", message)


def _suspects(question: Assess) -> list[int]:
    """Requests that may have ended the worker, so that they do not do it again: foreign code reads Parquet."""
    return [
        index
        for index, request in enumerate(question.requests)
        if "parquet" in request.headers.get("content-type", "").lower()
    ]


def _told(answer: AnyMessage) -> tuple[str, str]:
    """Reason and sentence of an answer that is not the one asked for; words of model code are not in it."""
    if not isinstance(answer, Failure):
        return "error", "the worker's answer does not fit the question"
    return answer.reason, answer.told
