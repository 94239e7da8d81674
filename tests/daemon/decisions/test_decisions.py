"""What the daemon does next, situation by situation; and that it learns it from nowhere else."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from robmon import clock
from robmon.daemon import runner
from robmon.daemon.app import Daemon
from robmon.daemon.decisions import decisions
from robmon.daemon.decisions.decisions import (
    Accept,
    AssessAgainst,
    AssessReference,
    AssessSample,
    Deed,
    FetchReference,
    Forget,
    Keep,
    Load,
    Progress,
    Publish,
    Skip,
    State,
    decide,
)
from robmon.daemon.decisions.pending import obstacle_after, obstacle_of_reference, quiet_at, standing, stood_since
from robmon.daemon.decisions.versions import Begun, MemoryState, Versions, begin
from robmon.daemon.results.kept import Kept
from robmon.history.memory import Entry, merge
from robmon.history.standing import Pending
from robmon.models.uri import UNKNOWN_VERSION
from robmon.processes.messages.model import ModelVersion
from robmon.processes.messages.question import Plan
from robmon.settings import load
from tests.export.published import everything

NOW = 1_000.0
SETTING = "settings of now"


def model(version: str, run_id: str | None = "run") -> ModelVersion:
    return ModelVersion(name="m", version=version, run_id=None if version == UNKNOWN_VERSION else run_id)


def entry(version: str, word: str, at: float, run_id: str | None = "run", **more: Any) -> Entry:
    """`word` is first, person, passed or failed."""
    by: Any = word if word in ("first", "person") else "verdict"
    more = {"specification": SETTING, **more}
    return Entry(version=version, run_id=run_id, accepted=word != "failed", by=by, at=at, **more)


def kept(version: str, is_usable: bool = True) -> Kept:
    plan = Plan(rows=64, trials=39, batch_rows=64, seconds=0.1, features={}, origins=list(range(64)))
    return Kept(version, [], 7, plan, "value", b"", None, [1.0], [], "numpy", 1.0, is_usable)


ONE, TWO, THREE, UNKNOWN = model("1"), model("2"), model("3"), model(UNKNOWN_VERSION)
ACCEPTED = entry("1", "person", 100.0)
FAILED = entry("2", "failed", 200.0, against="1")
PASSED = entry("2", "passed", 200.0, against="1")
KEPT_ONE, KEPT_TWO = kept("1"), kept("2")


def known(*entries: Entry, is_complete: bool = True, **more: Any) -> Versions:
    memory = MemoryState(merge(entries), is_complete=is_complete)
    return Versions(memory, specification=SETTING, unix_seconds=NOW, **more)


def at(served: ModelVersion, versions: Versions, *, progress: dict[str, Any] | None = None, **more: Any) -> State:
    """That version is loaded to be assessed, and there are enough rows."""
    in_worker = {"in_worker": served.version, "rows": 64, "most_rows": 64, "min_rows": 64}
    return State(
        target=served, versions=versions, progress=Progress(model=served, **(progress or {})), **in_worker | more
    )


BEGUN = Begun(("2", "run"), 150.0)

CASES: dict[str, tuple[State, Deed]] = {
    # --- before a version is loaded
    "no version is known yet": (
        State(),
        Skip("model_not_ready", "no model version has been fetched yet"),
    ),
    "no version is known, for the registry is down": (
        State(lookup_failure="the registry did not answer"),
        Skip("model_not_ready", "no model version has been fetched yet: the registry did not answer"),
    ),
    "the worker has failed a moment ago": (
        State(target=ONE, is_worker_waiting=True),
        Skip("worker_backoff", "the worker failed and is started again after a wait"),
    ),
    "a version is known, and nothing loaded": (State(target=ONE), Load(ONE)),
    "the version served is another than the one in the worker": (State(target=TWO, in_worker="1"), Load(TWO)),
    "rows do not matter for loading": (State(target=TWO, rows=0, most_rows=0, min_rows=64), Load(TWO)),
    # --- the first version
    "the very first version": (at(ONE, known()), Accept(entry("1", "first", NOW, specification=""))),
    "the first version, too few rows": (
        at(ONE, known(), most_rows=0),
        Accept(entry("1", "first", NOW, specification="")),
    ),
    "the registry's memory has not been read": (at(ONE, known(is_complete=False)), AssessSample(ONE)),
    "an acceptance that the memory did not take is not tried again": (
        at(ONE, known(), progress={"has_accepted": True}),
        AssessSample(ONE),
    ),
    "only a rejection is remembered, and its version is served": (at(TWO, known(FAILED)), AssessSample(TWO)),
    "a rejection alone does not make the next version wait": (
        at(THREE, known(FAILED)),
        Accept(entry("3", "first", NOW, specification="")),
    ),
    "the first version while a setting names another": (at(TWO, known(setting="1")), FetchReference("1")),
    "the first version is the one that a setting names": (at(ONE, known(setting="1")), AssessSample(ONE)),
    # --- an endpoint, whose version is told by its answers
    "an endpoint is not accepted before it has answered": (at(UNKNOWN, known()), AssessSample(UNKNOWN)),
    "an endpoint that has answered without a version": (
        at(UNKNOWN, known(), progress={"is_assessed": True}),
        Accept(entry(UNKNOWN_VERSION, "first", NOW, None, specification="")),
    ),
    "an endpoint whose acceptance the memory did not take": (
        at(UNKNOWN, known(), progress={"is_assessed": True, "has_accepted": True}),
        Publish(UNKNOWN),
    ),
    "an endpoint that is accepted already": (
        at(UNKNOWN, known(entry(UNKNOWN_VERSION, "first", 100.0, None)), progress={"is_assessed": True}),
        Publish(UNKNOWN),
    ),
    "an endpoint without a version that a setting names": (
        at(UNKNOWN, known(setting=UNKNOWN_VERSION), progress={"is_assessed": True}),
        Publish(UNKNOWN),
    ),
    "an endpoint tells its version for the first time": (
        at(ONE, known(entry(UNKNOWN_VERSION, "first", 100.0, None))),
        Accept(entry("1", "first", NOW, specification=""), (UNKNOWN_VERSION, None)),
    ),
    # --- a new version
    "a new version, its reference not at hand": (at(TWO, known(ACCEPTED)), FetchReference("1")),
    "a new version, its reference at hand": (at(TWO, known(ACCEPTED), kept=KEPT_ONE), AssessAgainst(TWO, KEPT_ONE)),
    "what is at hand is of another version": (at(THREE, known(ACCEPTED), kept=KEPT_TWO), FetchReference("1")),
    "what is at hand was not finite": (at(TWO, known(ACCEPTED), kept=kept("1", False)), FetchReference("1")),
    "a new version, its reference at hand, and no rows": (
        at(TWO, known(ACCEPTED), kept=KEPT_ONE, rows=0, most_rows=0),
        AssessAgainst(TWO, KEPT_ONE),
    ),
    "a new version, its reference not at hand, and too few rows": (
        at(TWO, known(ACCEPTED), rows=3, most_rows=5),
        Skip("too_few_inputs", "3 rows of 64 are there"),
    ),
    "a new version, its reference not at hand, and enough rows only with those too old for anything else": (
        at(TWO, known(ACCEPTED), rows=3, most_rows=5, most_verdict_rows=64),
        FetchReference("1"),
    ),
    "a version that has its verdict, and rows that are too old": (
        at(TWO, known(ACCEPTED, PASSED), rows=3, most_rows=5, most_verdict_rows=64),
        Skip("too_few_inputs", "3 rows of 64 are there"),
    ),
    "a comparison has failed a moment ago": (
        at(TWO, known(ACCEPTED), kept=KEPT_ONE, is_comparison_waiting=True),
        AssessSample(TWO),
    ),
    "a new version is compared with the newest accepted one, whatever its number": (
        at(model("9"), known(entry("7", "person", 50.0), entry("3", "passed", 60.0, against="7"))),
        FetchReference("3"),
    ),
    "a third version after a rejected one is compared with the accepted one": (
        at(THREE, known(ACCEPTED, FAILED), kept=KEPT_ONE),
        AssessAgainst(THREE, KEPT_ONE),
    ),
    "a setting names what to compare with, not the memory": (
        at(TWO, known(entry("7", "person", 50.0), setting="1"), kept=kept("7")),
        FetchReference("1"),
    ),
    "a version that was accepted unseen, and a setting that names another": (
        at(TWO, known(entry("2", "first", 50.0), setting="1")),
        FetchReference("1"),
    ),
    "a version that was accepted unseen": (at(TWO, known(entry("2", "first", 50.0))), AssessSample(TWO)),
    # --- a version that has its verdict
    "a rejected version in a new pod": (at(TWO, known(ACCEPTED, FAILED)), AssessSample(TWO)),
    "a rejected version, its reference at hand": (
        at(TWO, known(ACCEPTED, FAILED), kept=KEPT_ONE),
        AssessSample(TWO),
    ),
    "a rollback to an accepted version": (at(ONE, known(ACCEPTED, FAILED)), AssessSample(ONE)),
    "an accepted version older than the newest": (
        at(ONE, known(ACCEPTED, PASSED), kept=KEPT_TWO),
        AssessSample(ONE),
    ),
    "a rejected version that a person has accepted": (
        at(TWO, known(ACCEPTED, FAILED, entry("2", "person", 300.0)), kept=KEPT_ONE),
        AssessSample(TWO),
    ),
    "a version that was judged under other settings": (
        at(TWO, known(ACCEPTED, entry("2", "failed", 200.0, specification="others")), kept=KEPT_ONE),
        AssessSample(TWO),
    ),
    "that number was rejected as another model": (
        at(TWO, known(ACCEPTED, entry("2", "failed", 200.0, "another")), kept=KEPT_ONE),
        AssessAgainst(TWO, KEPT_ONE),
    ),
    # --- many pods take up a version together
    "another pod let it pass after this one had begun": (
        at(TWO, known(ACCEPTED, PASSED, begun=BEGUN), kept=KEPT_ONE),
        AssessAgainst(TWO, KEPT_ONE),
    ),
    "another pod let it pass before this one began": (
        at(TWO, known(ACCEPTED, PASSED, begun=Begun(("2", "run"), 250.0)), kept=KEPT_ONE),
        AssessSample(TWO),
    ),
    "this pod let it pass": (
        at(TWO, known(ACCEPTED, PASSED, begun=BEGUN, judged_here=("2", "run")), kept=KEPT_ONE),
        AssessSample(TWO),
    ),
    "another pod found it bad after this one had begun": (
        at(TWO, known(ACCEPTED, FAILED, begun=BEGUN), kept=KEPT_ONE),
        AssessSample(TWO),
    ),
    "a person accepted it after this pod had begun": (
        at(TWO, known(ACCEPTED, entry("2", "person", 200.0), begun=BEGUN), kept=KEPT_ONE),
        AssessSample(TWO),
    ),
    # --- the reference version comes first
    "the files of the reference are here": (
        at(TWO, known(ACCEPTED), progress={"reference": "fetched", "fetched": ONE}),
        AssessReference(ONE),
    ),
    "they are here, and enough rows only with old ones": (
        at(TWO, known(ACCEPTED), most_rows=5, most_verdict_rows=64, progress={"reference": "fetched", "fetched": ONE}),
        AssessReference(ONE, with_old=True),
    ),
    "they are here, and the rows have gone meanwhile": (
        at(TWO, known(ACCEPTED), rows=1, most_rows=1, progress={"reference": "fetched", "fetched": ONE}),
        Skip("too_few_inputs", "1 rows of 64 are there"),
    ),
    "the reference's number belongs to another model now": (
        at(TWO, known(ACCEPTED), progress={"reference": "fetched", "fetched": model("1", "another")}),
        Forget(ACCEPTED),
    ),
    "a setting names the number, whatever its run": (
        at(TWO, known(ACCEPTED, setting="1"), progress={"reference": "fetched", "fetched": model("1", "another")}),
        AssessReference(model("1", "another")),
    ),
    "the reference cannot be had this time": (
        at(TWO, known(ACCEPTED), progress={"reference": "missing"}),
        AssessSample(TWO),
    ),
    "what was to be compared with has gone from the memory": (
        at(TWO, known(), progress={"reference": "missing"}),
        AssessSample(TWO),
    ),
    "the reference cannot be had, and has left the worker empty": (
        at(TWO, known(ACCEPTED), in_worker=None, progress={"reference": "missing"}),
        Load(TWO),
    ),
    "the reference is assessed, and still in the worker": (
        at(TWO, known(ACCEPTED), in_worker="1", kept=KEPT_ONE, progress={"reference": "assessed"}),
        Load(TWO),
    ),
    "the reference is assessed, and the new version loaded again": (
        at(TWO, known(ACCEPTED), kept=KEPT_ONE, progress={"reference": "assessed"}),
        AssessAgainst(TWO, KEPT_ONE),
    ),
    "another pod's verdict arrives while this one compares": (
        at(TWO, known(ACCEPTED, FAILED), kept=KEPT_ONE, progress={"reference": "assessed"}),
        AssessAgainst(TWO, KEPT_ONE),
    ),
    "the reference's outputs were not finite, which is for the comparison to say": (
        at(TWO, known(ACCEPTED), kept=kept("1", False), progress={"reference": "assessed"}),
        AssessAgainst(TWO, kept("1", False)),
    ),
    # --- assessments of a version with its verdict
    "too few rows, and what was wrong with those before": (
        at(ONE, known(ACCEPTED), rows=2, most_rows=2, refusal="column a is missing"),
        Skip("too_few_inputs", "2 rows of 64 are there; of those before them column a is missing"),
    ),
    "fewer rows than wanted by the estimate, but there may be enough": (
        at(ONE, known(ACCEPTED), rows=40, most_rows=64),
        AssessSample(ONE),
    ),
    "the version served cannot be loaded, and the one before is assessed": (
        replace(at(ONE, known(ACCEPTED)), target=TWO),
        AssessSample(ONE),
    ),
    # --- after an assessment
    "the reference version was assessed": (
        at(ONE, known(ACCEPTED), progress={"is_assessed": True, "fresh": KEPT_ONE}),
        Keep(KEPT_ONE),
    ),
    "that is kept": (
        at(ONE, known(ACCEPTED), kept=KEPT_ONE, progress={"is_assessed": True, "fresh": KEPT_ONE}),
        Publish(ONE),
    ),
    "it takes the place of an older one of the same version": (
        at(ONE, known(ACCEPTED), kept=kept("1"), progress={"is_assessed": True, "fresh": KEPT_ONE}),
        Keep(KEPT_ONE),
    ),
    "its outputs were not finite": (
        at(ONE, known(ACCEPTED), progress={"is_assessed": True, "fresh": kept("1", False)}),
        Publish(ONE),
    ),
    "a rejected version was assessed": (
        at(TWO, known(ACCEPTED, FAILED), kept=KEPT_ONE, progress={"is_assessed": True, "fresh": KEPT_TWO}),
        Publish(TWO),
    ),
    "it is not known which version is the reference": (
        at(TWO, known(is_complete=False), progress={"is_assessed": True, "fresh": KEPT_TWO}),
        Keep(KEPT_TWO),
    ),
    "a version was compared": (
        at(TWO, known(ACCEPTED, PASSED), kept=KEPT_ONE, progress={"reference": "assessed", "is_assessed": True}),
        Publish(TWO),
    ),
}


@pytest.mark.parametrize(("state", "deed"), CASES.values(), ids=CASES)
def test_what_comes_next(state: State, deed: Deed) -> None:
    assert decide(state) == deed


def test_whatever_happens_every_assessment_ends() -> None:
    """Also where the memory takes nothing, a load brings the version before, and what was kept is not of this one."""
    seen = set()
    memories = [(), (ACCEPTED,), (ACCEPTED, FAILED), (ACCEPTED, PASSED), (entry(UNKNOWN_VERSION, "first", 1.0, None),)]
    for entries, setting, target, at_hand, rows, takes in itertools.product(
        memories, (None, "1"), (ONE, TWO, UNKNOWN), (None, KEPT_ONE, KEPT_TWO), (0, 64), (False, True)
    ):
        state = State(target=target, versions=known(*entries, setting=setting), kept=at_hand, most_rows=rows)
        deeds = list(simulated(replace(state, rows=rows, min_rows=64), takes=takes))
        assert isinstance(deeds[-1], Publish | Skip) and len(deeds) <= 10, deeds
        seen |= set(map(type, deeds))
    assert seen == set(get_args(Deed)), "all that can be done was done"


def simulated(state: State, takes: bool) -> Iterator[Deed]:
    """The deeds of one assessment, each done; `takes`: whether the memory takes entries, and the store gives files."""
    while not isinstance(deed := decide(state), Publish | Skip):
        yield deed
        state = replace(state, progress=progress_after(deed, state.progress, takes))
        match deed:
            case Load() | AssessReference():
                state = replace(state, in_worker=deed.model.version)
            case Keep():
                state = replace(state, kept=deed.kept)
            case Accept() if takes:
                state = replace(state, versions=known(*state.versions.memory.entries, deed.entry))
        if isinstance(deed, AssessReference):
            state = replace(state, kept=kept(deed.model.version, is_usable=False))
    yield deed


def progress_after(deed: Deed, progress: Progress, takes: bool) -> Progress:
    match deed:
        case Load():
            return replace(progress, model=deed.model)
        case Accept():
            return replace(progress, has_accepted=True)
        case FetchReference() if takes:
            return replace(progress, reference="fetched", fetched=model(deed.version, "another"))
        case FetchReference() | Forget():
            return replace(progress, reference="missing")
        case AssessReference():
            return replace(progress, reference="assessed")
        case AssessSample():
            return replace(progress, is_assessed=True, fresh=kept(deed.model.version))
        case AssessAgainst():
            return replace(progress, is_assessed=True)
    return progress


# --- when the first assessment starts, and what follows from one ------------------------------------------------------

FIRST: dict[str, tuple[State, bool]] = {
    "no version is known": (State(rows=64, min_rows=64), False),
    "a version that has not been tried, and enough rows": (State(target=ONE, rows=64, min_rows=64), True),
    "too few rows": (State(target=ONE, rows=63, min_rows=64), False),
    "it has been tried": (State(target=ONE, rows=64, min_rows=64, tried_version="1"), False),
    "another has been tried": (State(target=TWO, rows=64, min_rows=64, tried_version="1"), True),
    "no rows are needed where its reference is at hand": (
        State(target=TWO, rows=0, min_rows=64, tried_version="1", kept=KEPT_ONE, versions=known(ACCEPTED)),
        True,
    ),
    "what is at hand is not its reference": (
        State(target=TWO, rows=0, min_rows=64, tried_version="1", kept=KEPT_TWO, versions=known(ACCEPTED)),
        False,
    ),
}


@pytest.mark.parametrize(("state", "may"), FIRST.values(), ids=FIRST)
def test_when_the_first_assessment_of_a_version_need_not_wait(state: State, may: bool) -> None:
    assert decisions.may_start_first(state) is may


ENOUGH = State(target=TWO, rows=64, min_rows=64, tried_version="1")
TRIED: dict[str, tuple[State, str, bool, str | None]] = {
    "a good assessment": (ENOUGH, "none", False, "2"),
    "a failed one": (ENOUGH, "crash", False, "2"),
    "too few rows, and still too few": (replace(ENOUGH, rows=1), "too_few_inputs", False, "1"),
    "too few of the rows could be read": (ENOUGH, "too_few_inputs", False, "2"),
    "an endpoint has told its version by the first answer": (ENOUGH, "version_changed", True, "1"),
    "an endpoint has told another version": (ENOUGH, "version_changed", False, "2"),
    "there is no version": (replace(ENOUGH, target=None), "model_not_ready", False, "1"),
}


@pytest.mark.parametrize(("state", "reason", "was_unknown", "tried"), TRIED.values(), ids=TRIED)
def test_which_version_counts_as_tried(state: State, reason: str, was_unknown: bool, tried: str | None) -> None:
    assert decisions.tried_version_after(state, reason, was_unknown) == tried


@pytest.mark.parametrize(
    ("reason", "refusal"),
    [("invalid_input", "new"), ("too_few_inputs", "old"), ("worker_backoff", "old"), ("crash", ""), ("none", "")],
)
def test_what_was_wrong_with_the_inputs_is_known_until_others_come(reason: str, refusal: str) -> None:
    assert decisions.refusal_after("old", reason, "new") == refusal


def test_files_of_the_version_served_the_usable_one_and_the_reference_are_needed() -> None:
    versions = known(ACCEPTED)
    assert decisions.needed_versions(State(versions=versions)) == []
    assert decisions.needed_versions(State(target=THREE, usable=TWO, versions=versions)) == ["3", "2", "1"]


# --- where the version served stands ----------------------------------------------------------------------------------

FAILING = Pending("failed", "the last assessment ended with crash: it ended")
LACKS = (
    "Version 2 is not judged yet: it waits for the 64 rows of assess.min_rows to be compared with version 1; mirror "
    "requests to inputs.port, raise inputs.max_age_seconds, or lower assess.min_rows."
)
WAITS = (
    "Version 2 is not judged yet: rows are there, and its first comparison with version 1, for which it is loaded, has "
    "not ended."
)
UNSEEN = "It was accepted unseen at 1970-01-01 00:01 UTC: there was no accepted version to compare it with."
PENDING: dict[str, tuple[Versions, ModelVersion | None, Pending | None, list[Pending]]] = {
    "no version is known": (known(), None, None, []),
    "it is accepted": (known(ACCEPTED), ONE, None, []),
    "it is rejected": (known(ACCEPTED, FAILED), TWO, FAILING, []),
    "it waits for its verdict": (known(ACCEPTED), TWO, None, [Pending("too_few_rows", WAITS)]),
    "the last try failed": (
        known(ACCEPTED),
        TWO,
        FAILING,
        [Pending("failed", "Version 2 is not judged: the last assessment ended with crash: it ended.")],
    ),
    "it was accepted unseen": (
        known(entry("2", "first", 90.0)),
        TWO,
        None,
        [
            Pending(
                "no_reference",
                f"Accepted version: 2. {UNSEEN} Accept it, or name a version in model.reference.",
            )
        ],
    ),
    "what was accepted is not known": (
        known(is_complete=False),
        TWO,
        None,
        [Pending("no_reference", "Version 2 is not judged: it is not known which version was accepted.")],
    ),
    "what was accepted cannot be understood": (
        Versions(MemoryState(is_complete=False, damage="the file is damaged.")),
        TWO,
        None,
        [Pending("no_reference", "Version 2 is not judged: the file is damaged.")],
    ),
    "verdicts are not kept": (
        Versions(MemoryState((ACCEPTED,), not_kept="the disk is full"), specification=SETTING),
        ONE,
        None,
        [Pending("memory_not_kept", "The disk is full.")],
    ),
    "a setting names it": (known(setting="2"), TWO, FAILING, []),
}


@pytest.mark.parametrize(("versions", "served", "obstacle", "reasons"), PENDING.values(), ids=PENDING)
def test_why_nobody_can_rely_on_a_verdict(
    versions: Versions, served: ModelVersion | None, obstacle: Pending | None, reasons: list[Pending]
) -> None:
    assert list(standing(versions, served, obstacle).pending) == reasons


AWAITED: dict[str, tuple[State, int, str]] = {
    "few requests came": (State(versions=known(ACCEPTED), most_rows=3, min_rows=64), 64, LACKS),
    "enough came, and the version is loaded": (State(versions=known(ACCEPTED), most_rows=64, min_rows=64), 0, WAITS),
    "enough are old": (State(versions=known(ACCEPTED), most_verdict_rows=64, min_rows=64), 0, WAITS),
    "none come, but the version before has left its own": (
        State(versions=known(ACCEPTED), kept=KEPT_ONE, min_rows=64),
        0,
        WAITS,
    ),
    "what was left is of no use": (
        State(versions=known(ACCEPTED), kept=kept("1", is_usable=False), min_rows=64),
        64,
        LACKS,
    ),
    "what was left is of another version": (State(versions=known(ACCEPTED), kept=KEPT_TWO, min_rows=64), 64, LACKS),
}


@pytest.mark.parametrize(("state", "rows", "told"), AWAITED.values(), ids=AWAITED)
def test_a_version_that_waits_for_rows_says_so_and_one_that_is_under_way_does_not(
    state: State, rows: int, told: str
) -> None:
    assert decisions.awaited_rows(state) == rows
    assert list(standing(state.versions, TWO, None, awaited_rows=rows).pending) == [Pending("too_few_rows", told)]


def test_no_budget_leaves_a_verdict_undecided_for_ever() -> None:
    """The version before was assessed on 45 of its 60 requests, and no request has come since: the version served is
    compared on those, again after each wait, and what stands in the way is told all the time."""
    assessed = replace(KEPT_ONE, plan=KEPT_ONE.plan.model_copy(update={"rows": 45, "origins": list(range(60))}))
    due = at(TWO, known(ACCEPTED), kept=assessed, rows=0, most_rows=0, min_rows=40)
    obstacle: Pending | None = None
    for _ in range(3):
        assert decide(due) == AssessAgainst(TWO, assessed)
        has_rows = decisions.has_kept_reference(due)
        obstacle = obstacle_after(obstacle, "over_budget", "needs 9 s, raise assess.max_seconds", has_rows=has_rows)
        waiting = replace(due, is_comparison_waiting=True)
        skip = decide(waiting)
        assert skip == Skip("too_few_inputs", "0 rows of 40 are there")
        obstacle = obstacle_after(obstacle, skip.reason, skip.why, has_rows=has_rows)
        [told] = standing(due.versions, TWO, obstacle, awaited_rows=decisions.awaited_rows(waiting)).pending
        assert told.reason == "failed"
        assert told.sentence.endswith("over_budget: needs 9 s, raise assess.max_seconds.")


def test_a_version_without_a_verdict_inherits_the_regression_until_an_accepted_one_was_served() -> None:
    versions = known(ACCEPTED, FAILED)
    state = standing(versions, THREE, None)
    assert state.regression is not None and state.regression.version == "2"
    assert quiet_at(versions, state) == versions.quiet_at, "a regression is not quiet"
    rolled_back = quiet_at(versions, standing(versions, ONE, None))
    assert rolled_back == NOW
    assert standing(replace(versions, quiet_at=rolled_back), THREE, None).regression is None


@pytest.mark.parametrize(
    ("served", "since"),
    [
        ([TWO], 200.0),
        ([TWO, ONE], NOW),  # rolled back
        ([TWO, ONE, TWO], 200.0),
        ([TWO, THREE], 200.0),  # waits for its verdict
        ([], NOW),  # a new pod: nobody knows what was served meanwhile
    ],
)
def test_a_bad_version_goes_on_with_the_regression_that_was_seen_to_stand_until_then(
    served: list[ModelVersion], since: float
) -> None:
    found = everything().view.state.verdict
    assert found is not None
    versions = known(ACCEPTED, FAILED)
    for each in served:
        state = standing(versions, each, None)
        versions = replace(versions, quiet_at=quiet_at(versions, state), stood_since=stood_since(versions, state))
    rejected = replace(versions, unix_seconds=NOW).verdict_entry(THREE, found, 64)
    after = replace(versions, memory=MemoryState((*versions.memory.entries, rejected)))
    regression = standing(after, THREE, None).regression
    assert regression is not None and regression.version == "3"
    assert regression.since == pytest.approx(since, abs=0.01)


def test_a_version_that_a_setting_names_is_accepted_by_that_alone() -> None:
    assert not standing(known(is_complete=False), TWO, None).is_accepted
    assert standing(known(setting="2"), TWO, None).accepted_by == "setting"
    assert standing(known(setting="1"), TWO, None).accepted_by is None


def test_before_the_registry_answers_what_was_served_last_stands() -> None:
    versions = Versions(MemoryState((ACCEPTED, FAILED), served=("2", "run"), fallback="kept here"), specification="s")
    state = standing(versions, None, None)
    assert state.regression is not None and state.regression.version == "2"
    assert state.notes[-1] == "Kept here."


OBSTACLES: dict[str, Pending | None] = {
    "none": FAILING,
    "version_changed": FAILING,
    "model_not_ready": FAILING,
    "worker_backoff": FAILING,
    "device_full": FAILING,
    "device_busy": FAILING,
    "too_few_inputs": Pending(
        "too_few_rows",
        "why; mirror requests to inputs.port, raise inputs.max_age_seconds, or lower assess.min_rows",
    ),
    "over_budget": Pending("failed", "the last assessment ended with over_budget: why"),
}


@pytest.mark.parametrize(("reason", "obstacle"), OBSTACLES.items())
def test_what_stands_in_the_way_after_an_assessment(reason: str, obstacle: Pending | None) -> None:
    assert obstacle_after(FAILING, reason, "why") == obstacle


@pytest.mark.parametrize(
    ("reason", "pending"),
    [("too_few_inputs", "too_few_rows"), ("not_found", "no_reference"), ("not_loadable", "failed")],
)
def test_why_a_reference_was_not_assessed_is_why_there_is_no_verdict(reason: str, pending: str) -> None:
    assert obstacle_of_reference("1", reason, "it is so") == Pending(
        pending,  # type: ignore[arg-type]
        "version 1 cannot be assessed beside it: it is so",
    )


# --- entries ----------------------------------------------------------------------------------------------------------


def test_an_entry_made_now_comes_after_all_before_it_though_the_clock_was_set_back() -> None:
    assert known(ACCEPTED).next_at == NOW
    assert known(entry("1", "person", NOW + 60)).next_at == NOW + 60.001
    assert known(ACCEPTED, quiet_at=NOW + 5).next_at == NOW + 5.001


def test_a_verdict_becomes_an_entry() -> None:
    verdict = everything().view.state.verdict
    assert verdict is not None
    rejected = known(ACCEPTED).verdict_entry(TWO, verdict, 64)
    assert (rejected.accepted, rejected.against, rejected.rows, rejected.at) == (False, "1", 64, NOW)
    assert (rejected.pooled_ratio, rejected.anchor, rejected.specification) == (1.4, None, SETTING)
    unknown = known(ACCEPTED).verdict_entry(TWO, verdict.model_copy(update={"pooled_ratio": float("nan")}), 64)
    assert unknown.pooled_ratio is None
    passed = known(ACCEPTED).verdict_entry(TWO, verdict.model_copy(update={"worse": False}), 64)
    assert (passed.accepted, passed.anchor, passed.ratio_since) == (True, "1", 1.4)


def test_a_version_that_is_loaded_again_is_not_begun_anew() -> None:
    first = begin(None, TWO, 100.0)
    assert begin(first, TWO, 200.0) == first
    assert begin(first, model("2", "another"), 200.0) == Begun(("2", "another"), 200.0)


IDLE: dict[str, tuple[State, bool]] = {
    "no time is set": (State(in_worker="1", idle_seconds=1e9), False),
    "idle, not for long": (State(in_worker="1", idle_seconds=29.9, idle_release_seconds=30.0), False),
    "idle for long": (State(in_worker="1", idle_seconds=30.0, idle_release_seconds=30.0), True),
    "idle for long, and inputs are there": (
        State(in_worker="1", idle_seconds=60.0, idle_release_seconds=30.0, rows=64, most_rows=64, min_rows=64),
        True,
    ),
    "it is ended already": (State(idle_seconds=60.0, idle_release_seconds=30.0), False),
}


@pytest.mark.parametrize(("state", "expected"), IDLE.values(), ids=IDLE)
def test_an_idle_worker_is_ended_where_that_is_set(state: State, expected: bool) -> None:
    assert decisions.may_release(state) is expected


def test_a_worker_that_was_ended_is_started_for_the_next_assessment() -> None:
    assert decide(State(target=ONE, usable=ONE, in_worker=None, versions=known(ACCEPTED))) == Load(ONE)


# --- that nothing else decides ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", sorted(file.stem for file in Path(decisions.__file__).parent.glob("*.py")))
def test_decisions_do_nothing(module: str) -> None:
    """They import nothing that does: no loop, clock, log, disk or process; of robmon's clock only what puts times into
    words."""
    tree = ast.parse((Path(decisions.__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name for name in imported if not name.startswith("robmon")} <= {
        *("__future__", "collections.abc", "dataclasses", "math", "typing")
    }
    rooms = {"history", "models", "processes", "vocabulary"}
    others = {name for name in imported if name.startswith("robmon.") and name.split(".")[1] not in rooms}
    assert {name for name in others if not name.startswith("robmon.daemon.decisions")} <= {"robmon.daemon.results.kept"}
    asked = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "clock"
    }
    assert asked <= {"utc"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Global)]


@pytest.mark.parametrize("decision", ["gone", "skip"])
async def test_a_daemon_that_is_told_nothing_does_nothing(
    decision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version is served, its files are there, and there are rows."""
    settings = load({"model.uri": "models:/m/1", "data_dir": tmp_path, "http.port": 0, "inputs.port": 0}).settings
    daemon = Daemon(settings)
    daemon._follower.target = ONE
    for _ in range(100):
        daemon._sample.offer(b"{}", "v1", {}, clock.now())
    if decision == "gone":
        monkeypatch.delattr(runner, "decide")
    else:
        monkeypatch.setattr(runner, "decide", lambda state: Skip("over_budget", "for a test"))
    try:
        await daemon._assess()
        if decision == "skip":
            await daemon._runner.prepare()
        else:
            with pytest.raises(NameError):
                await daemon._runner.prepare()
    finally:
        await daemon._runner.close()
        await daemon._host.close()
        await daemon._writer.close()
    ended = {"gone": ("failed", "error"), "skip": ("skipped", "over_budget")}[decision]
    value = daemon._metrics.registry.get_sample_value
    assert value("robmon_assessments_total", dict(zip(("outcome", "reason"), ended, strict=True))) == 1
    assert daemon._host.version is None and daemon._published.view.model is None and daemon._memory.entries == ()
