"""The figures of a report: error, evidence and traffic over time, and the curve, old and new."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from robmon.report.event_sentences import Row, figure, utc_minute, value_of, worst_level
from robmon.report.html.charts import Chart, Line, Mark, thinned
from robmon.report.html.period import Period, finite_or_none
from robmon.wording import printable


@dataclass(frozen=True)
class Picture:
    """One figure: its title, a further word, the styles of its lines in words, and the drawing."""

    title: str
    text: str
    keys: list[tuple[str, str]]
    svg: Markup


def picture_of(chart: Chart, name: str, text: str, keys: list[tuple[str, str]]) -> Picture:
    return Picture(chart.title, text, keys, Markup(chart.svg(name)))  # noqa: S704 - numbers, and texts that it escapes


def over_time(period: Period, marks: list[Mark]) -> Iterator[Picture]:
    if not period.assessments:
        return
    span = (period.since, max(period.until, period.since + 60))
    marks = [mark for mark in marks if span[0] <= mark.at <= span[1]]
    level = figure(worst_level(period.assessments[-1]).get("level"))
    lines = [
        Line(style, thinned([(row["at"], finite_or_none(worst_level(row).get(name))) for row in period.assessments]))
        for style, name in (("new-bound", "bound"), ("new", "mse"))
    ]
    keys = [("new", "mean squared error"), ("new-bound", "trial bound")]
    chart = Chart(f"Noise error at level {level}.", lines, marks=marks, span=span)
    yield picture_of(chart, "error", _infinite(period), keys)
    if any("evidence" in row for row in period.assessments):
        yield _evidence(period, marks, span)
    hours = [event for event in period.events if event.get("kind") == "traffic" and event.get("seconds")]
    if hours:
        ends = [(each["at"], each["at"] + each["seconds"], 60 * each["requests"] / each["seconds"]) for each in hours]
        bars = [(max(a, span[0]), min(b, span[1]), rate) for a, b, rate in ends if a < span[1] and b > span[0]]
        yield picture_of(Chart("Requests a minute, by the hour.", bars=bars, span=span), "traffic", "", [])


def _infinite(period: Period) -> str:
    count = sum(value_of(worst_level(row).get("mse")) == math.inf for row in period.assessments)
    return f"In {count} assessments an output was not finite; they are not drawn." if count else ""


def _evidence(period: Period, marks: list[Mark], span: tuple[float, float]) -> Picture:
    points = thinned([(row["at"], finite_or_none(row.get("evidence"))) for row in period.assessments])
    limits = [finite_or_none(row.get("evidence_threshold")) for row in period.assessments]
    limit = next((each for each in reversed(limits) if each is not None), None)
    chart = Chart(
        "Evidence that it has become worse than its baseline's worst hour.", [Line("old", points)], marks=marks,
        limit=limit, is_log=True, span=span,
    )  # fmt: skip
    text = "" if limit is None else f"The dotted line is its threshold, {limit:,.0f}."
    return picture_of(chart, "evidence", text, [])


def curve(period: Period) -> Picture | None:
    worst = period.worst
    if worst is None or not worst.get("levels"):
        return None
    lines, keys = [], []
    baseline = [(float(point["level"]), _baseline_mean(point)) for point in worst["levels"]]
    if any(y is not None and x > 0 for x, y in baseline):
        lines.append(Line("old", baseline, dots=True))
        keys.append(("old", "mean of the baseline"))
    if reference := _reference(period):
        lines.append(Line("before", reference, dots=True))
        keys.append(("before", f"version {printable((period.verdict or {}).get('against'))}, by the verdict"))
    elif period.before is not None and period.before.get("levels"):
        lines.append(Line("before", _points(period.before, "mse"), dots=True))
        keys.append(("before", f"version {printable(period.before.get('version'))}, its last"))
    lines += [Line("new-bound", _points(worst, "bound")), Line("new", _points(worst, "mse"), dots=True)]
    what = f"version {printable(worst.get('version'))}, {utc_minute(worst['at'])}"
    keys += [("new", f"{what}, the worst"), ("new-bound", "its trial bound")]
    chart = Chart("Mean squared error against noise level.", lines, is_time=False)
    return picture_of(chart, "curve", f"Levels in {printable(worst.get('level_unit', 'units of the noise'))}.", keys)


def _reference(period: Period) -> list[tuple[float, float | None]]:
    """The reference version's curve on the rows of the verdict, where that compared errors in output units."""
    verdict, judged = period.verdict, period.judged
    if verdict is None or judged is None or verdict.get("score") != "mse" or not judged.get("levels"):
        return []
    ratios = dict(zip(verdict.get("levels") or (), verdict.get("ratio_by_level") or (), strict=False))
    found: list[tuple[float, float | None]] = [(0.0, 0.0)]
    for level, mse in _points(judged, "mse"):
        ratio = finite_or_none(ratios.get(level))
        if level and mse is not None and ratio:
            found.append((level, mse / ratio))
    return found if len(found) > 1 else []


def _points(row: Row, name: str) -> list[tuple[float, float | None]]:
    return [(float(point["level"]), finite_or_none(point.get(name))) for point in row["levels"]]


def _baseline_mean(point: Row) -> float | None:
    """What the ratio is of; at level 0 nothing, as everywhere."""
    mse, ratio = finite_or_none(point.get("mse")), finite_or_none(point.get("ratio"))
    if not point.get("level"):
        return 0.0 if mse == 0 else None
    return None if mse is None or not ratio else mse / ratio
