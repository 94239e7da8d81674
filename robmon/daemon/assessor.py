"""One assessment after another: which version, on which sample, compared with what, and what is published of it.

A new version is assessed on the sample, the seed and the noise scale of the last assessment of its reference version,
which stays in memory for that purpose. Where there is none, as in a new pod, the reference version is assessed first.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

import structlog

from robmon import clock
from robmon.daemon.follow import Follower, failure_reason
from robmon.daemon.host import COMPARISON_BACKOFF_SECONDS, Backoff, ModelHost, NotAssessedError
from robmon.daemon.verdict_memory import VerdictMemory
from robmon.daemon.writer import Writer
from robmon.errors import RobmonError
from robmon.export.metrics import Metrics
from robmon.export.published import BaselineInfo, Measurement, Published, ServedComparison
from robmon.history.memory import Entry, Key, judged, later_than
from robmon.history.numbers import NUMBERS_RESERVED, Numbers
from robmon.history.scope import Judged
from robmon.history.standing import Pending, VersionState, version_state
from robmon.history.store import History
from robmon.history.verdict import Verdict
from robmon.inputs.labels import Labels
from robmon.inputs.sample import Item, Sample
from robmon.models.uri import UNKNOWN_VERSION
from robmon.processes.messages import (
    Assess,
    Assessed,
    Comparison,
    KeptClasses,
    ModelVersion,
    NotCompared,
    Plan,
    Rejections,
    SampledRequest,
)
from robmon.settings import Settings
from robmon.vocabulary import PendingReason

log = structlog.get_logger("robmon.assess")

SHOWN_IDS: Final = 10
SHOWN_ID_CHARACTERS: Final = 128
MISMATCH_RATIO: Final = 0.05
"""Share of served answers above which they are said to differ, as in the alert."""
REFERENCE_WAIT_SECONDS: Final = 30.0
"""How long a first assessment waits for the reference to be downloaded; later ones do not wait for it."""
BASELINE_SECONDS: Final = 10.0
"""How long a recorded baseline is waited for."""
SETTLE_SECONDS: Final = 1.0
"""How long the positions of the rows assessed are waited for: a kill between the two would have them assessed twice."""
BEFORE_INPUTS: Final = ("model_not_ready", "worker_backoff")
"""Reasons for which an assessment is skipped before its inputs are looked at."""
_PENDING_REASONS: Final[Mapping[str, PendingReason]] = {"too_few_inputs": "too_few_rows", "not_found": "no_reference"}
"""Why a version is not judged, by why its reference version was not assessed; else `failed`."""
TOO_FEW_INPUTS_ADVICE: Final = "mirror requests to inputs.port, raise inputs.max_age_seconds, or lower assess.min_rows"


@dataclass(frozen=True)
class Kept:
    """An assessment that another version can be compared with."""

    version: str
    items: Sequence[Item]
    seed: int
    plan: Plan
    output: str
    blob: bytes
    """What the worker kept of it."""
    classes: KeptClasses | None
    clean_variance: list[float]
    nonfinite_rows: list[int]
    is_usable: bool
    """Whether its outputs, under noise too, were numbers, and not all the same: else nothing can be compared."""


class Assessor:
    """Runs assessments; `assess` never raises, whatever model, registry or disk do."""

    def __init__(
        self,
        settings: Settings,
        follower: Follower,
        host: ModelHost,
        sample: Sample,
        labels: Labels,
        history: History,
        memory: VerdictMemory,
        writer: Writer,
        baseline_writer: Writer,
        published: Published,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._follower = follower
        self._host = host
        self._sample = sample
        self._labels = labels
        self._history = history
        self._memory = memory
        self._published = published
        self._metrics = metrics
        self._writer = writer
        self._baseline_writer = baseline_writer
        self._numbers = Numbers(self._reserve_numbers)
        self._numbers.prepare()
        self._fetching: tuple[str, asyncio.Task[ModelVersion]] | None = None
        self._written: dict[str, dict[str, Any]] = {}
        """The baselines as they lie on disk."""
        self._unread: set[str] = set()
        """Versions whose recorded baseline could not be read, and so is not replaced."""
        self._baselines: dict[str, dict[str, Any]] = {}
        self._kept: Kept | None = None
        self._tried_version: str | None = None
        self._watched_since = -math.inf
        """When another version was loaded than the one before: older answers are that one's."""
        self._lacks_inputs = False
        self._refusal = ""
        """What was wrong with the inputs of the last assessment, since which there have been too few."""
        self._served_differ = False
        self._told_notes: list[str] = []
        self._comparison_backoff = Backoff(COMPARISON_BACKOFF_SECONDS)
        self._obstacle: Pending | None = None
        """Why the last try to judge the version served came to nothing."""
        self._quiet_at = -math.inf
        """Unix time at which an accepted version was last seen served."""
        self._begun: tuple[Key, float] | None = None
        """Version and run id that were last begun to be loaded, and the Unix time of that."""
        self._judged_here: Key | None = None
        """Version and run id of the last verdict taken here."""
        self.refresh()

    @property
    def needed_versions(self) -> list[str]:
        """Versions whose files must stay on disk."""
        target = self._follower.target
        needed = [model.version for model in (target, self._host.usable) if model is not None]
        reference = self._reference_version if target is not None else None
        return needed + ([reference] if reference is not None else [])

    @property
    def can_start_first(self) -> bool:
        """Whether the version served now has had no assessment yet, good or bad, and one can be made."""
        target = self._follower.target
        if target is None or target.version == self._tried_version:
            return False
        has_kept = self._kept is not None and self._kept.version == self._reference_version
        return has_kept or self._has_rows

    @property
    def _has_rows(self) -> bool:
        return self._sample.rows(clock.now()) >= self._settings.assess.min_rows

    async def prepare(self) -> None:
        """Load the version served now, so that it is ready before there are inputs."""
        if self._follower.target is not None and not self._host.waiting:
            try:
                await self._use(self._follower.target)
            except NotAssessedError as error:
                log.warning("model not ready", reason=error.reason)

    async def assess(self) -> None:
        """Run one assessment, count its outcome and publish its result."""
        started = time.monotonic()
        problem = ""
        was_unknown = self._follower.target is not None and self._follower.target.version == UNKNOWN_VERSION
        try:
            await self._assess()
            outcome, reason = "ok", "none"
        except NotAssessedError as error:
            outcome, reason, problem = error.outcome, error.reason, str(error)
            if error.served_version is not None:
                self._follower.observe(error.served_version)
            if reason != "too_few_inputs":
                seconds = round(time.monotonic() - started, 3)
                tell = log.info if reason == "version_changed" else log.warning  # the next one is of that version
                tell("assessment", outcome=outcome, reason=reason, error=str(error), seconds=seconds)
        except Exception as error:
            # Only the type is told: the text may hold an input.
            outcome, reason, problem = "failed", "error", type(error).__name__
            log.error("assessment", outcome=outcome, reason=reason, error=type(error).__name__)
        self._tell_of_inputs(reason, problem)
        # The first answer of an endpoint may tell which version to assess, which is then done at once.
        learnt_version = was_unknown and reason == "version_changed"
        if self._follower.target is not None and not learnt_version and (reason != "too_few_inputs" or self._has_rows):
            self._tried_version = self._follower.target.version
        self._metrics.assessments.labels(outcome, reason).inc()
        self._published.publish(self._published.view.with_outcome(outcome, reason, problem))
        self._see_obstacle(reason, problem)

    def _tell_of_inputs(self, reason: str, problem: str) -> None:
        """Too few inputs are told when that begins and when it ends: without traffic, every assessment lacks them."""
        if reason == "too_few_inputs":
            if not self._lacks_inputs:
                log.info("too few inputs", error=problem, advice=TOO_FEW_INPUTS_ADVICE)
            self._lacks_inputs = True
        elif reason == "invalid_input":
            self._refusal = problem
        elif reason not in BEFORE_INPUTS:
            self._refusal = ""
            if self._lacks_inputs:
                log.info("enough inputs again", rows=self._sample.rows(clock.now()))
            self._lacks_inputs = False

    async def _assess(self) -> None:
        target = self._follower.target
        if target is None:
            why = f": {self._follower.failure}" if self._follower.failure else ""
            raise NotAssessedError("skipped", "model_not_ready", f"no model version has been fetched yet{why}")
        if self._host.waiting:
            raise NotAssessedError("skipped", "worker_backoff", "the worker failed and is started again after a wait")
        model = await self._use(target)
        if model.version != UNKNOWN_VERSION:
            self._accept_unseen(model)
        kept = await self._reference_assessment(model) if self._comparison_due(model) else None
        model = await self._use(model)
        if kept is None:
            result, mine = await self._assess_sample(model)
            items = mine.items
            if mine.is_usable and self._reference_version in (None, model.version):
                self._kept = mine
        else:
            result = await self._assess_against(kept, model)
            items = kept.items
        if model.version == UNKNOWN_VERSION:  # of an endpoint, which may be found not to answer, or to tell another
            self._accept_unseen(model)
        await self._writer.settle(SETTLE_SECONDS)
        self._publish(model, result, items)

    async def _use(self, target: ModelVersion) -> ModelVersion:
        key = target.version, target.run_id
        if self._begun is None or self._begun[0] != key:
            self._begun = key, time.time()
        self.refresh()  # as long as the version before is the one served
        model = await self._host.use(target)
        await self._read_baseline(model)
        view = self._published.view
        if view.model is None or view.model.version != model.version:
            view = replace(view, baseline=_info(self._baseline(model)), served=())
            if view.model is not None:
                self._watched_since = clock.now()
            self._obstacle = None
            self._memory.see_served(model)
        self._published.publish(replace(view, model=model, loaded=self._host.loaded))
        self.refresh()
        return model

    # --- the two ways to assess --------------------------------------------------------------------------------------

    async def _assess_sample(self, model: ModelVersion) -> tuple[Assessed, Kept]:
        """Assess the loaded version on the sample as it is now."""
        self._require_rows()
        now = clock.now()
        items = self._sample.snapshot(now)
        if self._sample.shrunk:
            log.warning("sample shrunk to fit inputs.sample_bytes", requests=len(items), of=self._sample.full_capacity)
        await self._read_baseline(model)
        number = self._numbers.next()
        seed = assessment_seed(model.name, model.version, number)
        labelled = self._labels.labelled(items, self._sample.full_capacity, now)
        question, blobs = self._question(model, items, number, seed, labelled)
        try:
            result, blob = await self._host.assess(question, blobs)
        except NotAssessedError as error:
            self._sample.discard(items[index] for index in error.rejections.unusable)
            self._learn_rows(items, error.rejections)
            raise
        self._sample.discard(items[index] for index in result.rejections.unusable)
        self._sample.turn_over(now)
        self._learn_rows(items, result.rejections)
        self._labels.keep(items, now)
        self._take_served(question, items, result)
        if self._is_watched(model):
            told = ((labelled[index], question.labelled[index].target or "") for index in result.unfit_labels)
            self._labels.drop_unfit((item, target.encode()) for item, target in told)
        return result, Kept(
            version=model.version,
            items=items,
            seed=seed,
            plan=result.plan,
            output=result.output,
            blob=blob,
            classes=result.kept_classes,
            clean_variance=result.clean_variance,
            nonfinite_rows=result.nonfinite_rows,
            is_usable=result.is_reference,
        )

    def _learn_rows(self, items: Sequence[Item], rejections: Rejections) -> None:
        if rejections.rows:
            self._sample.learn(rejections.rows, len(items) - len(rejections.unusable))

    def _require_rows(self) -> None:
        """How many rows there are is found out by decoding them; a sample that cannot have enough is spared that."""
        now = clock.now()
        if self._sample.most_rows(now) < self._settings.assess.min_rows:
            few = f"{self._sample.rows(now)} rows of {self._settings.assess.min_rows} are there"
            few += f"; of those before them {self._refusal}" if self._refusal else ""
            raise NotAssessedError("skipped", "too_few_inputs", few)

    async def _assess_against(self, kept: Kept, model: ModelVersion) -> Assessed:
        """Assess the loaded version on the sample, seed and scale of its reference, and take the verdict."""
        comparison = Comparison(
            version=kept.version,
            alpha=self._settings.compare.alpha,
            tolerance=self._settings.compare.tolerance,
            output=kept.output,
            clean_variance=kept.clean_variance,
            origins=kept.plan.origins,
            nonfinite_rows=kept.nonfinite_rows,
            classes=kept.classes,
        )
        number = self._numbers.next()
        question, blobs = self._question(model, kept.items, number, kept.seed)
        question = question.model_copy(update={"plan": kept.plan, "comparison": comparison})
        try:
            result, _ = await self._host.assess(question, [*blobs, kept.blob])
        except NotAssessedError:
            self._comparison_backoff.failed()  # until then it is assessed on inputs of its own
            raise
        self._take_served(question, kept.items, result)
        if result.verdict is None:
            self._comparison_backoff.failed()
            self._metrics.model_failures.labels("comparison", "not_comparable").inc()
            why = result.not_compared or NotCompared(reason="failed", why="no verdict came")
            log.warning("versions not comparable", version=model.version, reference_version=kept.version, why=why.why)
            self._obstacle = Pending(why.reason, why.why)
        else:
            self._take_verdict(model, result.verdict, result.plan.rows)
        return result

    def _now_in_memory(self) -> float:
        """Unix time of an entry made now, after all before it, whatever the wall clock did meanwhile."""
        return later_than(self._memory.entries, max(time.time(), self._quiet_at + 0.001))

    def _take_verdict(self, model: ModelVersion, verdict: Verdict, rows: int) -> None:
        ratio = verdict.pooled_ratio
        entry = judged(
            self._memory.entries,
            version=model.version,
            run_id=model.run_id,
            accepted=not verdict.worse,
            against=verdict.reference_version,
            pooled_ratio=None if math.isnan(ratio) else ratio,
            pvalue=verdict.pvalue,
            rows=rows,
            at=self._now_in_memory(),
            specification=self._settings.specification_digest,
        )
        self._memory.add(entry, Judged(version=model.version, run_id=model.run_id, verdict=verdict))
        self._judged_here = entry.key
        self._obstacle = None
        self.refresh()
        _log_verdict(model.version, verdict)

    def _question(
        self, model: ModelVersion, items: Sequence[Item], number: int, seed: int, labelled: Sequence[Item] = ()
    ) -> tuple[Assess, list[bytes]]:
        """The question, and its blobs."""
        assess = self._settings.assess
        blobs = [item.body for item in (*items, *labelled)]
        requests = [_request(item) for item in items]
        for request, item in zip(requests, items, strict=True):
            if item.feedback.answer is not None and self._is_to_compare(model, item):
                request.answer = len(blobs)
                blobs.append(item.feedback.answer)
        question = Assess(
            number=number,
            seed=seed,
            requests=requests,
            labelled=[_request(item) for item in labelled],
            rows_per_request=self._settings.inputs.rows_per_request,
            sample_rows=self._settings.inputs.sample_rows,
            specification=self._settings.specification,
            min_rows=assess.min_rows,
            max_seconds=assess.max_seconds,
            max_features=self._settings.drift.max_features,
            baseline=self._baseline(model),
            baseline_min_rows=self._settings.baseline.min_rows,
        )
        return question, blobs

    def _is_watched(self, model: ModelVersion) -> bool:
        """Whether that is the version served now, not the one that it is to be compared with."""
        watched = self._published.view.model
        return watched is not None and watched.version == model.version

    def _is_to_compare(self, model: ModelVersion, item: Item) -> bool:
        """Whether that version is the one watched, was so when the request came, and has not been compared yet."""
        return self._is_watched(model) and item.received_at >= self._watched_since and not item.feedback.answer_compared

    # --- versions ----------------------------------------------------------------------------------------------------

    @property
    def _reference_version(self) -> str | None:
        """The version to compare with: the one that a setting names, else the newest accepted one."""
        if self._settings.model.reference is not None:
            return self._follower.version_of(self._settings.model.reference)
        newest = self._reference_entry
        return newest.version if newest is not None else None

    @property
    def _reference_entry(self) -> Entry | None:
        """The newest accepted entry, leaving out one that does not spare this pod a verdict of its own."""
        newest = self._memory.reference
        if newest is not None and self._was_passed_meanwhile(newest):
            earlier = (entry for entry in reversed(self._memory.entries) if entry.accepted and entry is not newest)
            return next(earlier, None)
        return newest

    def _was_passed_meanwhile(self, entry: Entry) -> bool:
        """Whether another pod let a version pass after this one had begun with it.

        Of many pods that take up a bad version together one always passes it, and must not keep the others from
        finding it bad only because it was faster.
        """
        is_pass = entry.by == "verdict" and entry.accepted and entry.key != self._judged_here
        return is_pass and self._begun is not None and self._begun[0] == entry.key and self._begun[1] <= entry.at

    def _is_judged(self, model: ModelVersion) -> bool:
        """Whether that version has a verdict, of whatever pod: it is judged once.

        One that was accepted unseen has none, and is judged where a setting names a version to compare it with.
        """
        entry = self._memory.entry(model)
        if entry is None or entry.by != "first":
            return entry is not None
        return self._settings.model.reference is None or self._reference_version == model.version

    def _accept_unseen(self, model: ModelVersion) -> None:
        """Accept the very first version, for want of another to compare it with."""
        if self._is_judged(model) or not self._memory.is_complete:
            return
        reference = self._reference_version
        if reference not in (None, UNKNOWN_VERSION) or model.version == reference:
            return
        if reference is not None:
            self._memory.forget((UNKNOWN_VERSION, None))  # it told no version before
        at = self._now_in_memory()
        self._memory.add(Entry(version=model.version, run_id=model.run_id, accepted=True, by="first", at=at))
        self.refresh()
        why = "there is none to compare it with"
        log.warning("version accepted", version=model.version, because=why, note="accepted unseen")

    def _comparison_due(self, model: ModelVersion) -> bool:
        can_be = self._reference_version not in (None, model.version) and not self._comparison_backoff.waiting
        entry = self._memory.entry(model)
        return can_be and (not self._is_judged(model) or (entry is not None and self._was_passed_meanwhile(entry)))

    async def _reference_assessment(self, model: ModelVersion) -> Kept | None:
        """The assessment to compare `model` with; made now if it is not at hand, None where it cannot be made."""
        reference = str(self._reference_version)
        if self._kept is None or self._kept.version != reference or not self._kept.is_usable:
            self._require_rows()
            try:
                fetched = await self._fetched_reference(reference)
                if fetched is None or self._is_other_model(fetched):
                    return None
                await self._host.load(fetched)
                _, self._kept = await self._assess_sample(fetched)
            except RobmonError as error:
                self._comparison_backoff.failed()
                reason = error.reason if isinstance(error, NotAssessedError) else failure_reason(error)
                self._metrics.model_failures.labels("reference", reason).inc()
                log.warning("reference version not assessed", version=reference, reason=reason, error=str(error))
                self._obstacle = Pending(
                    _PENDING_REASONS.get(reason, "failed"), f"version {reference} cannot be assessed beside it: {error}"
                )
                return None
        return self._kept

    async def _fetched_reference(self, version: str) -> ModelVersion | None:
        """The reference's files; None while they are downloaded: a slow store must not hold up the assessments.

        Raises:
            RobmonError: they cannot be had.
        """
        seconds = 0.0
        if self._fetching is None or self._fetching[0] != version:
            await self.close()
            fetching = self._follower.fetch_version(version, self.needed_versions)
            self._fetching, seconds = (version, asyncio.create_task(fetching)), REFERENCE_WAIT_SECONDS
        _, task = self._fetching
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            self._obstacle = Pending("no_reference", f"version {version} is still being downloaded")
            return None
        self._fetching = None
        return task.result()

    async def close(self) -> None:
        """End the download of a reference."""
        if self._fetching is not None:
            _, task = self._fetching
            self._fetching = None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _is_other_model(self, fetched: ModelVersion) -> bool:
        """Whether what was accepted under that number is another model than the one that has it now."""
        newest = self._reference_entry
        if self._settings.model.reference is not None or newest is None or newest.run_id == fetched.run_id:
            return False
        log.warning("earlier verdict ignored: it is of another run", version=newest.version, run_id=newest.run_id)
        self._memory.forget(newest.key)
        return True

    # --- where the version stands ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Publish where the version served stands by what is remembered now."""
        model = self._published.view.model or self._follower.target
        served = (model.version, model.run_id) if model is not None else self._memory.served
        state = version_state(
            self._memory.entries,
            served,
            judged=self._memory.judged,
            is_reference=served is not None
            and self._settings.model.reference is not None
            and self._reference_version == served[0],
            quiet_at=self._quiet_at,
            specification=self._settings.specification_digest,
        )
        if state.is_accepted:
            self._quiet_at = later_than(self._memory.entries, time.time())
        pending = self._pending(model, state) if model is not None else ()
        notes = (*state.notes, *filter(None, [_as_sentence(self._memory.fallback)]))
        state = replace(state, pending=tuple(pending), notes=notes)
        self._published.publish(replace(self._published.view, state=state))

    def _pending(self, model: ModelVersion, state: VersionState) -> Iterator[Pending]:
        """Why nobody can rely on a verdict on that version."""
        version = model.version
        reference, is_judged = self._reference_version, self._is_judged(model)
        if state.unseen and is_judged:
            at = "" if state.accepted_at is None else f" at {clock.utc(state.accepted_at)}"
            why = f"It was accepted unseen{at}: there was no accepted version to compare it with."
            advice = "Accept it, or name a version in model.reference."
            yield Pending("no_reference", f"Accepted version: {version}. {why} {advice}")
        elif not is_judged and reference != version:
            if self._obstacle is not None:
                yield replace(self._obstacle, sentence=f"Version {version} is not judged: {self._obstacle.sentence}.")
            elif reference is None:
                why = self._memory.damage or "it is not known which version was accepted."
                yield Pending("no_reference", f"Version {version} is not judged: {why}")
            else:
                against = f"to be compared with version {reference}"
                yield Pending("too_few_rows", f"Version {version} is not judged yet: it waits for rows {against}.")
        if self._memory.not_kept:
            yield Pending("memory_not_kept", _as_sentence(self._memory.not_kept))

    def _see_obstacle(self, reason: str, problem: str) -> None:
        """Take note of why an assessment of a version without a verdict came to nothing."""
        if reason == "too_few_inputs":
            self._obstacle = Pending("too_few_rows", problem)
        elif reason not in ("none", "version_changed", *BEFORE_INPUTS):
            self._obstacle = Pending("failed", f"the last assessment ended with {reason}: {problem}")
        self.refresh()

    # --- results -----------------------------------------------------------------------------------------------------

    def _reserve_numbers(self) -> None:
        self._writer.write(
            lambda: self._history.reserve_numbers(NUMBERS_RESERVED), place="numbers", done=self._numbers.add
        )

    async def _read_baseline(self, model: ModelVersion) -> None:
        """Know the baseline recorded for that version, if there is one; a disk that hangs does not hold it up."""
        if model.version in self._baselines or model.version in self._unread:
            return
        recorded = model.baseline
        if recorded is None:
            try:
                read = self._history.read_baseline
                recorded = await self._baseline_writer.ask(lambda: read(model.version), BASELINE_SECONDS)
            except TimeoutError:
                self._unread.add(model.version)
                log.warning("recorded baseline not read", version=model.version, error="the disk does not answer")
        if recorded is not None:
            self._baselines[model.version] = self._written[model.version] = recorded

    def _baseline(self, model: ModelVersion) -> dict[str, Any] | None:
        return self._baselines.get(model.version)

    def _publish(self, model: ModelVersion, result: Assessed, items: Sequence[Item]) -> None:
        now = clock.now()
        self._baselines[model.version] = result.baseline
        self._write_baseline(model.version, result.baseline)
        fragile = shown_ids([items[index] for index in result.worst_requests])
        lost = dict.fromkeys(result.plan.origins[row] for row in result.nonfinite_rows)
        nonfinite = shown_ids([items[index] for index in lost])
        duration = sum(result.phase_seconds.values())
        self._published.publish(
            replace(
                self._published.view,
                baseline=_info(result.baseline),
                measurement=Measurement(model.version, result, now, duration, fragile, nonfinite),
                last_assessment_at=now,
            )
        )
        for phase, seconds in result.phase_seconds.items():
            self._metrics.duration.labels(phase).observe(seconds)
        for point in result.levels:
            self._metrics.nonfinite_outputs.labels(f"{point.level:g}").inc(point.nonfinite_outputs)
        summary = _summary(model, result)
        log.info("assessment", outcome="ok", reason="none", **summary)
        self._tell_notes(model, result)
        line = {"at": time.time(), "specification": self._settings.specification_digest, **summary}
        self._writer.write(lambda: self._history.append(line))

    def _tell_notes(self, model: ModelVersion, result: Assessed) -> None:
        """Notes are told when they change: most assessments have those of the one before."""
        if result.notes and result.notes != self._told_notes:
            log.info("notes", version=model.version, notes=result.notes)
        self._told_notes = result.notes

    def _take_served(self, question: Assess, items: Sequence[Item], result: Assessed) -> None:
        """What the answers said, each of them once: a quiet model's sample holds the same ones for an hour."""
        answered = [item for request, item in zip(question.requests, items, strict=True) if request.answer is not None]
        for item in answered:
            item.feedback.answer_compared = True
        if result.served is not None:
            newest = max(item.received_at for item in answered)
            self._published.publish(self._published.view.with_served(ServedComparison(result.served, newest)))
            self._tell_of_served()

    def _tell_of_served(self) -> None:
        """That answers differ is told when it begins and when it ends."""
        served = self._published.current_served(clock.now())
        differ = served is not None and served.mismatched > MISMATCH_RATIO * served.compared
        if served is not None and differ != self._served_differ:
            tell, what = (log.warning, "differ from") if differ else (log.info, "agree with")
            tell(f"served answers {what} this version's", compared=served.compared, mismatched=served.mismatched)
        self._served_differ = differ

    def _write_baseline(self, version: str, baseline: dict[str, Any]) -> None:
        """Write it where the disk has another, also one that could not be written before."""

        def write() -> None:
            self._history.write_baseline(version, baseline)
            self._written[version] = baseline

        if self._written.get(version) != baseline and version not in self._unread:
            self._baseline_writer.write(write, place=version)


