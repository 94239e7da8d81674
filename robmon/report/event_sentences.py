"""What the history holds, in words: events as sentences, assessments as lines of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from robmon.report.words import accepted_how, aligned, listed
from robmon.wording import printable

Row = Mapping[str, Any]


def utc_iso(at: float) -> str:
    """Unix seconds, to the second.

    >>> utc_iso(1795722060.5)
    '2026-11-26T19:41:00Z'
    """
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def utc_minute(at: float, *, seconds: bool = False) -> str:
    """The same as people read it.

    >>> utc_minute(1795722060.5), utc_minute(1795722060.5, seconds=True)
    ('2026-11-26 19:41', '2026-11-26 19:41:00')
    """
    return f"{datetime.fromtimestamp(at, UTC):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def figure(value: Any, digits: int = 4) -> str:
    """A number of a row, which may be missing, or infinite and so a text; whole ones in full.

    >>> figure(0.123456), figure(7_000_000_000_000_000_361), figure(None), figure("+Inf")
    ('0.1235', '7000000000000000361', '-', '+Inf')
    """
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else printable(value)


# --- assessments -----------------------------------------------------------------------------------------------------

_COLUMNS: Final = ("time", "number", "version", "rows", "trials", "level", "mse", "bound", "ratio", "index", "evidence")


def assessment_lines(rows: Iterable[Row]) -> list[str]:
    """A table with a line each: the highest level, the ratio to the baseline there, the evidence for a regression."""
    return aligned([_COLUMNS, *map(_cells, rows)], names_first=True)


def worst_level(row: Row) -> Row:
    """The point of the highest level; of a row of before, what it says of it."""
    levels = row.get("levels") or ()
    return levels[-1] if levels else {name: row.get(old) for name, old in _WORST.items()}


_WORST: Final = {"level": "noise_level", "mse": "mse", "bound": "bound"}


def value_of(number: Any) -> float:
    """A number of a row, to be compared: infinite ones are texts there, and what is missing is less than all."""
    if number in ("+Inf", "-Inf"):
        return math.inf if number == "+Inf" else -math.inf
    return float(number) if isinstance(number, int | float) else -math.inf


def badness(row: Row) -> tuple[bool, float]:
    """By which assessments are told worse and better: the ratio to the baseline at the highest level, or the error.

    Those that have a ratio count as worse than all that have none.
    """
    point = worst_level(row)
    ratio = value_of(point.get("ratio"))
    return (True, ratio) if ratio > -math.inf else (False, value_of(point.get("mse")))


def _cells(row: Row) -> list[str]:
    point = worst_level(row)
    return [
        utc_iso(row["at"]),
        figure(row.get("number")),
        printable(row.get("version", "-")),
        *(figure(row.get(name)) for name in ("rows", "trials")),
        *(figure(point.get(name)) for name in ("level", "mse", "bound", "ratio")),
        *(figure(row.get(name)) for name in ("index", "evidence")),
    ]


# --- events ----------------------------------------------------------------------------------------------------------


def event_lines(events: Iterable[Row]) -> list[str]:
    """A line each: when, and what happened."""
    return [f"{utc_iso(event['at'])}  {sentence(event)}" for event in events]


def sentence(event: Row) -> str:
    """What happened, without a full stop; of a kind that this robmon does not know, what is kept of it."""
    tell = _SENTENCES.get(str(event.get("kind")))
    facts = {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}
    if tell is None:
        told = [f"{printable(name)}={printable(facts[name])}" for name in sorted(facts) if name not in ("at", "kind")]
        return " ".join([printable(event.get("kind")), *told])
    return tell(_Facts(facts))


def mood(event: Row) -> str:
    """Whether it is `good`, `bad` or neither, which is empty.

    >>> mood({"kind": "verdict", "worse": True}), mood({"kind": "regression_ended"}), mood({"kind": "started"})
    ('bad', 'good', '')
    """
    kind = event.get("kind")
    if kind in ("regression_began", "canary_changed") or (kind == "verdict" and event.get("worse") is True):
        return "bad"
    return "good" if kind == "regression_ended" else ""


class _Facts(dict[str, Any]):
    """Facts by name; a dash for one that is not there."""

    def __missing__(self, name: str) -> str:
        return "-"


def _version_loaded(event: _Facts) -> str:
    before = f", in the place of version {event['before']}" if event.get("before") else ""
    device = f" on {event['device']}" if event.get("device") else ""
    return f"version {event['version']} is assessed ({event['flavor']}{device}){before}"


def _alias_moved(event: _Facts) -> str:
    before = f"moved from version {event['before']}" if event.get("before") else "stands for"
    return f"alias {event['alias']} {before} {'to ' if event.get('before') else ''}version {event['version']}"


def _verdict(event: _Facts) -> str:
    found = "is worse than" if event["worse"] is True else "held against"
    interval = ""
    if event.get("low") is not None:
        interval = (
            f" ({100 * event.get('confidence', 0):g} % interval {figure(event['low'])} to {figure(event['high'])})"
        )
    return f"version {event['version']} {found} version {event['against']}: ratio {figure(event['ratio'])}{interval}"


def _baseline(event: _Facts) -> str:
    how = {
        "learning": "is being learnt",
        "learnt": f"counts from now on, learnt from {figure(event['rows'])} rows",
        "artifact": "is the one recorded beside the model",
        "local": "is the one recorded in the data folder",
    }
    return f"the baseline of version {event['version']} {how.get(event['source'], event['source'])}"


def _regression(event: _Facts) -> str:
    return "over time" if event["regression"] == "time" else f"against version {event['against']}"


def _began(event: _Facts) -> str:
    ratio = f", ratio {figure(event['ratio'])}" if event.get("ratio") is not None else ""
    if event.get("before"):
        return f"the regression goes on with version {event['version']} {_regression(event)}{ratio}"
    if event.get("since"):
        return f"the regression of version {event['version']} {_regression(event)} stands again{ratio}"
    return f"a regression of version {event['version']} {_regression(event)} began{ratio}"


def _settings_changed(event: _Facts) -> str:
    changes = event.get("settings") or {}
    told = [f"{printable(name)} from {printable(a)} to {printable(b)}" for name, (a, b) in sorted(changes.items())]
    return f"settings changed: {listed(told)}"


def _started(event: _Facts) -> str:
    image = f", image {event['image']}" if event.get("image") else ""
    return f"robmon {event['robmon']} was started (Python {event['python']}{image})"


def _traffic(event: _Facts) -> str:
    minutes = round(event.get("seconds", 0) / 60)
    told = [f"{figure(event['requests'])} requests", f"{figure(event['sampled'])} sampled"]
    told += [f"{figure(event['rejected'])} rejected"] if event.get("rejected") else []
    return f"in the {minutes} minutes from then: {listed(told)}"


def cause_words(event: Row) -> str:
    """What a regression comes from, as far as it is known, behind its name."""
    cause = f"comes from the {printable(event['cause'])}" if event.get("cause") else ""
    group = f"{printable(event['group'])} carries most of it" if event.get("group") else ""
    return (
        ", and ".join(filter(None, [cause, group]))
        if cause
        else f"is carried mostly by {printable(event.get('group'))}"
    )


def _cause(event: _Facts) -> str:
    return f"the regression of version {event['version']} {cause_words(event)}"


def _canary(event: _Facts) -> str:
    notes = "; ".join(printable(note) for note in event.get("notes") or ())
    return f"version {event['version']} answers otherwise than before{notes and f': {notes}'}"


def _attacked(event: _Facts) -> str:
    radii, shares = event.get("radii") or [], (event.get("agreement") or {}).get("worst") or []
    told = [f"{100 * share:.3g} % at radius {figure(radius)}" for radius, share in zip(radii, shares, strict=False)]
    masked = ", and the gradient hides how fragile it is" if event.get("masked") is True else ""
    kept = f"of {figure(event['rows'])} rows at most {listed(told)} keep their class{masked}"
    return f"version {event['version']} was attacked: {kept}"


def _restarted(event: _Facts) -> str:
    if event["reason"] == "new_version":
        return f"the worker was started anew for version {event['version']}"
    return f"the worker of version {event['version']} was ended ({event['reason']})"


_SENTENCES: Final = {
    "started": _started,
    "stopped": lambda event: "robmon ended",
    "robmon_changed": lambda event: f"robmon is {event['now']} now, and was {event['before']}",
    "settings_changed": _settings_changed,
    "alias_moved": _alias_moved,
    "version_loaded": _version_loaded,
    "version_accepted": lambda event: f"version {event['version']} was {accepted_how(event['by'])}",
    "verdict": _verdict,
    "baseline": _baseline,
    "regression_began": _began,
    "regression_ended": lambda event: f"the regression of version {event['version']} {_regression(event)} ended",
    "cause_named": _cause,
    "canary_changed": _canary,
    "attacked": _attacked,
    "assessments_missing": lambda event: f"assessments are {event['outcome']} ({event['reason']}): {event['why']}",
    "assessments_again": lambda event: "assessments are good again",
    "worker_restarted": _restarted,
    "state_damaged": lambda event: (
        f"the state file was damaged, and set aside as {event['set_aside']}"
        if event["set_aside"]
        else "the state file was removed"
    ),
    "traffic": _traffic,
}
