"""What is known between deeds: of the version served, of the others, of the last tries; decisions are made of it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, Final

from robmon import clock
from robmon.daemon.decisions import decisions, pending
from robmon.daemon.decisions.decisions import Progress, State
from robmon.daemon.decisions.versions import Begun, Versions, begin
from robmon.daemon.memory.verdict_memory import VerdictMemory
from robmon.daemon.registry.follow import Follower
from robmon.daemon.results.kept import Kept
from robmon.daemon.timing.backoff import Backoff
from robmon.daemon.worker.host import ModelHost
from robmon.history.memory import Key
from robmon.history.standing import Pending, VersionState
from robmon.inputs.sample import Sample
from robmon.processes.messages.model import ModelVersion
from robmon.settings import Settings

COMPARISON_BACKOFF_SECONDS: Final = (10.0, 600.0)


class Known:
    """Remembers what deeds came to, and asks everybody else for what they know.

    Attributes:
        kept: the last assessment that another version can be compared with.
        obstacle: why the last try to judge the version served came to nothing.
        judged_here: the version of the last verdict taken here.
        comparison_backoff: until when no comparison is tried again.
    """

    def __init__(
        self, settings: Settings, follower: Follower, host: ModelHost, sample: Sample, memory: VerdictMemory
    ) -> None:
        self.kept: Kept | None = None
        self.obstacle: Pending | None = None
        self.judged_here: Key | None = None
        self.comparison_backoff = Backoff(COMPARISON_BACKOFF_SECONDS)
        self._settings = settings
        self._follower = follower
        self._host = host
        self._sample = sample
        self._memory = memory
        self._progress = Progress()
        self._tried_version: str | None = None
        self._refusal = ""
        self._begun: Begun | None = None
        self._quiet_at = -math.inf
        self._stood_since: float | None = None
        before = self.versions
        self._stood_since = pending.stood_since(before, pending.standing(before, None, None))  # by what was served last

    @property
    def state(self) -> State:
        """All of it, as it is now."""
        now = clock.now()
        return State(
            target=self._follower.target,
            lookup_failure=self._follower.failure or "",
            usable=self._host.usable,
            in_worker=self._host.version,
            idle_seconds=self._host.idle_seconds,
            idle_release_seconds=self._settings.device.idle_release_seconds,
            is_worker_waiting=self._host.waiting,
            is_comparison_waiting=self.comparison_backoff.waiting,
            versions=self.versions,
            kept=self.kept,
            rows=self._sample.rows(now),
            most_rows=self._sample.most_rows(now),
            most_verdict_rows=self._sample.most_rows(now, with_old=True),
            min_rows=self._settings.assess.min_rows,
            refusal=self._refusal,
            tried_version=self._tried_version,
            progress=self._progress,
        )

    @property
    def versions(self) -> Versions:
        """What of it is of the model's versions."""
        named = self._settings.model.reference
        return Versions(
            memory=self._memory.state,
            setting=self._follower.version_of(named) if named is not None else None,
            begun=self._begun,
            judged_here=self.judged_here,
            quiet_at=self._quiet_at,
            stood_since=self._stood_since,
            specification=self._settings.specification_digest,
            unix_seconds=time.time(),
        )

    def begin(self) -> None:
        """An assessment begins: nothing of it is done."""
        self._progress = Progress()

    def go_on(self, **done: Any) -> None:
        """That of it is done, by the names of `Progress`."""
        self._progress = replace(self._progress, **done)

    def begin_with(self, model: ModelVersion) -> None:
        """That version is about to be loaded, or assessed."""
        self._begun = begin(self._begun, model, time.time())

    def end(self, reason: str, problem: str, *, was_unknown: bool) -> int:
        """An assessment ended for that reason, `none` of a good one; gives how many rows there are now.

        Args:
            reason: why it ended.
            problem: the same in words.
            was_unknown: whether the version was not known before it.
        """
        state = self.state
        self._refusal = decisions.refusal_after(self._refusal, reason, problem)
        self._tried_version = decisions.tried_version_after(state, reason, was_unknown)
        self.obstacle = pending.obstacle_after(
            self.obstacle, reason, problem, has_rows=decisions.has_kept_reference(state)
        )
        return state.rows

    def standing(self, model: ModelVersion | None) -> VersionState:
        """Where the version served stands, from now on; None: no version is known, and the last one counts."""
        versions = self.versions
        awaited_rows = decisions.awaited_rows(self.state)
        state = pending.standing(versions, model, self.obstacle, awaited_rows=awaited_rows)
        self._quiet_at = pending.quiet_at(versions, state)
        self._stood_since = pending.stood_since(versions, state)
        return state
