"""What happened between two moments, as events: a pure function of what was told last and of what is published now.

What was told last is kept with the events, in one transaction, so that a restart tells nothing twice, and what came to
pass while no daemon ran is told by the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from robmon.daemon.results.publication import finite
from robmon.export.causes import named_cause
from robmon.export.detection import watching
from robmon.export.published import View
from robmon.history.events import Event
from robmon.history.verdict import Verdict

_LATER: Final = {"curves", "ratio_low", "ratio_high"}
"""What verdicts that an older robmon remembers do not have: the same verdict has the same name."""
Told = Mapping[str, Any]
"""By subject: what was told of it last, as JSON holds it."""


def view_changes(told: Told, view: View, at: float) -> tuple[list[Event], dict[str, Any]]:
    """Events that make what was told last into what is published now, at that Unix time; and what is told by then."""
    if view.model is None:
        return [], dict(told)
    now = dict(told)
    events = [*_version(now, view, at), *_baseline(now, view, at), *_acceptance(now, view), *_verdict(now, view, at)]
    events += [*_regression(now, view, at), *_regression_in_time(now, view, at)]
    return [*events, *_canary(now, view, at), *_cause(now, view, at)], now


def _version(now: dict[str, Any], view: View, at: float) -> Iterator[Event]:
    if view.model is None or view.loaded is None:
        return
    version = [view.model.version, view.model.run_id]
    if now.get("version") != version:
        before = (now.get("version") or [None])[0]
        yield Event(at, "version_loaded", {
            "version": view.model.version, "run_id": view.model.run_id, "before": before,
            "flavor": view.loaded.flavor, "device": view.loaded.device,
        })  # fmt: skip
        now["version"] = version


def _baseline(now: dict[str, Any], view: View, at: float) -> Iterator[Event]:
    """Where the baseline of the version served comes from, once that is known."""
    if view.model is None or view.loaded is None:
        return
    baseline = [view.model.version, view.model.run_id, view.baseline.source]
    if now.get("baseline") != baseline:
        facts = {"version": view.model.version, "source": view.baseline.source, "rows": view.baseline.rows}
        yield Event(at, "baseline", facts)
        now["baseline"] = baseline


def _acceptance(now: dict[str, Any], view: View) -> Iterator[Event]:
    state = view.state
    if state.version is None or state.accepted_at is None or not state.is_accepted:
        return
    accepted = [state.version, state.accepted_by, state.accepted_at]
    if now.get("accepted") != accepted:
        yield Event(state.accepted_at, "version_accepted", {"version": state.version, "by": state.accepted_by})
        now["accepted"] = accepted


def _verdict(now: dict[str, Any], view: View, at: float) -> Iterator[Event]:
    verdict, regression = view.state.verdict, view.state.regression
    if verdict is None:
        return
    version = regression.version if regression is not None else view.state.version
    name = hashlib.blake2b(f"{version} {verdict.model_dump_json(exclude=_LATER)}".encode(), digest_size=8).hexdigest()
    if now.get("verdict") != name:
        yield Event(at, "verdict", {"version": version, **verdict_facts(verdict)})
        now["verdict"] = name


def verdict_facts(verdict: Verdict) -> dict[str, Any]:
    """What is kept of a verdict beside the version that it is on."""
    return {
        "against": verdict.reference_version,
        "worse": verdict.worse,
        "ratio": finite(verdict.pooled_ratio),
        "low": finite(verdict.pooled_low),
        "high": finite(verdict.pooled_high),
        "confidence": verdict.confidence,
        "pvalue": verdict.pvalue,
        "score": verdict.score,
        "levels": verdict.levels,
        "ratio_by_level": [finite(ratio) for ratio in verdict.ratio],
        **({} if verdict.causes is None else {"causes": verdict.causes.model_dump()}),
    }


def _regression(now: dict[str, Any], view: View, at: float) -> Iterator[Event]:
    """The standing regression of a version: its beginning, that it goes on with another version, its end, and that it
    stands again once its version is served again."""
    regression = view.state.regression
    began = None if regression is None else [regression.version, regression.reference_version, regression.since]
    before = now.get("regression")
    if view.state.version is None and began is None:
        return  # where nothing is known of the version served, nothing has ended
    now["regression"] = began
    if before == began or (before and began and before[:2] == began[:2]):
        return  # it stands as before, though another pod's verdict on it counts by now
    goes_on = before is not None and began is not None and before[2] == began[2]
    if before is not None and not goes_on:
        yield Event(at, "regression_ended", {"regression": "version", "version": before[0], "against": before[1]})
        now["regression_ended"] = at
    if regression is not None:
        facts = {"regression": "version", "version": regression.version, "against": regression.reference_version}
        ratio = None if regression.pooled_ratio is None else finite(regression.pooled_ratio)
        ended = now.get("regression_ended")
        is_earlier = goes_on or (before is None and ended is not None and regression.since <= ended)
        of = {"before": before[0]} if before is not None and goes_on else {}
        of |= {"since": regression.since} if is_earlier else {}
        yield Event(at if is_earlier else regression.since, "regression_began", {**facts, "ratio": ratio, **of})


def _regression_in_time(now: dict[str, Any], view: View, at: float) -> Iterator[Event]:
    """The same of the detector over time."""
    record = watching(view)
    began = None if record is None or record.since is None else [record.version, record.since]
    before = now.get("regression_in_time")
    if before == began:
        return
    if before is not None:
        yield Event(at, "regression_ended", {"regression": "time", "version": before[0]})
    if record is not None and record.since is not None:
        facts = {"regression": "time", "version": record.version, "evidence": finite(record.found.evidence)}
        yield Event(record.since, "regression_began", {**facts, "threshold": record.threshold, "number": record.number})
    now["regression_in_time"] = began


def _canary(now: dict[str, Any], view: View, at: float) -> Iterator[Event]:
    """Whether the version answers otherwise than when its baseline was learnt."""
    canary = view.canary
    if canary is None or canary.ratio is None or view.model is None:
        return
    version = view.model.version
    if canary.is_changed and now.get("canary") != version:
        yield Event(at, "canary_changed", {"version": version, "ratio": canary.ratio, "notes": canary.notes})
    now["canary"] = version if canary.is_changed else None


def _cause(now: dict[str, Any], view: View, at: float) -> Iterator[Event]:
    """What a standing regression comes from, each time that another thing is known of it."""
    standing, why = view.worse_since, named_cause(view)
    if standing is None or not (why.cause or why.group):
        return
    named = [*standing[:2], why.cause, why.group]
    if now.get("cause") != named:
        facts = {"regression": standing[0], "version": standing[1], "cause": why.cause, "group": why.group}
        yield Event(at, "cause_named", facts)
    now["cause"] = named


def start_changes(told: Told, start: Mapping[str, Any], at: float) -> tuple[list[Event], dict[str, Any]]:
    """The same of what stays as it is while the daemon runs: `start` says which robmon it is, and its settings."""
    settings = {name: value for name, value in start.items() if name != "settings"}
    events = [Event(at, "started", settings)]
    if (before := told.get("robmon")) not in (None, start["robmon"]):
        events.append(Event(at, "robmon_changed", {"before": before, "now": start["robmon"]}))
    if changed := settings_changes(told.get("settings") or {}, start["settings"]):
        events.append(Event(at, "settings_changed", {"settings": changed}))
    return events, {**told, "robmon": start["robmon"], "settings": start["settings"]}


def settings_changes(before: dict[str, str], now: dict[str, str]) -> dict[str, list[str]]:
    """What another text stands for than before, of the settings that both know.

    >>> settings_changes({"a": "1", "b": "2", "gone": "3"}, {"a": "1", "b": "4", "new": "5"})
    {'b': ['2', '4']}
    """
    return {name: [before[name], now[name]] for name in now if before.get(name, now[name]) != now[name]}
