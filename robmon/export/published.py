"""What robmon tells the world at this moment: one object, from which metrics and status page are made.

A measurement that lies at its last value is worse than none, so measurements have an age and go; states stay. What
served answers said of the version stands between the two: see `Published.take_served`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from robmon.history.standing import VersionState
from robmon.processes.messages import Assessed, LoadedModel, ModelVersion, ServedResult

ENOUGH_ANSWERS: Final = 20
"""So many newer answers outweigh all older ones: one of them is 5 %, above which the alert fires."""


@dataclass(frozen=True)
class Measurement:
    """The last good assessment: of which version, when it was done and how long it took."""

    model_version: str
    result: Assessed
    at: float
    """When it was done, by the clock that never steps."""
    duration_seconds: float
    fragile_requests: tuple[str, ...] = ()
    """Ids of the requests with the largest errors at the highest level, largest first."""
    nonfinite_requests: tuple[str, ...] = ()
    """Ids of requests whose clean output is not finite, which are left out."""


@dataclass(frozen=True)
class ServedComparison:
    """What one assessment found when it compared served answers with its version's own."""

    result: ServedResult
    requests_at: float
    """When the newest of the requests arrived, by the clock that never steps."""


@dataclass(frozen=True)
class BaselineInfo:
    """Where the baseline comes from, how many rows it holds, and when it was last changed (Unix time)."""

    source: str = "learning"
    rows: int = 0
    at: float | None = None


@dataclass
class Published:
    """Everything that is exported besides counters."""

    model_name: str
    interval_seconds: float
    max_age_seconds: float
    model: ModelVersion | None = None
    loaded: LoadedModel | None = None
    baseline: BaselineInfo = field(default_factory=BaselineInfo)
    measurement: Measurement | None = None
    served: list[ServedComparison] = field(default_factory=list)
    """The last comparisons of served answers with the version that is loaded, newest first."""
    last_assessment_at: float = 0.0
    """By the clock that never steps; 0 until the first."""
    only_too_few_inputs_since: bool = True
    """Whether too few inputs was the only reason why no good assessment came since the last one."""
    problem: str = ""
    """Why there is no newer assessment, in one sentence without any input; empty after a good one."""
    inputs_problem: Callable[[], str] = lambda: ""
    """What may be wrong with the inputs, in one sentence; mostly empty."""
    state: VersionState = field(default_factory=VersionState)
    worker_memory_bytes: Callable[[], int] = lambda: 0

    def count(self, outcome: str, reason: str, problem: str = "") -> None:
        """Take note of how the last assessment ended, good or not."""
        self.problem = problem and f"Last assessment {outcome} ({reason}): {problem}."
        if outcome == "ok":
            self.only_too_few_inputs_since = True
        elif reason != "too_few_inputs":
            self.only_too_few_inputs_since = False

    def current_measurement(self, now: float) -> Measurement | None:
        """The last good assessment while it is still true: of the version assessed now, and not too old."""
        measurement = self.measurement
        if measurement is None or self.model is None or measurement.model_version != self.model.version:
            return None
        if self.only_too_few_inputs_since:
            lifetime = max(self.max_age_seconds, self._lifetime_seconds(measurement))
        else:
            lifetime = self._lifetime_seconds(measurement)
        return measurement if now - measurement.at <= lifetime else None

    def take_served(self, comparison: ServedComparison) -> None:
        """Take a comparison with answers that none before it has seen.

        Most assessments of a quiet model see few new answers or none, and that takes nothing back of what older ones
        said. They stand until ENOUGH_ANSWERS newer ones are compared, another version is loaded, or their requests are
        older than an input may be.
        """
        served = [comparison, *self.served]
        newer = accumulate((each.result.answers for each in served), initial=0)
        self.served = [each for each, answers in zip(served, newer, strict=False) if answers < ENOUGH_ANSWERS]

    def current_served(self, now: float) -> ServedResult | None:
        """What the newest answers say of the version that is loaded; None where none is known."""
        earliest = now - self.max_age_seconds
        results = [each.result for each in self.served if each.requests_at >= earliest]
        if not results:
            return None
        return ServedResult(
            compared=sum(each.compared for each in results),
            mismatched=sum(each.mismatched for each in results),
            not_comparable=sum(each.not_comparable for each in results),
        )

    def _lifetime_seconds(self, measurement: Measurement) -> float:
        return max(3 * self.interval_seconds, 3 * measurement.duration_seconds)
