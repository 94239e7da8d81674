"""Which events are made of what was told last and what is published now."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from robmon.daemon.journal.changes import start_changes, view_changes
from robmon.daemon.journal.recorded import assessment_row
from robmon.daemon.results.publication import Finding
from robmon.export.published import BaselineInfo, View
from robmon.history.detection import Detection, DetectionRecord
from robmon.history.standing import VersionState
from robmon.processes.messages.curve import FurtherNoise, LimitCrossing
from robmon.processes.messages.findings import CanaryResult, DriftValue, SharesResult
from robmon.processes.messages.model import ModelVersion
from robmon.report.event_sentences import sentence
from tests.export.published import NOW, assessed, everything, state_of


def kinds(told: dict[str, Any], view: View) -> tuple[list[str], dict[str, Any]]:
    events, told = view_changes(told, view, NOW)
    assert json.loads(json.dumps(told)) == told, "it is kept as JSON"
    json.dumps([event.to_dict() for event in events], allow_nan=False)
    return [event.kind for event in events], told


def test_each_is_told_once_also_after_a_restart() -> None:
    view = everything().view
    found, told = kinds({}, view)
    assert found[:4] == ["version_loaded", "baseline", "verdict", "regression_began"]
    assert kinds(told, view) == ([], told)
    assert kinds(json.loads(json.dumps(told)), view) == ([], told)


def test_before_a_version_is_loaded_nothing_is_told() -> None:
    assert kinds({"version": ["1", None], "regression": ["2", "1", 3.0]}, View())[0] == []
    unloaded = replace(everything().view, loaded=None, state=VersionState())
    assert kinds({"regression": ["2", "1", 3.0]}, unloaded)[0] == [], "it may still stand"


def test_what_came_to_pass_while_no_daemon_ran_is_told_by_the_next() -> None:
    before = kinds({}, everything().view)[1]
    served = ModelVersion(name="digits", version="1", run_id=None, path="/models/1")
    state = state_of(("1", None), ("1", True), ("2", False))
    rolled_back = replace(everything().view, model=served, state=state)
    events, _ = view_changes(before, rolled_back, NOW)
    assert [(event.kind, event.facts.get("version")) for event in events] == [
        ("version_loaded", "1"),
        ("baseline", "1"),
        ("version_accepted", "1"),
        ("regression_ended", "2"),
    ]
    assert events[0].facts["before"] == "2"
    assert events[2].at == state.accepted_at


def test_a_regression_begins_when_it_was_found_and_again_over_another_version() -> None:
    view = everything().view
    regression = view.state.regression
    assert regression is not None
    events, told = view_changes({}, view, NOW + 500)
    (began,) = [event for event in events if event.kind == "regression_began"]
    assert began.at == regression.since < NOW + 500
    goes_on = replace(view, state=replace(view.state, regression=replace(regression, version="3")))
    (event,) = (each for each in view_changes(told, goes_on, NOW + 10)[0] if "regression" in each.kind)
    assert (event.kind, event.at, event.facts["before"]) == ("regression_began", NOW + 10, "2"), "no end between"
    worse = replace(view, state=replace(view.state, regression=replace(regression, version="3", since=NOW + 9)))
    found = [event.to_dict() for event in view_changes(told, worse, NOW + 10)[0] if "regression" in event.kind]
    assert [(each["kind"], each["version"], each["at"]) for each in found] == [
        ("regression_ended", "2", NOW + 10),
        ("regression_began", "3", NOW + 9),
    ]


def test_a_regression_that_another_pod_judged_too_goes_on_and_stands_again_when_its_version_is_back() -> None:
    view = everything().view
    regression = view.state.regression
    assert regression is not None
    told = view_changes({}, view, NOW + 1)[1]
    theirs = replace(view, state=replace(view.state, regression=replace(regression, since=regression.since - 0.01)))
    events, told = view_changes(told, theirs, NOW + 2)
    assert not [each for each in events if "regression" in each.kind or each.kind == "cause_named"]
    rolled_back = replace(view, state=replace(view.state, regression=None))
    events, told = view_changes(told, rolled_back, NOW + 3)
    assert [each.at for each in events if each.kind == "regression_ended"] == [NOW + 3]
    (again,) = (each for each in view_changes(told, theirs, NOW + 4)[0] if "regression" in each.kind)
    assert (again.kind, again.at) == ("regression_began", NOW + 4), "not where it stood before"
    assert "stands again" in sentence(again.to_dict())


def test_a_baseline_is_told_when_it_counts() -> None:
    view = everything().view
    learning = replace(view, baseline=BaselineInfo("learning", 100, NOW))
    told = kinds(kinds({}, learning)[1], replace(learning, baseline=BaselineInfo("learning", 900, NOW)))
    assert told[0] == [], "it grows with each assessment"
    assert kinds(told[1], view)[0] == ["baseline"]


def test_a_start_tells_what_has_changed() -> None:
    start: dict[str, Any] = {"robmon": "1", "python": "3.11", "image": None, "settings": {"a": "1", "b": "2"}}
    events, told = start_changes({}, start, NOW)
    assert [event.to_dict() for event in events] == [
        {"at": NOW, "kind": "started", "robmon": "1", "python": "3.11", "image": None}
    ]
    other = start | {"robmon": "2", "settings": {"a": "1", "b": "3", "new": "4"}}
    events, told = start_changes(told, other, NOW)
    assert [(event.kind, event.facts) for event in events[1:]] == [
        ("robmon_changed", {"before": "1", "now": "2"}),
        ("settings_changed", {"settings": {"b": ["2", "3"]}}),
    ]
    assert len(start_changes(told, other, NOW)[0]) == 1


def standing(version: str, since: float | None) -> DetectionRecord:
    identity = {"version": [version, None], "threshold": [43_200.0]}
    found = Detection(basis="week", evidence=50_000.0, is_standing=since is not None)
    return DetectionRecord(identity=identity, found=found, since=since, number=7)


def test_a_regression_over_time_begins_and_ends() -> None:
    view, told = everything().view, kinds({}, everything().view)[1]
    for since, found in ((None, []), (5.0, ["regression_began"]), (5.0, []), (None, ["regression_ended"])):
        events, told = view_changes(told, replace(view, detection=standing("2", since)), NOW)
        assert [event.kind for event in events] == found
        assert all(event.facts["regression"] == "time" and event.facts["version"] == "2" for event in events)
        assert all(event.at == 5.0 for event in events if event.kind == "regression_began")


def test_a_version_that_answers_otherwise_is_told_once() -> None:
    view, told = everything().view, kinds({}, everything().view)[1]
    for changed in (False, True, True, False, True):
        before, canary = told.get("canary"), CanaryResult(rows=64, ratio=0.1, is_changed=changed, notes=["float32"])
        found, told = kinds(told, replace(view, canary=canary))
        assert ("canary_changed" in found) == (changed and before is None)
    silent = CanaryResult(reason="no time was left")
    assert kinds(told, replace(view, canary=silent))[1]["canary"] == "2", "that says nothing"


def test_what_a_regression_comes_from_is_told_each_time_that_more_is_known() -> None:
    view, told = replace(everything().view, canary=None, alert_shares=None), kinds({}, everything().view)[1]
    changed = CanaryResult(rows=64, ratio=0.1, is_changed=True)
    shares = SharesResult(groups=["a"], share=[1.0], stderr=[0.1], is_now=True, largest="a")
    for now in (replace(view, canary=changed), replace(view, canary=changed, alert_shares=shares)):
        events, told = view_changes(told, now, NOW)
        (event,) = [each for each in events if each.kind == "cause_named"]
        assert event.facts["cause"] == "runtime" and event.facts["group"] == (now.alert_shares and "a")
        assert "cause_named" not in kinds(told, now)[0]


def test_a_row_holds_what_json_can() -> None:
    """Infinite bounds, ratios that are not there, the detector; no request and no note on it."""
    view = everything().view
    model = view.model
    assert model is not None
    result = assessed().model_copy(update={"detection": standing("2", 1.0).found})
    row = assessment_row(model, Finding(result, [], None), NOW, specification="abc", threshold=43_200.0)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["levels"][1] == {
        "level": 0.05, "mse": 0.25, "bound": "+Inf", "request_bound": 4.0, "agreement": 0.75, "ratio": 1.5,
    }  # fmt: skip
    assert (row["evidence"], row["evidence_threshold"], row["standing"]) == (50_000.0, 43_200.0, True)
    assert [(each["feature"], each["psi"]) for each in row["drift"]] == [("all", 0.2), ("age", 0.3)]
    assert "further" not in row and "crossings" not in row
    crossed = LimitCrossing(score="agreement", limit=0.9, level=0.21234567, low=0.2, high=None, text="")
    limited = result.model_copy(update={"crossings": [crossed]})
    row = assessment_row(model, Finding(limited, [], None), NOW, specification="abc", threshold=43_200.0)
    assert row["crossings"] == [{"score": "agreement", "limit": 0.9, "level": 0.212346, "low": 0.2}]
    found = FurtherNoise(noise="jpeg", level_unit="steps", rows=64, trials=1, levels=result.levels, index=0.9)
    jpeg = assessment_row(
        model,
        Finding(result.model_copy(update={"further": found}), [], None),
        NOW,
        specification="abc",
        threshold=1.0,
    )
    assert jpeg["further"] == {
        "noise": "jpeg", "level_unit": "steps", "rows": 64, "trials": 1, "levels": row["levels"], "index": 0.9,
    }  # fmt: skip
    assert row["number"] == 3 and row["seed"] == 5 and row["specification"] == "abc"


def test_of_many_features_those_are_kept_that_have_drifted_most() -> None:
    values = [DriftValue(feature=f"f{index}", statistic="psi", value=index / 100) for index in range(32)]
    values += [DriftValue(feature="all", statistic="mean_psi", value=0.1)]
    row = assessment_row(
        ModelVersion(name="m", version="1", path="/m"),
        Finding(assessed().model_copy(update={"input_drift": values}), [], None),
        NOW,
        specification="abc",
        threshold=1.0,
    )
    assert [each["feature"] for each in row["drift"]] == ["all", *(f"f{index}" for index in range(31, 26, -1))]
