"""What the daemon does next: a function of what it knows, without I/O, clock or log.

`known.Known` gathers a `State`; `runner.Runner` asks `decide` for a deed, carries it out, and asks again, until an
assessment is published or skipped. It does nothing that was not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from robmon.daemon.decisions.pending import BEFORE_INPUTS
from robmon.daemon.decisions.versions import Versions
from robmon.daemon.results.kept import Kept
from robmon.history.memory import Entry, Key
from robmon.models.uri import UNKNOWN_VERSION
from robmon.processes.messages.model import ModelVersion

# --- what is known ----------------------------------------------------------------------------------------------------


ReferenceStep = Literal["open", "fetched", "assessed", "missing"]
"""Of the version to compare with: nothing is done yet, its files are here, it is kept, it cannot be had this time."""


@dataclass(frozen=True)
class Progress:
    """How far the assessment under way has come."""

    model: ModelVersion | None = None
    """The version that it is of, once it is loaded: the target, or the one before where that cannot be loaded."""
    has_accepted: bool = False
    reference: ReferenceStep = "open"
    """What has become of the version to compare with."""
    fetched: ModelVersion | None = None
    """The target version, once its files are here."""
    is_assessed: bool = False
    fresh: Kept | None = None
    """What can be kept of it, where it was assessed on a sample of its own."""


@dataclass(frozen=True)
class State:
    """What the daemon knows when it asks what to do next."""

    target: ModelVersion | None = None
    """The version served; None before the first look-up."""
    lookup_failure: str = ""
    """Why the last look-up failed; empty after a good one."""
    usable: ModelVersion | None = None
    """The last version that could be loaded."""
    in_worker: str | None = None
    """The version that the worker has loaded."""
    idle_seconds: float = 0.0
    """Since when the worker has had nothing to do."""
    idle_release_seconds: float | None = None
    """After which it is ended; None: it stays."""
    is_worker_waiting: bool = False
    """Whether the worker failed and is not to be started again yet."""
    is_comparison_waiting: bool = False
    """Whether a comparison failed and is not to be tried again yet."""
    versions: Versions = field(default_factory=Versions)
    kept: Kept | None = None
    """The last assessment that another version can be compared with."""
    rows: int = 0
    """Rows of the sample, as far as that is known before it is decoded."""
    most_rows: int = 0
    """Most rows that the sample can have."""
    most_verdict_rows: int = 0
    """Most rows that it can have for a verdict: with requests that are too old for anything else."""
    min_rows: int = 1
    refusal: str = ""
    """What was wrong with the inputs of the last assessment, since which there have been too few."""
    tried_version: str | None = None
    """The version that was assessed last, well or not."""
    progress: Progress = Progress()


# --- what can be done -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Skip:
    """End this assessment: it cannot be made now."""

    reason: str
    why: str
    """In words, without any input."""


@dataclass(frozen=True)
class Load:
    """Have that version in the worker, to assess it."""

    model: ModelVersion


@dataclass(frozen=True)
class Accept:
    """Remember that a version is accepted unseen."""

    entry: Entry
    instead_of: Key | None = None
    """What is forgotten for it: the same model, before it told its version."""


@dataclass(frozen=True)
class FetchReference:
    """Have the files of the version to compare with."""

    version: str


@dataclass(frozen=True)
class Forget:
    """Forget an entry: its number belongs to another model now."""

    entry: Entry


@dataclass(frozen=True)
class AssessReference:
    """Load the version to compare with, and assess it on the sample as it is now."""

    model: ModelVersion
    with_old: bool = False
    """Whether requests that are too old for anything else are among it: without them there are too few."""


@dataclass(frozen=True)
class AssessSample:
    """Assess the loaded version on the sample as it is now."""

    model: ModelVersion


@dataclass(frozen=True)
class AssessAgainst:
    """Assess the loaded version on sample, seed and scale of what is kept, and take the verdict."""

    model: ModelVersion
    kept: Kept


@dataclass(frozen=True)
class Keep:
    """Keep the assessment just made: later versions are compared with it."""

    kept: Kept


@dataclass(frozen=True)
class Publish:
    """Publish what was found of that version: this assessment is done."""

    model: ModelVersion


Step = Skip | Load | Accept | FetchReference | Forget | AssessReference | AssessSample | AssessAgainst | Keep
Deed = Step | Publish


# --- what to do next --------------------------------------------------------------------------------------------------


def decide(state: State) -> Deed:
    """The next deed of the assessment under way.

    >>> decide(State(lookup_failure="the registry did not answer"))
    Skip(reason='model_not_ready', why='no model version has been fetched yet: the registry did not answer')
    """
    model = state.progress.model
    if model is None:
        return _start(state)
    if state.progress.is_assessed:
        return _end(state, model)
    # The version of an endpoint is known when it has answered once, so it is accepted when it is assessed. Where what a
    # version was to be compared with has gone, the next assessment accepts it.
    is_early = state.progress.reference == "open" and model.version != UNKNOWN_VERSION
    accept = _accept_unseen(state, model) if is_early else None
    return accept or _prepare_reference(state, model) or _assess(state, model)


def _start(state: State) -> Deed:
    if state.target is None:
        why = f": {state.lookup_failure}" if state.lookup_failure else ""
        return Skip("model_not_ready", f"no model version has been fetched yet{why}")
    if state.is_worker_waiting:
        return Skip("worker_backoff", "the worker failed and is started again after a wait")
    return Load(state.target)


def _accept_unseen(state: State, model: ModelVersion) -> Deed | None:
    entry = None if state.progress.has_accepted else state.versions.unseen_entry(model)
    if entry is None:
        return None
    is_told_now = state.versions.reference == UNKNOWN_VERSION
    return Accept(entry, (UNKNOWN_VERSION, None) if is_told_now else None)


def _prepare_reference(state: State, model: ModelVersion) -> Deed | None:
    """What is to be done before `model` can be compared; None where nothing is, or nothing can."""
    step, fetched, reference = state.progress.reference, state.progress.fetched, state.versions.reference
    if step == "open" and reference is not None and is_comparison_due(state, model) and not _is_kept(state, reference):
        return _lack_of_rows(state, state.most_verdict_rows) or FetchReference(reference)
    if step == "fetched" and fetched is not None:
        of_other_run = state.versions.entry_of_other_run(fetched)
        if of_other_run is not None:
            return Forget(of_other_run)
        with_old = _lack_of_rows(state) is not None
        return _lack_of_rows(state, state.most_verdict_rows) or AssessReference(fetched, with_old)
    return None


def _assess(state: State, model: ModelVersion) -> Deed:
    if state.in_worker != model.version:
        return Load(model)
    is_comparable = state.progress.reference == "assessed" or (
        state.progress.reference == "open" and is_comparison_due(state, model)
    )
    if is_comparable and state.kept is not None:
        return AssessAgainst(model, state.kept)
    return _lack_of_rows(state) or AssessSample(model)


def _end(state: State, model: ModelVersion) -> Deed:
    fresh = state.progress.fresh
    is_new = fresh is not None and fresh is not state.kept
    if fresh is not None and is_new and fresh.is_usable and state.versions.reference in (None, model.version):
        return Keep(fresh)
    accept = _accept_unseen(state, model) if model.version == UNKNOWN_VERSION else None
    return accept or Publish(model)


def is_comparison_due(state: State, model: ModelVersion) -> bool:
    """Whether that version is compared with another at the next assessment."""
    return state.versions.is_to_be_compared(model) and not state.is_comparison_waiting


def has_kept_reference(state: State) -> bool:
    """Whether rows and results of the version to compare with are at hand, so that a comparison waits for no others."""
    return state.versions.reference is not None and _is_kept(state, state.versions.reference)


def awaited_rows(state: State) -> int:
    """How many rows the verdict on the version served waits for; 0 where they are there."""
    has_rows = has_kept_reference(state) or max(state.most_rows, state.most_verdict_rows) >= state.min_rows
    return 0 if has_rows else state.min_rows


def _is_kept(state: State, reference: str) -> bool:
    return state.kept is not None and state.kept.version == reference and state.kept.is_usable


def _lack_of_rows(state: State, most_verdict_rows: int = 0) -> Skip | None:
    """How many rows there are is found out by decoding them; a sample that cannot have enough is spared that."""
    if max(state.most_rows, most_verdict_rows) >= state.min_rows:
        return None
    few = f"{state.rows} rows of {state.min_rows} are there"
    return Skip("too_few_inputs", few + (f"; of those before them {state.refusal}" if state.refusal else ""))


# --- when, and what follows -------------------------------------------------------------------------------------------


def may_start_first(state: State) -> bool:
    """Whether the version served now has had no assessment yet, good or bad, and one can be made: it is not waited
    for its turn."""
    if state.target is None or state.target.version == state.tried_version:
        return False
    has_kept = state.kept is not None and state.kept.version == state.versions.reference
    return has_kept or state.rows >= state.min_rows


def may_release(state: State) -> bool:
    """Whether the worker is ended now, between two assessments, until there is something to do: it is idle for long."""
    longest = state.idle_release_seconds
    return longest is not None and state.in_worker is not None and state.idle_seconds >= longest


def needed_versions(state: State) -> list[str]:
    """Versions whose files must stay on disk."""
    needed = [model.version for model in (state.target, state.usable) if model is not None]
    reference = state.versions.reference if state.target is not None else None
    return needed + ([reference] if reference is not None else [])


def tried_version_after(state: State, reason: str, was_unknown: bool) -> str | None:
    """The version that counts as tried, after an assessment that ended for that reason.

    Args:
        state: what is known after it.
        reason: why it ended; `none` of a good one.
        was_unknown: whether the version was not known before it. The first answer of an endpoint may tell which version
            to assess, which is then done at once.
    """
    has_learnt_version = was_unknown and reason == "version_changed"
    has_lacked_rows = reason == "too_few_inputs" and state.rows < state.min_rows
    if state.target is None or has_learnt_version or has_lacked_rows:
        return state.tried_version
    return state.target.version


def refusal_after(refusal: str, reason: str, problem: str) -> str:
    """What was wrong with the last inputs, after an assessment that ended for that reason."""
    if reason == "invalid_input":
        return problem
    return refusal if reason in ("too_few_inputs", *BEFORE_INPUTS) else ""
