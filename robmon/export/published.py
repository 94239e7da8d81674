"""What robmon tells the world at this moment: one view, from which metrics and status page are made.

A measurement that lies at its last value is worse than none, so measurements have an age and go; states stay. What
served answers said of the version stands between the two: see `View.with_served`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final

from robmon.export.recent import Recent
from robmon.history.attack import AttackFound
from robmon.history.detection import DetectionRecord
from robmon.history.standing import VersionState
from robmon.history.verdict import JudgedCurves
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.curve import FurtherNoise
from robmon.processes.messages.findings import CanaryResult, ServedResult, SharesResult
from robmon.processes.messages.model import LoadedModel, ModelVersion

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
    near_requests: tuple[str, ...] = ()
    """Ids of requests that are nearer to another than the baseline's ever were."""
    novel_requests: tuple[str, ...] = ()
    """Ids of requests farther out than nearly all of the baseline's."""


@dataclass(frozen=True)
class FurtherMeasurement:
    """The last good measurement of a further noise: of which version, when it was made, how long the assessment took.

    Where it was not run since, `missed` says why.
    """

    model_version: str
    result: FurtherNoise
    at: float
    """When it was made, by the clock that never steps."""
    duration_seconds: float
    missed: FurtherNoise | None = None


@dataclass(frozen=True)
class ServedComparison:
    """What one assessment found when it compared served answers with its version's own."""

    result: ServedResult
    requests_at: float
    """When the newest of the requests arrived, by the clock that never steps."""


@dataclass(frozen=True)
class AttackView:
    """The last attack that came to something: on which version, what was found, and when."""

    model_version: str
    run_id: str | None
    found: AttackFound
    at: float
    """By the clock that never steps."""


@dataclass(frozen=True)
class BaselineInfo:
    """Where the baseline comes from, how many rows it holds, and when it was last changed (Unix time)."""

    source: str = "learning"
    rows: int = 0
    at: float | None = None
    problem: str = ""
    """A sentence on what became of an earlier one; mostly empty."""


@dataclass(frozen=True)
class View:
    """What is known at one moment of the version served and of its assessments."""

    model: ModelVersion | None = None
    """The version that is assessed; None before one is loaded."""
    loaded: LoadedModel | None = None
    baseline: BaselineInfo = BaselineInfo()
    state: VersionState = field(default_factory=VersionState)
    measurement: Measurement | None = None
    detection: DetectionRecord | None = None
    """Where the detector over time stands; None as long as it has made no step on this version."""
    further: tuple[FurtherMeasurement, ...] = ()
    """Results of each further noise that has had its turn on this version, in the order of their first turns."""
    canary: CanaryResult | None = None
    """The last word of the version's synthetic canary: what it said, or why there is none."""
    shares: SharesResult | None = None
    """Which features carry the noise error of the baseline."""
    alert_shares: SharesResult | None = None
    """Which carry it, and its rise, since the regression that stands; or why that is not known."""
    served: tuple[ServedComparison, ...] = ()
    """The last comparisons of served answers with the version that is loaded, newest first."""
    attack: AttackView | None = None
    """Kept beyond a restart; of another version, perhaps."""
    attack_refusal: str = ""
    """Why the model is never attacked although the settings ask for it, in words; mostly empty."""
    last_assessment_at: float = 0.0
    """By the clock that never steps; 0 until the first."""
    only_too_few_inputs_since: bool = True
    """Whether too few inputs was the only reason why no good assessment came since the last one."""
    problem: str = ""
    """Why there is no newer assessment, in one sentence without any input; empty after a good one."""

    def with_outcome(self, outcome: str, reason: str, problem: str = "") -> View:
        """After an assessment that ended like that, good or not."""
        only_too_few = outcome == "ok" or (self.only_too_few_inputs_since and reason == "too_few_inputs")
        sentence = problem and f"Last assessment {outcome} ({reason}): {problem}."
        return replace(self, problem=sentence, only_too_few_inputs_since=only_too_few)

    @property
    def worse_since(self) -> tuple[str, str, float] | None:
        """Which alarm stands on the version that is loaded: its kind, the version, since when; None: none does."""
        version, regression, record = self.model.version if self.model else None, self.state.regression, self.detection
        if regression is not None and regression.version == version:
            return "version", regression.version, regression.since
        if record is not None and record.version == version and record.since is not None:
            return "time", record.version, record.since
        return None

    @property
    def judged_version(self) -> str | None:
        """The version that the verdict in `state` is about; None where there is none."""
        if self.state.verdict is None:
            return None
        return self.state.regression.version if self.state.regression is not None else self.state.version

    @property
    def curves(self) -> JudgedCurves | None:
        """Both curves of the verdict on the version that is loaded."""
        verdict = self.state.verdict
        is_of_it = self.model is not None and self.model.version == self.judged_version
        return verdict.curves if verdict is not None and is_of_it else None

    def without_causes(self) -> View:
        """The view for another version: nothing is known yet of what else may have changed."""
        return replace(self, canary=None, shares=None, alert_shares=None, further=())

    def with_further(self, found: FurtherMeasurement) -> View:
        """With what a further noise came to; where it was not run, what it came to before stays, for its own age."""
        noise = found.result.noise
        before = next((each for each in self.further if each.result.noise == noise), None)
        if before is None:
            return replace(self, further=(*self.further, found))
        now = found if found.result.levels or not before.result.levels else replace(before, missed=found.result)
        return replace(self, further=tuple(now if each is before else each for each in self.further))

    def with_causes(self, result: Assessed) -> View:
        """With what an assessment found of canary and shares; what it did not look at stays as it is known."""
        canary, shares = result.canary or self.canary, result.shares
        if shares is not None and shares.is_now:
            return replace(self, canary=canary, alert_shares=shares)
        return replace(self, canary=canary, shares=shares or self.shares)

    def with_served(self, comparison: ServedComparison) -> View:
        """With a comparison of answers that none before it has seen.

        Most assessments of a quiet model see few new answers or none, and that takes nothing back of what older ones
        said. They stand until ENOUGH_ANSWERS newer ones are compared, another version is loaded, or their requests are
        older than an input may be.
        """
        served = [comparison, *self.served]
        newer = accumulate((each.result.answers for each in served), initial=0)
        kept = tuple(each for each, answers in zip(served, newer, strict=False) if answers < ENOUGH_ANSWERS)
        return replace(self, served=kept)


