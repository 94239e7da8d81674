"""Which version others are compared with, and which has its verdict: rules, as functions of what is known. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from robmon.history.memory import Entries, Entry, Key, judged, later_than, of_version, reference
from robmon.history.scope import Judged
from robmon.history.verdict import Verdict
from robmon.models.uri import UNKNOWN_VERSION
from robmon.processes.messages.model import ModelVersion


@dataclass(frozen=True)
class MemoryState:
    """What is remembered of verdicts, here and by others, and how well."""

    entries: Entries = ()
    is_complete: bool = True
    """Whether all has been read, and could be understood: only then an empty memory means that nothing was."""
    judged: Judged | None = None
    """The last verdict in full."""
    served: Key | None = None
    """What was served last."""
    damage: str = ""
    """A sentence on what cannot be understood, while nothing is known in its place."""
    not_kept: str = ""
    """A sentence on why verdicts would not outlive this pod."""
    fallback: str = ""
    """A sentence on where they are kept instead of the registry."""


@dataclass(frozen=True)
class Begun:
    """The version that was last begun with here, and the Unix time of that."""

    key: Key
    at: float


@dataclass(frozen=True)
class Versions:
    """What is known of the model's versions."""

    memory: MemoryState = field(default_factory=MemoryState)
    setting: str | None = None
    """The version that `model.reference` stands for; None where it is not set."""
    begun: Begun | None = None
    judged_here: Key | None = None
    """The version of the last verdict taken here."""
    quiet_at: float = -math.inf
    """Unix time at which an accepted version was last seen served."""
    stood_since: float | None = None
    """Unix time at which the regression began that was seen here to stand until now; None where none was."""
    specification: str = ""
    """Digest of the settings that judge now."""
    unix_seconds: float = 0.0
    """What the wall clock says."""

    @property
    def reference(self) -> str | None:
        """The version to compare with: the one that a setting names, else the newest accepted one."""
        if self.setting is not None:
            return self.setting
        newest = self.reference_entry
        return newest.version if newest is not None else None

    @property
    def reference_entry(self) -> Entry | None:
        """The newest accepted entry, leaving out one that does not spare this pod a verdict of its own."""
        newest = reference(self.memory.entries)
        if newest is not None and self.was_passed_meanwhile(newest):
            earlier = (entry for entry in reversed(self.memory.entries) if entry.accepted and entry is not newest)
            return next(earlier, None)
        return newest

    @property
    def next_at(self) -> float:
        """Unix time of an entry made now, after all before it, whatever the wall clock did meanwhile."""
        return later_than(self.memory.entries, max(self.unix_seconds, self.quiet_at + 0.001))

    def entry(self, model: ModelVersion) -> Entry | None:
        """What is remembered of that version."""
        return of_version(self.memory.entries, model.version, model.run_id)

    def was_passed_meanwhile(self, entry: Entry) -> bool:
        """Whether another pod let a version pass after this one had begun with it.

        Of many pods that take up a bad version together one always passes it, and must not keep the others from
        finding it bad only because it was faster.
        """
        is_pass = entry.by == "verdict" and entry.accepted and entry.key != self.judged_here
        return is_pass and self.begun is not None and self.begun.key == entry.key and self.begun.at <= entry.at

    def is_judged(self, model: ModelVersion) -> bool:
        """Whether that version has a verdict, of whatever pod: it is judged once.

        One that was accepted unseen has none, and is judged where a setting names a version to compare it with.
        """
        entry = self.entry(model)
        if entry is None or entry.by != "first":
            return entry is not None
        return self.setting is None or self.reference == model.version

    def is_to_be_compared(self, model: ModelVersion) -> bool:
        """Whether that version needs a verdict, and there is another to compare it with."""
        if self.reference in (None, model.version):
            return False
        entry = self.entry(model)
        return not self.is_judged(model) or (entry is not None and self.was_passed_meanwhile(entry))

    def unseen_entry(self, model: ModelVersion) -> Entry | None:
        """The entry by which the very first version is accepted, for want of another to compare it with; else None."""
        if self.is_judged(model) or not self.memory.is_complete:
            return None
        if self.reference not in (None, UNKNOWN_VERSION) or model.version == self.reference:
            return None
        return Entry(version=model.version, run_id=model.run_id, accepted=True, by="first", at=self.next_at)

    def entry_of_other_run(self, fetched: ModelVersion) -> Entry | None:
        """What made that version the reference, where it is of another model than the one that has its number now."""
        newest = self.reference_entry
        if self.setting is not None or newest is None or newest.run_id == fetched.run_id:
            return None
        return newest

    def verdict_entry(
        self, model: ModelVersion, verdict: Verdict, rows: int, error_ratio: float | None = None
    ) -> Entry:
        """The entry of a version that was compared now, on so many rows.

        Args:
            model: the version.
            verdict: on it.
            rows: of the comparison.
            error_ratio: its mean row error at the highest level over the reference's: of classifiers the verdict tests
                another one. Its upper limit is as far above it as that of the pooled ratio.
        """
        ratio = verdict.pooled_ratio
        return judged(
            self.memory.entries,
            version=model.version,
            run_id=model.run_id,
            accepted=not verdict.worse,
            against=verdict.reference_version,
            pooled_ratio=None if math.isnan(ratio) else ratio,
            pvalue=verdict.pvalue,
            rows=rows,
            at=self.next_at,
            specification=self.specification,
            limits=(verdict.pooled_low, verdict.pooled_high),
            score=verdict.score,
            error_ratio_high=_high(error_ratio, verdict),
            stood_since=self.stood_since,
        )


def _high(error_ratio: float | None, verdict: Verdict) -> float | None:
    spread = verdict.pooled_high / verdict.pooled_ratio if verdict.pooled_ratio > 0 else math.nan
    high = math.nan if error_ratio is None else error_ratio * spread
    return high if math.isfinite(high) and high > 0 else None


def begin(begun: Begun | None, model: ModelVersion, unix_seconds: float) -> Begun:
    """After that version is loaded to be assessed, or assessed in another's place: only another one is a beginning."""
    key = model.version, model.run_id
    return begun if begun is not None and begun.key == key else Begun(key, unix_seconds)