def assessment_seed(name: str, version: str, number: int) -> int:
    """The seed of one assessment: another for each, and the same for the same.

    One fixed seed would make the bound right or wrong together all month.
    """
    return int.from_bytes(hashlib.blake2b(f"{name}/{version}/{number}".encode(), digest_size=8).digest()) >> 1


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _request(item: Item) -> SampledRequest:
    target = item.feedback.target
    return SampledRequest(
        format=item.format,
        headers=dict(item.headers),
        seed=item.seed,
        topped_up=item.topped_up,
        target=target.decode() if target is not None else None,
    )


def shown_ids(items: Iterable[Item]) -> tuple[str, ...]:
    """The first id of the first requests that have one, fit to be shown: printable ASCII."""
    ids = (item.feedback.ids[0] for item in items if item.feedback.ids)
    shown = ("".join(c if " " <= c <= "~" else "?" for c in each[:SHOWN_ID_CHARACTERS]) for each in ids)
    return tuple(islice(shown, SHOWN_IDS))


def _info(baseline: dict[str, Any] | None) -> BaselineInfo:
    if baseline is None:
        return BaselineInfo()
    return BaselineInfo(str(baseline.get("source")), int(baseline.get("rows", 0)), baseline.get("at"))


def _log_verdict(version: str, verdict: Verdict) -> None:
    tell = log.warning if verdict.worse else log.info
    tell(
        "robustness regressed" if verdict.worse else "robustness held",
        version=version,
        reference_version=verdict.reference_version,
        pooled_ratio=_rounded(verdict.pooled_ratio),
        pooled_low=_rounded(verdict.pooled_low),
        pooled_high=_rounded(verdict.pooled_high),
        score=verdict.score,
        compared=verdict.why,
        ratio_by_level=[_rounded(ratio) for ratio in verdict.ratio],
        disagreement=_rounded(verdict.disagreement),
        agreement_of_reference=_listed(verdict.agreement_a),
        agreement=_listed(verdict.agreement_b),
        on_flips=verdict.flip_note or None,
        pvalue=float(f"{verdict.pvalue:.3g}"),
        smallest_ratio_found=_rounded(verdict.detectable_ratio),
    )


def _rounded(value: float | None) -> float | str | None:
    return None if value is None else _finite(round(value, 4))


def _listed(values: Sequence[float] | None) -> list[float | str | None] | None:
    return None if values is None else [_rounded(value) for value in values]


def _summary(model: ModelVersion, result: Assessed) -> dict[str, Any]:
    """What is logged and remembered of an assessment: no input among it."""
    worst, slope = result.levels[-1], result.slopes.get("mse")
    return {
        "version": model.version,
        "number": result.number,
        "seed": result.seed,
        "rows": result.plan.rows,
        "trials": result.plan.trials,
        "cut": result.plan.cut or None,
        "noise_level": worst.level,
        "mse": _finite(worst.mean_mse),
        "bound": _finite(worst.bound),
        "index": result.index,
        "slope": slope.value if slope is not None else None,
        "baseline": result.baseline.get("source"),
        "seconds": round(sum(result.phase_seconds.values()), 3),
    }


def _finite(value: float) -> float | str:
    return value if abs(value) != float("inf") else "+Inf"
