"""Attacks the version served, where that is set: after an assessment, in its worker. Never raises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

import structlog

from robmon import clock
from robmon.daemon.journal.chronicle import Chronicle
from robmon.daemon.memory.recorded_baselines import RecordedBaselines
from robmon.daemon.memory.writer import Writer
from robmon.daemon.registry.follow import Follower
from robmon.daemon.results.publication import Finding
from robmon.daemon.worker.attacks import (
    AttackState,
    attack_question,
    attack_refusal,
    attack_terms,
    begun,
    ended,
    is_due,
)
from robmon.daemon.worker.host import ModelHost
from robmon.daemon.worker.not_assessed import NotAssessedError
from robmon.export.metrics import Metrics
from robmon.export.published import AttackView, Published
from robmon.history.attack import AttackFound, AttackRecord
from robmon.history.store import History
from robmon.inputs.sample import Item
from robmon.processes.messages.model import ModelVersion
from robmon.settings import Settings

log = structlog.get_logger("robmon.attack")

SETTLE_SECONDS: Final = 1.0
"""How long it is waited for that the disk has it that an attack begins."""


class Attacker:
    """Knows when the last attack was, also before this start."""

    def __init__(
        self,
        settings: Settings,
        follower: Follower,
        host: ModelHost,
        baselines: RecordedBaselines,
        history: History,
        writer: Writer,
        chronicle: Chronicle,
        metrics: Metrics,
        published: Published,
    ) -> None:
        self._settings = settings
        self._follower = follower
        self._host = host
        self._baselines = baselines
        self._history = history
        self._writer = writer
        self._chronicle = chronicle
        self._metrics = metrics
        self._published = published
        self._refusal = attack_refusal(settings)
        self._terms = attack_terms(settings)
        self._record: AttackRecord | None = None
        self._began_at = 0.0
        self._asking: asyncio.Task[AttackFound] | None = None
        if settings.attack.enabled:
            self._recall()

    def _recall(self) -> None:
        """What was found before this start; that there is no attack, if so."""
        try:
            record = self._history.read_attack(self._settings.scope)
        except (OSError, ValueError) as error:
            log.error("the last attack is not known", error=type(error).__name__)
            record = None
        if record is not None:
            self._record, self._began_at = record, min(clock.from_wall(record.began_at), clock.now())
        if self._refusal:
            log.warning("not attacked", because=self._refusal)
        self._publish()

    async def attack_if_due(self, model: ModelVersion, finding: Finding, *, is_verdict_due: bool) -> None:
        """Attack, where it is time for that.

        Args:
            model: the version that was assessed just now.
            finding: what was found of it.
            is_verdict_due: whether the next assessment is to compare it with another.
        """
        state = AttackState(
            is_allowed=self._settings.attack.enabled and not self._refusal,
            assessed=model,
            target=self._follower.target,
            in_worker=self._host.version,
            is_verdict_due=is_verdict_due,
            last=self._record,
            terms=self._terms,
            age_seconds=clock.now() - self._began_at,
            interval_seconds=self._settings.attack.interval_seconds,
        )
        if is_due(state):
            try:
                await self._attack(model, finding)
            except Exception as error:  # its text may hold an input
                log.error("attack", version=model.version, outcome="failed", reason="error", error=type(error).__name__)
                self._metrics.attacks.labels("failed", "error").inc()

    def interrupt(self) -> None:
        """Another version is served: an attack under way ends at once, with the worker, which would be ended anyhow."""
        if self._asking is not None:
            self._asking.cancel()

    async def _attack(self, model: ModelVersion, finding: Finding) -> None:
        self._record = begun(model, self._terms, self._record, time.time())
        self._began_at = clock.now()
        self._write(self._record)
        await self._writer.settle(SETTLE_SECONDS)  # one that ends this process is not made again at the next start
        question, blobs = attack_question(
            self._settings,
            model,
            _assessed_first(finding),
            number=finding.result.number,
            baseline=self._baselines.of(model.version),
        )
        log.info("attack begins", version=model.version, requests=len(blobs))
        self._asking = asyncio.create_task(self._host.attack(question, blobs))
        try:
            found = await self._asking
        except NotAssessedError as error:
            if error.served_version is not None:
                self._follower.observe(error.served_version)
            self._tell_failure(model, error.outcome, error.reason, str(error))
            return
        except asyncio.CancelledError:
            if cast("asyncio.Task[None]", asyncio.current_task()).cancelling():
                raise  # the daemon ends
            self._record, self._began_at = None, 0.0
            self._tell_failure(model, "skipped", "version_changed", "another version is served")
            return
        finally:
            self._asking = None
        self._record = ended(self._record, found, time.time())
        self._write(self._record)
        self._metrics.attacks.labels("ok", "none").inc()
        self._tell(model, found)
        self._publish()

    def _write(self, record: AttackRecord) -> None:
        self._writer.write(lambda: self._history.write_attack(self._settings.scope, record), place="attack")

    def _publish(self) -> None:
        """The result, if any, and why there is none."""
        record, view = self._record, None
        if record is not None and record.found is not None and record.found_at is not None:
            at = min(clock.from_wall(record.found_at), clock.now())
            view = AttackView(record.version, record.run_id, record.found, at)
        self._published.publish(replace(self._published.view, attack=view, attack_refusal=self._refusal))

    def _tell(self, model: ModelVersion, found: AttackFound) -> None:
        log.info(
            "attack",
            version=model.version,
            outcome="ok",
            reason="none",
            radii=found.radii,
            agreement={name: [round(share, 4) for share in shares] for name, shares in found.agreement.items()},
            certified={name: [round(share, 4) for share in shares] for name, shares in found.certified.items()},
            gradient=found.gradient,
            masked=found.masked,
            rows=found.rows,
            queries=round(found.queries),
            seconds=found.seconds,
            seed=found.seed,
            cut=found.cut or None,
            notes=found.notes,
        )
        self._chronicle.tell_attack(model, found)

    def _tell_failure(self, model: ModelVersion, outcome: str, reason: str, why: str) -> None:
        self._metrics.attacks.labels(outcome, reason).inc()
        tell = log.info if reason == "version_changed" else log.warning
        tell("attack", version=model.version, outcome=outcome, reason=reason, error=why)


def _assessed_first(finding: Finding) -> Sequence[Item]:
    """The requests of an assessment: those whose rows were assessed, then the others."""
    assessed = dict.fromkeys(finding.result.plan.origins)
    others = (place for place in range(len(finding.items)) if place not in assessed)
    return [finding.items[place] for place in (*assessed, *others)]