class Published:
    """What metrics and page are made from: the view published last, and what is asked when they are.

    Args:
        model_name: the name of the model.
        interval_seconds: between assessments.
        max_age_seconds: of inputs.
        inputs_problem: what may be wrong with the inputs, in one sentence; mostly empty.
        worker_memory_bytes: resident memory of the worker.
        alias: under which the version served is looked up, None where it is not by an alias.
        command_prefix: what a shell that has the daemon's environment puts before a command that needs its settings.
        attack_interval_seconds: between attacks; None: there are none.
        mse_limit: that the owner has set for the bound, in squared output units.
        recent: the last day, which others add to.
        further_noises: how many take turns, so that each comes round every so many assessments.
        view: what is known at first.
    """

    def __init__(
        self,
        model_name: str,
        interval_seconds: float,
        max_age_seconds: float,
        *,
        inputs_problem: Callable[[], str] = lambda: "",
        worker_memory_bytes: Callable[[], int] = lambda: 0,
        alias: str | None = None,
        command_prefix: str = "",
        attack_interval_seconds: float | None = None,
        mse_limit: float | None = None,
        recent: Recent | None = None,
        further_noises: int = 0,
        view: View = View(),
    ) -> None:
        self.model_name = model_name
        self.alias = alias
        self.interval_seconds = interval_seconds
        self.command_prefix = command_prefix
        self.inputs_problem = inputs_problem
        self.worker_memory_bytes = worker_memory_bytes
        self.attack_interval_seconds = attack_interval_seconds
        self.mse_limit = mse_limit
        self.recent = recent if recent is not None else Recent()
        self._max_age_seconds = max_age_seconds
        self._further_noises = further_noises
        self._view = view
        self._watchers: list[Callable[[View], None]] = []

    @property
    def view(self) -> View:
        """What was published last."""
        return self._view

    def watch(self, see: Callable[[View], None]) -> None:
        """Have every view told that is published from now on."""
        self._watchers.append(see)

    def publish(self, view: View) -> None:
        """Tell that from now on, all of it at once."""
        self._view = view
        for see in self._watchers:
            see(view)

    def current_measurement(self, now: float) -> Measurement | None:
        """The last good assessment while it is still true: of the version assessed now, and not too old."""
        model, measurement = self._view.model, self._view.measurement
        if measurement is None or model is None or measurement.model_version != model.version:
            return None
        return measurement if now - measurement.at <= self._lifetime_seconds(measurement.duration_seconds) else None

    def current_further(self, now: float) -> list[FurtherMeasurement]:
        """The last good measurements of further noises that are still true: a noise waits for all others."""
        model, rounds = self._view.model, max(self._further_noises, 1)
        return [
            each
            for each in self._view.further
            if each.result.levels
            and model is not None
            and each.model_version == model.version
            and now - each.at <= self._lifetime_seconds(each.duration_seconds, rounds)
        ]

    def _lifetime_seconds(self, duration_seconds: float, rounds: int = 1) -> float:
        """How long a measurement is true that took so long, and comes round every so many assessments."""
        lifetime_seconds = 3 * rounds * max(self.interval_seconds, duration_seconds)
        return max(self._max_age_seconds if self._view.only_too_few_inputs_since else 0.0, lifetime_seconds)

    def current_attack(self, now: float) -> AttackView | None:
        """The last attack while it is still true: on the version that is loaded, and not too old."""
        model, attack = self._view.model, self._view.attack
        if attack is None or model is None or self.attack_interval_seconds is None:
            return None
        if (attack.model_version, attack.run_id) != (model.version, model.run_id):
            return None
        lifetime_seconds = 3 * max(self.attack_interval_seconds, self.interval_seconds)
        return attack if now - attack.at <= lifetime_seconds else None

    def current_served(self, now: float) -> ServedResult | None:
        """What the newest answers say of the version that is loaded; None where none is known."""
        return served_since(self._view, now - self._max_age_seconds)


def served_since(view: View, earliest: float) -> ServedResult | None:
    """What answers to requests since then say, by the clock that never steps; None where there are none."""
    results = [each.result for each in view.served if each.requests_at >= earliest]
    if not results:
        return None
    return ServedResult(
        compared=sum(each.compared for each in results),
        mismatched=sum(each.mismatched for each in results),
        not_comparable=sum(each.not_comparable for each in results),
    )
