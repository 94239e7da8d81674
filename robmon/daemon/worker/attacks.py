"""When the version served is attacked, and what is asked then: a function of what is known. No I/O, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from robmon.daemon.worker.question import assessment_question, assessment_seed
from robmon.history.attack import AttackFound, AttackRecord
from robmon.inputs.sample import Item
from robmon.models.uri import is_endpoint
from robmon.processes.messages.attack import AttackRows
from robmon.processes.messages.model import ModelVersion
from robmon.settings import Settings

SPARE: Final = 2
"""So many times the requests are sent that have the rows: of some none can be used."""


@dataclass(frozen=True)
class AttackState:
    """What the daemon knows when an assessment has ended."""

    is_allowed: bool
    """Whether there is an attack at all, see `attack_refusal`."""
    assessed: ModelVersion
    """The version of that assessment, which was a good one."""
    target: ModelVersion | None
    """The version served."""
    in_worker: str | None
    """The version that the worker has loaded."""
    is_verdict_due: bool
    """Whether the next assessment is to compare that version with another."""
    last: AttackRecord | None
    """The last attack that was begun, well or not."""
    terms: str
    """A short word for the settings of attacks."""
    age_seconds: float
    """Since the last attack was begun, by the clock that never steps."""
    interval_seconds: float


def is_due(state: AttackState) -> bool:
    """Whether the version just assessed is attacked now: seldom, and in nobody's way.

    An assessment has just ended, so that the next one is as far away as ever. A version that is to be compared, and one
    that is already replaced, are not attacked; one that is new, or was attacked under other settings, is at once.
    """
    model, last = state.assessed, state.last
    if not state.is_allowed or state.is_verdict_due:
        return False
    if state.in_worker != model.version or state.target is None or state.target.version != model.version:
        return False
    is_known = last is not None and _is_of(last, model, state.terms)
    return not is_known or state.age_seconds >= state.interval_seconds


def attack_refusal(settings: Settings) -> str:
    """Why the model is never attacked although that is asked for, in words; empty where it is, or nobody asks."""
    if not settings.attack.enabled:
        return ""
    if settings.assess.task != "classification":
        return f"an attack changes classes, and assess.task is {settings.assess.task}"
    if is_endpoint(settings.model.uri) and not settings.attack.allow_remote:
        return "the model is asked at its endpoint, and attack.allow_remote is false"
    return ""


def attack_terms(settings: Settings) -> str:
    """A short word for the settings on which an attack depends."""
    told = (settings.attack.model_dump(include={"rows", "radii", "max_seconds"}), settings.specification.to_dict())
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()


def attack_question(
    settings: Settings, model: ModelVersion, items: Sequence[Item], *, number: int, baseline: dict[str, Any] | None
) -> tuple[AttackRows, list[bytes]]:
    """The question, and the bodies of its requests.

    Args:
        settings: how to assess and to attack.
        model: the version loaded.
        items: requests of the assessment that has just ended, those that were assessed first.
        number: of that assessment.
        baseline: of the version, which has learnt from these requests what it learns of them.
    """
    rows = settings.attack.rows
    seed = assessment_seed(f"{model.name}/attack", model.version, number)
    sample, blobs = assessment_question(
        settings, items[: SPARE * rows], number=number, seed=seed, baseline=baseline, has_answer=lambda item: False
    )
    for request in sample.requests:
        request.topped_up, request.target = True, None
    attacked = {
        "sample_rows": rows,
        "min_rows": min(rows, settings.assess.min_rows),
        "max_seconds": settings.attack.max_seconds,
    }
    return AttackRows(sample=sample.model_copy(update=attacked), radii=list(settings.attack.radii)), blobs


def begun(model: ModelVersion, terms: str, before: AttackRecord | None, at: float) -> AttackRecord:
    """What is kept when an attack begins, at that Unix time: what was found of that version stays until it ends."""
    record = AttackRecord(version=model.version, run_id=model.run_id, terms=terms, began_at=at)
    if before is None or not _is_of(before, model, terms):
        return record
    return record.model_copy(update={"found": before.found, "found_at": before.found_at})


def ended(record: AttackRecord, found: AttackFound, at: float) -> AttackRecord:
    """What is kept of a good one, at that Unix time."""
    return record.model_copy(update={"found": found, "found_at": at})


def _is_of(record: AttackRecord, model: ModelVersion, terms: str) -> bool:
    return (record.version, record.run_id, record.terms) == (model.version, model.run_id, terms)
