"""Where the version served stands, and why nobody can rely on a verdict on it: functions of what is known. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from robmon import clock
from robmon.daemon.decisions.versions import Versions
from robmon.history.memory import later_than
from robmon.history.standing import Pending, VersionState, version_state
from robmon.processes.messages.model import ModelVersion
from robmon.vocabulary import PendingReason

BEFORE_INPUTS: Final = ("model_not_ready", "worker_backoff", "device_full", "device_busy")
"""Reasons for which an assessment is skipped before its inputs are looked at."""
_REASONS: Final[Mapping[str, PendingReason]] = {"too_few_inputs": "too_few_rows", "not_found": "no_reference"}
"""Why a version is not judged, by why its reference version was not assessed; else `failed`."""
TOO_FEW_INPUTS_ADVICE: Final = "mirror requests to inputs.port, raise inputs.max_age_seconds, or lower assess.min_rows"


def standing(
    versions: Versions, model: ModelVersion | None, obstacle: Pending | None, *, awaited_rows: int = 0
) -> VersionState:
    """Where the version served stands by what is remembered now.

    Args:
        versions: what is known of all.
        model: the version served; None where none is known yet, and what was served last stands for it.
        obstacle: why the last try to judge it came to nothing.
        awaited_rows: how many rows a try waits for; 0 where they are there.
    """
    memory = versions.memory
    served = (model.version, model.run_id) if model is not None else memory.served
    state = version_state(
        memory.entries,
        served,
        judged=memory.judged,
        is_reference=served is not None and versions.setting == served[0],
        quiet_at=versions.quiet_at,
        specification=versions.specification,
    )
    pending = _pending(versions, model, state, obstacle, awaited_rows) if model is not None else ()
    notes = (*state.notes, *filter(None, [_as_sentence(memory.fallback)]))
    return replace(state, pending=tuple(pending), notes=notes)


def quiet_at(versions: Versions, state: VersionState) -> float:
    """Unix time at which an accepted version was last seen served, now that the version served stands like that."""
    return later_than(versions.memory.entries, versions.unix_seconds) if state.is_accepted else versions.quiet_at


def stood_since(versions: Versions, state: VersionState) -> float | None:
    """Since when the regression stands that was seen here with the version that it is of; None where none was.

    What only is remembered over a version that nobody has judged yet may have ended where this pod did not see it.
    """
    if state.regression is None or state.regression.version == state.version:
        return None if state.regression is None else state.regression.since
    return versions.stood_since


def obstacle_after(obstacle: Pending | None, reason: str, problem: str, *, has_rows: bool = False) -> Pending | None:
    """What stands in the way of a verdict, after an assessment that ended for that reason.

    Args:
        obstacle: what stood in the way before it.
        reason: why it ended; `none` of a good one.
        problem: the same in words.
        has_rows: whether the rows of a verdict are there, kept of the version to compare with, so that it does not wait
            for those that come now.
    """
    if reason == "too_few_inputs":
        return obstacle if has_rows else lack_of_rows(problem)
    if reason in ("none", "version_changed", *BEFORE_INPUTS):
        return obstacle
    return Pending("failed", f"the last assessment ended with {reason}: {problem}")


def lack_of_rows(problem: str) -> Pending:
    """What stands in the way where too few rows can be used, and what to do."""
    return Pending("too_few_rows", f"{problem}; {TOO_FEW_INPUTS_ADVICE}")


def obstacle_of_reference(version: str, reason: str, problem: str) -> Pending:
    """What stands in the way where the version to compare with cannot be assessed."""
    return Pending(_REASONS.get(reason, "failed"), f"version {version} cannot be assessed beside it: {problem}")


def obstacle_of_download(version: str) -> Pending:
    """What stands in the way while the version to compare with is not here yet."""
    return Pending("no_reference", f"version {version} is still being downloaded")


def _pending(
    versions: Versions, model: ModelVersion, state: VersionState, obstacle: Pending | None, awaited_rows: int
) -> Iterator[Pending]:
    version, reference, is_judged = model.version, versions.reference, versions.is_judged(model)
    if state.unseen and is_judged:
        at = "" if state.accepted_at is None else f" at {clock.utc(state.accepted_at)}"
        why = f"It was accepted unseen{at}: there was no accepted version to compare it with."
        advice = "Accept it, or name a version in model.reference."
        yield Pending("no_reference", f"Accepted version: {version}. {why} {advice}")
    elif not is_judged and reference != version:
        if obstacle is not None:
            yield replace(obstacle, sentence=f"Version {version} is not judged: {obstacle.sentence}.")
        elif reference is None:
            why = versions.memory.damage or "it is not known which version was accepted."
            yield Pending("no_reference", f"Version {version} is not judged: {why}")
        else:
            yield Pending("too_few_rows", f"Version {version} is not judged yet: {_wait(reference, awaited_rows)}.")
    if versions.memory.not_kept:
        yield Pending("memory_not_kept", _as_sentence(versions.memory.not_kept))


def _wait(reference: str, awaited_rows: int) -> str:
    if awaited_rows:
        against = f"to be compared with version {reference}"
        return f"it waits for the {awaited_rows} rows of assess.min_rows {against}; {TOO_FEW_INPUTS_ADVICE}"
    return f"rows are there, and its first comparison with version {reference}, for which it is loaded, has not ended"


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
