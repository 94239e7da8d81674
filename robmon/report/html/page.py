"""The report as a page: what is told of a period, put into the template, which escapes every text."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from robmon.errors import printable
from robmon.report.happened import Row, figure, sentence, utc_minute, worst_level
from robmon.report.html.charts import Mark
from robmon.report.html.period import Period, finite_or_none, value_of
from robmon.report.html.pictures import curve, over_time
from robmon.report.html.story import shares, story

TRAFFIC_CHANGE: Final = 2.0
"""An hour with so many times the requests of the one before, or so many times fewer, is told as an event."""
MARKED: Final = {
    "version_loaded": "", "alias_moved": "", "version_accepted": "", "regression_began": "bad", "regression_ended": "",
    "settings_changed": "", "robmon_changed": "", "canary_changed": "bad", "state_damaged": "", "baseline": "",
}  # fmt: skip
"""Events that stand in the pictures too, with their class."""
MOST_EVENTS: Final = 200
STATISTICS: Final = ("js", "psi", "mean_psi", "ks", "wasserstein")
"""In this order, before all others."""
STATISTIC_NAMES: Final = {
    "js": "JS distance",
    "psi": "PSI",
    "mean_psi": "mean PSI",
    "ks": "KS",
    "wasserstein": "W1 / sd",
}


def report_page(period: Period, uri: str | None = None) -> str:
    """The page as HTML: the same bytes for the same history.

    Args:
        period: what is told.
        uri: of the model without its version, for the command that assesses it again; None where it is not known.
    """
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    timeline = _timeline(period)
    marks = [Mark(row.seconds, row.mood, row.number) for row in timeline if row.number]
    return environment.get_template("template.html").render(
        model=printable(period.model),
        since=utc_minute(period.since),
        until=utc_minute(period.until),
        story=story(period),
        over_time=list(over_time(period, marks)),
        marked=bool(marks),
        curve=curve(period),
        drift=_drift(period),
        causes=_causes(period),
        attribution=_attribution(period),
        timeline=timeline,
        worst=_worst(period, uri),
    )


# --- tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feature:
    """A line of the table of drift."""

    feature: str
    cells: list[tuple[str, str]]


def _drift(period: Period) -> dict[str, Any] | None:
    row = next((each for each in reversed(period.assessments) if each.get("drift")), None)
    if row is None:
        return None
    features = row["drift"]
    found = {name for each in features for name in each if name != "feature"}
    names = [name for name in STATISTICS if name in found] + sorted(found - set(STATISTICS))
    shown = [STATISTIC_NAMES.get(name, printable(name).replace("_", " ")) for name in names]
    rows = [
        Feature(
            "all features" if each["feature"] == "all" else printable(each["feature"]),
            [(label, figure(each.get(name), 3)) for label, name in zip(shown, names, strict=True)],
        )
        for each in sorted(features, key=_drift_order)
    ]
    count = f"{figure(row.get('drift_rows'))} rows"
    if row.get("baseline_rows") is not None:
        count += f" against {figure(row['baseline_rows'])} of the baseline"
    watched = f"of {figure(row.get('features_watched'))} watched features the most drifted are shown"
    note = "Effects, not chances: a p-value depends on the number of rows. PSI: above 0.25 is a large shift by custom."
    return {"caption": f"{count}, at {utc_minute(row['at'])}; {watched}.", "names": shown, "rows": rows, "note": note}


def _drift_order(row: Row) -> tuple[bool, float, str]:
    return row["feature"] != "all", -max(value_of(row.get("js")), value_of(row.get("psi"))), str(row["feature"])


def _causes(period: Period) -> dict[str, Any] | None:
    """What the last verdict said that the change comes from."""
    verdicts = [event for event in period.events if event.get("kind") == "verdict" and event.get("causes")]
    if not verdicts:
        return None
    last = verdicts[-1]
    rows = [_cause(name, last["causes"][name]) for name in ("model", "traffic") if last["causes"].get(name)]
    if not rows:
        return None
    caption = (
        f"Version {printable(last.get('version'))} against version {printable(last.get('against'))}, at "
        f"{utc_minute(last['at'])}: by how much each multiplies the noise error at the highest level."
    )
    names = ["cause", "ratio", "95 % interval", "share of the change"]
    note = "Traffic first, which the older version met too, then the model, on the same rows: the whole is the product."
    return {"caption": caption, "names": names, "rows": rows, "note": note}


def _cause(name: str, part: Mapping[str, Any]) -> list[str]:
    ratio, stderr = finite_or_none(part.get("ratio")), finite_or_none(part.get("log_stderr"))
    limits = "-"
    if ratio is not None and stderr is not None:
        low, high = ratio * math.exp(-1.96 * stderr), ratio * math.exp(1.96 * stderr)
        limits = f"{low:.3g} to {high:.3g}"
    return [name, figure(part.get("ratio"), 3), limits, shares(part.get("share"))]


def _attribution(period: Period) -> dict[str, Any] | None:
    """Which groups of features carry the noise error, by the last assessment that was asked for it."""
    row = next((each for each in reversed(period.assessments) if each.get("attribution")), None)
    if row is None:
        return None
    rows = [
        [printable(each.get("group")), shares(each.get("share")), shares(each.get("stderr"))]
        for each in sorted(row["attribution"], key=lambda each: -value_of(each.get("share")))
    ]
    caption = f"Which features carry the noise error, at {utc_minute(row['at'])}."
    return {"caption": caption, "names": ["features", "share", "standard error"], "rows": rows}


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
        mood = "good" if kind == "regression_ended" else MARKED.get(kind, "")
        if kind == "verdict" and event.get("worse") is True:
            mood = "bad"
        rows.append(Happened(event["at"], number, utc_minute(event["at"], seconds=True), sentence(event), mood))
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
    return " ".join(map(shlex.quote, words))


_FLAGS: Final = {
    "--confidence": "confidence", "--task": "task", "--output": "output", "--output-column": "output_column",
    "--integers": "integers", "--scale-axis": "scale_axis",
}  # fmt: skip
