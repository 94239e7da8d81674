"""Carries out what `decisions.decide` says, one deed after another, and publishes what comes of it.

A new version is assessed on the sample, the seed and the noise scale of the last assessment of its reference version,
which stays in memory for that purpose. Where there is none, as in a new pod, the reference version is assessed first.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Final, assert_never

import structlog

from robmon import clock
from robmon.daemon.decisions import decisions, pending
from robmon.daemon.decisions.causes import CauseSearch
from robmon.daemon.decisions.decisions import decide
from robmon.daemon.decisions.turns import Turns
from robmon.daemon.journal.journal import Journal
from robmon.daemon.known import Known
from robmon.daemon.memory.baseline_sharing import BaselineSharing
from robmon.daemon.memory.recorded_baselines import RecordedBaselines
from robmon.daemon.memory.regression_watch import RegressionWatch
from robmon.daemon.memory.verdict_memory import VerdictMemory
from robmon.daemon.memory.writer import Writer
from robmon.daemon.registry.follow import Follower, failure_reason
from robmon.daemon.registry.reference_download import ReferenceDownload
from robmon.daemon.results.evidence import Evidence, evidence_after
from robmon.daemon.results.publication import Finding, view_after
from robmon.daemon.worker.examiner import Examiner
from robmon.daemon.worker.host import ModelHost
from robmon.daemon.worker.not_assessed import NotAssessedError
from robmon.errors import RobmonError
from robmon.export.published import Published, View, served_since
from robmon.history.baseline.inheritance import inherits_from
from robmon.history.scope import Judged
from robmon.history.standing import Pending
from robmon.inputs.sample import Sample
from robmon.models.uri import UNKNOWN_VERSION
from robmon.processes.messages.comparison import NotCompared
from robmon.processes.messages.model import ModelVersion
from robmon.settings import Settings

log = structlog.get_logger("robmon.assess")

SETTLE_SECONDS: Final = 1.0
"""How long the positions of the rows assessed are waited for: a kill between the two would have them assessed twice."""


class Runner:
    """Runs assessments; `assess` never raises, whatever model, registry or disk do."""

    def __init__(
        self,
        settings: Settings,
        follower: Follower,
        host: ModelHost,
        sample: Sample,
        examiner: Examiner,
        memory: VerdictMemory,
        baselines: RecordedBaselines,
        watch: RegressionWatch,
        sharing: BaselineSharing,
        writer: Writer,
        journal: Journal,
        published: Published,
    ) -> None:
        self._settings = settings
        self._follower = follower
        self._host = host
        self._examiner = examiner
        self._memory = memory
        self._baselines = baselines
        self._watch = watch
        self._sharing = sharing
        self._writer = writer
        self._journal = journal
        self._published = published
        self._download = ReferenceDownload(follower)
        self._known = Known(settings, follower, host, sample, memory)
        self.concluded: tuple[ModelVersion, Finding] | None = None
        """The version that was assessed just now, and what was found of it; None where that came to nothing."""
        self._finding: Finding | None = None
        self._fresh_evidence: Evidence | None = None
        self.evidence: Evidence | None = None
        """By which the numbers that matter are computed again: those of the verdict while its regression stands, else
        those of the last assessment."""
        self._causes = CauseSearch(settings.attribution.by_name)
        self._turns = Turns(len(settings.assess.noises))
        self._served_since = -math.inf
        """When another version was loaded than the one before, by the clock that never steps: older answers are its."""
        self.refresh()

    @property
    def needed_versions(self) -> list[str]:
        """Versions whose files must stay on disk."""
        return decisions.needed_versions(self._known.state)

    @property
    def may_start_first(self) -> bool:
        """Whether the first assessment of the version served now can be made at once."""
        return decisions.may_start_first(self._known.state)

    @property
    def is_verdict_due(self) -> bool:
        """Whether the next assessment is to compare the version that was assessed just now with another."""
        return self.concluded is not None and decisions.is_comparison_due(self._known.state, self.concluded[0])

    async def prepare(self) -> None:
        """Load the version served now, so that it is ready before there are inputs."""
        self._known.begin()
        if isinstance(deed := decide(self._known.state), decisions.Load):
            try:
                await self._load(deed)
            except NotAssessedError as error:
                log.warning("model not ready", reason=error.reason)

    async def assess(self) -> None:
        """Run one assessment, count its outcome and publish its result."""
        started, self.concluded = time.monotonic(), None
        outcome, reason, problem, view = "ok", "none", "", None
        was_unknown = self._follower.target is not None and self._follower.target.version == UNKNOWN_VERSION
        try:
            view = await self._run()
        except NotAssessedError as error:
            outcome, reason, problem = error.outcome, error.reason, str(error)
            if error.served_version is not None:
                self._follower.observe(error.served_version)
            self._journal.tell_no_result(outcome, reason, problem, time.monotonic() - started)
        except Exception as error:
            outcome, reason, problem = "failed", "error", type(error).__name__
            self._journal.tell_error(error)
        rows = self._known.end(reason, problem, was_unknown=was_unknown)
        self._journal.tell_end(outcome, reason, problem, rows)
        self._publish(self._as_loaded(view or self._published.view).with_outcome(outcome, reason, problem))

    def _as_loaded(self, view: View) -> View:
        """The view, with the model as it lies in the worker now: it may have left its device."""
        is_of_view = view.model is not None and self._host.version == view.model.version
        return replace(view, loaded=self._host.loaded) if is_of_view else view

    def request_shares(self) -> None:
        """Have it measured at the next assessment which features carry the noise error."""
        self._causes.request()
        log.info("noise error is shared out at the next assessment")

    def refresh(self) -> None:
        """Publish where the version served stands by what is remembered now."""
        self._publish(self._published.view)

    async def release_idle(self) -> None:
        """End a worker that is idle for so long that it is to give its memory back until the next assessment."""
        if decisions.may_release(self._known.state):
            await self._host.release()

    async def close(self) -> None:
        """End what goes on between assessments."""
        await self._download.close()

    # --- one deed after another --------------------------------------------------------------------------------------

    async def _run(self) -> View:
        """One assessment: the view after it.

        Raises:
            NotAssessedError: it is skipped, or failed.
        """
        self._finding, self._fresh_evidence = None, None
        self._known.begin()
        while not isinstance(deed := decide(self._known.state), decisions.Publish):
            await self._carry_out(deed)
        await self._writer.settle(SETTLE_SECONDS)
        return self._conclude(deed.model)

    async def _carry_out(self, deed: decisions.Step) -> None:
        match deed:
            case decisions.Skip():
                raise NotAssessedError("skipped", deed.reason, deed.why)
            case decisions.Load():
                await self._load(deed)
            case decisions.Accept():
                self._accept(deed)
            case decisions.FetchReference():
                await self._fetch_reference(deed)
            case decisions.Forget():
                self._forget(deed)
            case decisions.AssessReference():
                await self._assess_reference(deed)
            case decisions.AssessSample():
                await self._assess_sample(deed)
            case decisions.AssessAgainst():
                await self._assess_against(deed)
            case decisions.Keep():
                self._known.kept = deed.kept
            case _:
                assert_never(deed)

    # --- versions ----------------------------------------------------------------------------------------------------

    async def _load(self, deed: decisions.Load) -> None:
        self._known.begin_with(deed.model)
        self.refresh()  # as long as the version before is the one served
        model = await self._host.use(deed.model)
        await self._baselines.read(model)
        await self._baselines.read_others(inherits_from(self._memory.entries, model.version, model.run_id))
        await self._watch.begin(model, self._baselines.of(model.version), self._memory.entries)
        view = self._published.view
        if view.model is None or view.model.version != model.version:
            if view.model is not None:
                self._served_since = clock.now()
            view = replace(view, baseline=self._baselines.info(model.version), served=()).without_causes()
            self._known.obstacle = None
            self._memory.see_served(model)
        self._known.go_on(model=model)
        self._publish(replace(view, model=model, loaded=self._host.loaded, detection=self._watch.record))

    def _accept(self, deed: decisions.Accept) -> None:
        if deed.instead_of is not None:
            self._memory.forget(deed.instead_of)
        self._memory.add(deed.entry)
        self._known.go_on(has_accepted=True)
        self.refresh()
        self._journal.tell_acceptance(deed.entry)

    def _forget(self, deed: decisions.Forget) -> None:
        self._journal.tell_other_run(deed.entry)
        self._memory.forget(deed.entry.key)
        self._known.go_on(reference="missing")

    async def _fetch_reference(self, deed: decisions.FetchReference) -> None:
        try:
            fetched = await self._download.fetch(deed.version, self.needed_versions)
        except RobmonError as error:
            self._give_up_reference(deed.version, error)
            return
        if fetched is None:
            self._known.obstacle = pending.obstacle_of_download(deed.version)
        self._known.go_on(reference="missing" if fetched is None else "fetched", fetched=fetched)

    async def _assess_reference(self, deed: decisions.AssessReference) -> None:
        try:
            await self._host.load(deed.model)
            _, self._known.kept = await self._examiner.assess_sample(deed.model, None, with_old=deed.with_old)
        except RobmonError as error:
            self._give_up_reference(deed.model.version, error)
        else:
            self._known.go_on(reference="assessed")

    def _give_up_reference(self, version: str, error: RobmonError) -> None:
        """For this time."""
        self._known.comparison_backoff.failed()
        reason = error.reason if isinstance(error, NotAssessedError) else failure_reason(error)
        self._journal.tell_no_reference(version, reason, error)
        self._known.obstacle = pending.obstacle_of_reference(version, reason, str(error))
        self._known.go_on(reference="missing")

    # --- the two ways to assess, and what comes of them --------------------------------------------------------------

    async def _assess_sample(self, deed: decisions.AssessSample) -> None:
        self._known.begin_with(deed.model)
        view = self._published.view
        standing, regression = view.worse_since, view.state.regression
        is_of_versions = standing is not None and standing[0] == "version" and regression is not None
        before = self._baselines.of(regression.reference_version) if regression and is_of_versions else None
        asked = self._causes.question(standing, before)
        try:
            self._finding, fresh = await self._examiner.assess_sample(
                deed.model, self._answers_since(deed.model), asked, further=self._turns.begin()
            )
        except NotAssessedError as error:
            self._turns.end(error.outcome)
            raise
        self._turns.end("ok")
        self._fresh_evidence = fresh.evidence
        self._causes.take(asked, standing, self._finding.result.shares)
        self._known.go_on(is_assessed=True, fresh=fresh)

    async def _assess_against(self, deed: decisions.AssessAgainst) -> None:
        """Assess, and take the verdict."""
        model = deed.model
        self._known.begin_with(model)
        try:
            asked = self._causes.question(None, self._baselines.of(deed.kept.version))
            self._finding, self._fresh_evidence = await self._examiner.assess_against(
                model, deed.kept, self._answers_since(model), asked
            )
        except NotAssessedError as error:
            self._known.comparison_backoff.failed()  # until then it is assessed on inputs of its own
            if error.reason == "too_few_inputs":
                self._known.obstacle = pending.lack_of_rows(f"of version {deed.kept.version}'s requests {error}")
            raise
        self._known.go_on(is_assessed=True)
        result = self._finding.result
        if result.verdict is None:
            why = result.not_compared or NotCompared(reason="failed", why="no verdict came")
            self._known.comparison_backoff.failed()
            self._journal.tell_no_verdict(model.version, deed.kept.version, why.why)
            self._known.obstacle = Pending(why.reason, why.why)
            return
        before, now = deed.kept.mean_error, result.levels[-1].mean_mse
        ratio = now / before if before > 0 else None
        entry = self._known.versions.verdict_entry(model, result.verdict, result.plan.rows, ratio)
        self._memory.add(entry, Judged(version=model.version, run_id=model.run_id, verdict=result.verdict))
        self._known.judged_here, self._known.obstacle = entry.key, None
        self.refresh()
        self._causes.take(asked, self._published.view.worse_since, result.shares)
        self._journal.tell_verdict(model.version, result.verdict)

    def _answers_since(self, model: ModelVersion) -> float | None:
        """Since when that version has been served; None of one that it is to be compared with."""
        served = self._published.view.model
        return self._served_since if served is not None and served.version == model.version else None

    def _conclude(self, model: ModelVersion) -> View:
        """Tell and keep what was found; the view after it."""
        finding, now = self._finding, clock.now()
        if finding is None:
            raise RuntimeError("nothing was assessed")
        self._baselines.learn(model.version, finding.result.baseline)
        self._sharing.put(model, finding.result.baseline, finding.result.new_hours)
        view = view_after(self._published.view, model, finding, self._baselines.info(model.version), now)
        view = replace(view, detection=self._watch.record)
        if finding.served is not None:
            self._journal.tell_served(served_since(view, now - self._settings.inputs.max_age_seconds))
        self._journal.tell_result(model, finding)
        self._journal.tell_causes(model.version, view)
        self.concluded = model, finding
        self.evidence = evidence_after(self.evidence, self._fresh_evidence, self._published.view.state)
        if self.evidence is not None and self._known.kept is not None:
            self.evidence = self.evidence.held_by(self._known.kept.items)
        return view

    def _publish(self, view: View) -> None:
        """The one way to the exporter: that, and where the version stands."""
        state = self._known.standing(view.model or self._follower.target)
        self._published.publish(replace(view, state=state))
