"""The last 24 hours: error and evidence over time, and what happened."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from robmon.export.page.curves import HALF, figure
from robmon.export.page.pieces import short
from robmon.export.published import Published
from robmon.export.recent import DAY_SECONDS, Point
from robmon.report.event_sentences import utc_minute
from robmon.report.html.charts import Chart, Line, Mark, thinned
from robmon.wording import duration

SPARK: Final = {name: (width, 170) for name, (width, _) in HALF.items()}
EVENTS_SHOWN: Final = 8
NEAR_SECONDS: Final = 1800.0
"""A regression that begins so soon after a version is marked with it."""


def last_day(published: Published, told: str) -> str:
    """Error and evidence of the last 24 hours, as far as they were watched, and what is told of the detector."""
    points = published.recent.points
    if len(points) < 2:
        return told and f"<h2>Over time</h2>\n{told}"
    marks = _marks(published, points)
    level, interval = f"{points[-1].level:g}", published.interval_seconds
    infinite = sum(math.isinf(point.mse) for point in points)
    of = f"Of every {duration(slot)} the worst. " if (slot := published.recent.slot_seconds) > interval else ""
    text = f"{of}Times are in UTC.{_infinite(infinite)}"
    span = (points[0].at, max(points[-1].at, points[0].at + 60))
    error = Chart(
        f"Noise error at level {level}",
        [
            Line("new-bound", _line(points, interval, lambda point: point.bound)),
            Line("new", _line(points, interval, lambda point: point.mse)),
        ],
        marks=marks,
        span=span,
    )
    keys = [("new", "mean MSE")]
    keys += [("new-bound", "trial bound")] if any(math.isfinite(point.bound) for point in points) else []
    parts = [figure(error, "day", keys, text, SPARK)]
    if any(point.evidence is not None for point in points):
        threshold = next((point.threshold for point in reversed(points) if point.threshold is not None), None)
        evidence = Chart(
            "Evidence of a worsening over time",
            [Line("old", _line(points, interval, lambda point: point.evidence))],
            marks=marks,
            limit=threshold,
            is_log=True,
            span=span,
        )
        alarm = "" if threshold is None else f"An alarm begins at the dotted line, {threshold:,.0f}."
        parts.append(figure(evidence, "evidence", [("old", "evidence")], alarm, SPARK))
    pictures = "\n".join(parts)
    whole = points[-1].at - points[0].at > 0.97 * DAY_SECONDS
    title = "The last 24 hours" if whole else f"Since {utc_minute(points[0].at)} UTC"
    return f'<h2>{title}</h2>\n<div class="pair">\n{pictures}\n</div>\n{told}'


def _infinite(count: int) -> str:
    return f" In {count} of them an output was not finite: a gap." if count else ""


def _line(
    points: Sequence[Point], interval_seconds: float, value: Callable[[Point], float | None]
) -> list[tuple[float, float | None]]:
    """Joined where assessments follow one another, with a gap where they were missing."""
    return thinned(list(_with_gaps(points, interval_seconds, value)))


def _with_gaps(
    points: Sequence[Point], interval_seconds: float, value: Callable[[Point], float | None]
) -> Iterator[tuple[float, float | None]]:
    steps = sorted(after.at - before.at for before, after in itertools.pairwise(points))
    usual = max(steps[len(steps) // 2], interval_seconds)
    before = points[0].at
    for point in points:
        if point.at - before > 3 * usual:
            yield (point.at + before) / 2, None
        yield point.at, value(point)
        before = point.at


def _marks(published: Published, points: Sequence[Point]) -> list[Mark]:
    """Where another version begins, and where a regression does."""
    began = [event.at for event in published.recent.events if event.kind == "regression_began"]
    marks = []
    for before, after in itertools.pairwise(points):
        if before.version != after.version:
            near = [at for at in began if abs(at - after.at) <= NEAR_SECONDS]
            began = [at for at in began if at not in near]
            marks.append(Mark(after.at, "bad" if near else "", short(f"v{after.version}")))
    return marks + [Mark(at, "bad", "!") for at in began if points[0].at <= at <= points[-1].at]


def last_events(published: Published) -> str:
    """What happened, the newest first."""
    rows = "\n".join(
        f'<tr class="{_STYLES[event.mood]}"><td class="time">{utc_minute(event.at, seconds=True)}</td>'
        f"<td>{html.escape(event.text)}</td></tr>"
        for event in published.recent.events[:EVENTS_SHOWN]
    )
    if not rows:
        return ""
    return (
        '<h2>What happened</h2>\n<table class="timeline">\n<thead><tr><th scope="col">UTC</th>'
        f'<th scope="col">event</th></tr></thead>\n<tbody>\n{rows}\n</tbody></table>'
    )


_STYLES: Final = {"bad": "began", "good": "ended", "": "plain"}
