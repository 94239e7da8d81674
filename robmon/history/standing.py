"""Where the version served now stands: accepted, rejected, or without a verdict, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from robmon.history.memory import Entries, Key, of_version, ratio_since, reference, standing_rejection
from robmon.history.scope import Judged
from robmon.history.verdict import Verdict
from robmon.vocabulary import ComparisonScore, PendingReason


@dataclass(frozen=True)
class Pending:
    """Why there is no verdict that can be relied on."""

    reason: PendingReason
    sentence: str
    """In words, without any input."""


@dataclass(frozen=True)
class Regression:
    """A version that is worse than the accepted one beyond chance and tolerance."""

    version: str
    reference_version: str
    since: float
    """Unix time at which the regression was found."""
    pooled_ratio: float | None = None
    pvalue: float | None = None
    pooled_low: float | None = None
    pooled_high: float | None = None
    """Limits of the ratio, None where they were not remembered."""
    score: ComparisonScore | None = None
    """What was compared, None where that was not remembered."""


@dataclass(frozen=True)
class VersionState:
    """What is known of the version served, from verdicts made here or remembered."""

    version: str | None = None
    """The version served; None before one is loaded."""
    is_accepted: bool = False
    accepted_by: Literal["person", "verdict", "first", "setting"] | None = None
    """Who accepted the version served, as in `memory.Entry`; `setting`: none did, and `model.reference` names it."""
    accepted_at: float | None = None
    """Unix time of that; None where a setting names it."""
    unseen: bool = False
    """Whether it was accepted only because there was nothing to compare it with."""
    accepted_version: str | None = None
    """The version that new ones are compared with."""
    regression: Regression | None = None
    """The regression that stands, of this version or of one before it."""
    verdict: Verdict | None = None
    """The last verdict in full, where it is of this version or of the regression."""
    pending: tuple[Pending, ...] = ()
    ratio_since: tuple[str, float] | None = None
    """A version, and the product of the pooled ratios of all that were accepted since."""
    notes: tuple[str, ...] = ()
    """Sentences on what else is to be known of the verdicts."""


def version_state(
    entries: Entries,
    served: Key | None,
    *,
    judged: Judged | None = None,
    is_reference: bool = False,
    quiet_at: float = -math.inf,
    specification: str = "",
) -> VersionState:
    """Where the version served stands by what is remembered; what is pending is for others to add.

    Args:
        entries: the memory.
        served: version and run id; None where they are not known.
        judged: the last verdict in full.
        is_reference: whether a setting calls this version the reference.
        quiet_at: as in `memory.standing_rejection`.
        specification: digest of the settings that judge now.
    """
    if served is None:
        return VersionState()
    entry = of_version(entries, *served)
    rejection = standing_rejection(entries, *served, quiet_at)
    is_accepted = rejection is None and (is_reference or (entry is not None and entry.accepted))
    acceptance = entry if is_accepted and entry is not None and not (is_reference and entry.by == "first") else None
    newest = reference(entries)
    accepted = entry if entry is not None and entry.accepted else newest
    shown = served if rejection is None else rejection.key
    known = rejection or entry
    notes = []
    if known is not None and known.by == "verdict" and known.specification != specification:
        notes.append(
            f"Version {known.version} was judged under other settings: the verdict still counts, and its ratio enters "
            "no product."
        )
    return VersionState(
        version=served[0],
        is_accepted=is_accepted,
        accepted_by=acceptance.by if acceptance is not None else "setting" if is_accepted else None,
        accepted_at=acceptance.at if acceptance is not None else None,
        unseen=entry is not None and entry.by == "first" and not is_reference,
        accepted_version=newest.version if newest is not None else None,
        regression=None
        if rejection is None
        else Regression(
            rejection.version,
            rejection.against or "",
            rejection.stands_since,
            rejection.pooled_ratio,
            rejection.pvalue,
            rejection.pooled_low,
            rejection.pooled_high,
            rejection.score,
        ),
        verdict=judged.verdict if judged is not None and (judged.version, judged.run_id) == shown else None,
        ratio_since=ratio_since(entries, accepted, specification) if accepted is not None else None,
        notes=tuple(notes),
    )
