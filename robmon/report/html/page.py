"""The report as a page: what is told of a period, put into the template, which escapes every text."""

from __future__ import annotations

import itertools
import shlex
from dataclasses import dataclass
from typing import Final

from robmon.report.event_sentences import Row, figure, mood, sentence, utc_minute, worst_level
from robmon.report.html.charts import Mark
from robmon.report.html.document import render
from robmon.report.html.period import Period
from robmon.report.html.pictures import curve, over_time
from robmon.report.html.story import story
from robmon.report.html.tables import attribution, causes, drift
from robmon.wording import printable

TRAFFIC_CHANGE: Final = 2.0
"""An hour with so many times the requests of the one before, or so many times fewer, is told as an event."""
MARKED: Final = {
    "version_loaded", "alias_moved", "version_accepted", "regression_began", "regression_ended", "settings_changed",
    "robmon_changed", "canary_changed", "cause_named", "state_damaged", "baseline",
}  # fmt: skip
"""Events that stand in the pictures too."""
MOST_EVENTS: Final = 200


def report_page(period: Period, uri: str | None = None) -> str:
    """The page as HTML: the same bytes for the same history.

    Args:
        period: what is told.
        uri: of the model without its version, for the command that assesses it again; None where it is not known.
    """
    timeline = _timeline(period)
    marks = [Mark(row.seconds, row.mood, row.number) for row in timeline if row.number]
    return render(
        "template.html",
        model=printable(period.model),
        since=utc_minute(period.since),
        until=utc_minute(period.until),
        story=story(period),
        over_time=list(over_time(period, marks)),
        marked=bool(marks),
        curve=curve(period),
        drift=drift(period),
        causes=causes(period),
        attribution=attribution(period),
        timeline=timeline,
        worst=_worst(period, uri),
    )


# --- what happened ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Happened:
    """A line of the list, with its number where a picture has it too."""

    seconds: float
    number: str
    at: str
    text: str
    mood: str


def _timeline(period: Period) -> list[Happened]:
    told = [event for event in period.events if event.get("kind") != "traffic"] + _traffic_changes(period)
    told.sort(key=lambda event: event["at"])
    numbered, rows = 0, []
    for event in told[-MOST_EVENTS:]:
        kind = str(event.get("kind"))
        numbered += kind in MARKED
        number = str(numbered) if kind in MARKED else ""
        when = utc_minute(event["at"], seconds=True)
        rows.append(Happened(event["at"], number, when, sentence(event), mood(event)))
    return rows


def _traffic_changes(period: Period) -> list[Row]:
    """Hours whose traffic is another than that of the hour before."""
    hours = [event for event in period.events if event.get("kind") == "traffic" and event.get("seconds", 0) >= 600]
    found = []
    for before, hour in itertools.pairwise(hours):
        rates = [each["requests"] / each["seconds"] for each in (before, hour)]
        if max(rates) > 0 and max(rates) >= TRAFFIC_CHANGE * min(rates):
            found.append(hour)
    return found


# --- again -----------------------------------------------------------------------------------------------------------


def _worst(period: Period, uri: str | None) -> dict[str, str] | None:
    """The command that assesses the version again as it was when it was worst."""
    worst = period.worst
    if worst is None:
        return None
    specification = period.specification_of(worst)
    point = worst_level(worst)
    text = (
        f"Assessment {figure(worst.get('number'))} of version {printable(worst.get('version'))}, "
        f"{utc_minute(worst['at'])}: mean squared error {figure(point.get('mse'))}, bound "
        f"{figure(point.get('bound'))} at level {figure(point.get('level'))}, on {figure(worst.get('rows'))} rows in "
        f"{figure(worst.get('trials'))} trials, drawn by {printable(worst.get('draws', '-'))} from the seed "
        f"{figure(worst.get('seed'))}."
    )
    note = (
        "ROWS.jsonl stands for the rows of that time, which robmon does not keep. The daemon takes the scales of "
        "relative levels from the baseline, the command from the rows."
    )
    return {"text": text, "command": _command(worst, specification, uri), "note": note}


def _command(worst: Row, specification: Row | None, uri: str | None) -> str:
    version = printable(worst.get("version"))
    words = ["robmon", "assess", "--model", f"{printable(uri)}/{version}" if uri is not None else "MODEL"]
    words += ["--inputs", "ROWS.jsonl", "--seed", figure(worst.get("seed"))]
    assess = (specification or {}).get("assess") or {}
    levels = assess.get("levels") or [point.get("level") for point in worst.get("levels") or ()]
    words += ["--noise", printable(assess.get("noise") or worst.get("noise", "gaussian"))]
    words += ["--levels", " ".join(f"{level:g}" for level in levels)] if levels else []
    words += ["--trials", figure(worst.get("trials"))]
    for flag, name in _FLAGS.items():
        value = assess.get(name)
        for each in value if isinstance(value, list) else [value]:
            words += [flag, printable(each)] if each is not None else []
    for name, value in (assess.get("layout") or {}).items():
        each = value if isinstance(value, list) else [value]
        words += [f"--image-{name.replace('_', '-')}", " ".join(map(printable, each))] if value is not None else []
    return " ".join(map(shlex.quote, words))


_FLAGS: Final = {
    "--confidence": "confidence", "--task": "task", "--output": "output", "--output-column": "output_column",
    "--integers": "integers", "--scale-axis": "scale_axis",
}  # fmt: skip
