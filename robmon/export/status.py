"""The status page: what robmon sees at this moment, for a person with a browser and no dashboard."""

from __future__ import annotations

import html

from robmon import clock
from robmon.export.causes import canary_alarm, causes_html
from robmon.export.drift import drift_on_page
from robmon.export.novelty import unusual_queries
from robmon.export.page.attack import attack_html
from robmon.export.page.commands import baseline_command
from robmon.export.page.curves import of_now
from robmon.export.page.day import last_day, last_events
from robmon.export.page.detection import alarm_over_time, over_time
from robmon.export.page.document import document
from robmon.export.page.measured import facts, further_noises, measured
from robmon.export.page.pieces import paragraph
from robmon.export.page.verdict import actions_html, comparison_html, mood, picture_html, verdict_html
from robmon.export.published import Measurement, Published
from robmon.processes.messages.findings import ServedResult

FASTEST_SECONDS, SLOWEST_SECONDS = 15, 60
"""How often the page is loaded anew: no oftener than there is something new to be seen."""


def status_page(published: Published, now: float | None = None, *, refreshes: bool = True) -> str:
    """The page as HTML.

    Args:
        published: what is told.
        now: seconds by the clock that never steps; None: this moment.
        refreshes: whether the browser loads it again by itself.
    """
    now = clock.now() if now is None else now
    measurement = published.current_measurement(now)
    is_current, worse = measurement is not None, published.view.worse_since
    now_picture = "" if measurement is None else of_now(published, measurement.model_version, measurement.result)
    shows_now_first = worse is not None and worse[0] == "time"
    parts = [
        _head(published),
        alarm_over_time(published.view),
        verdict_html(published, is_current, now),
        _problem(published),
        canary_alarm(published.view.canary),
        _served(published.current_served(now)),
        *_first_look(published, measurement, now_picture if shows_now_first else picture_html(published)),
        comparison_html(published),
        last_day(published, over_time(published.view, baseline_command(published))),
        measured(measurement, "" if shows_now_first else now_picture, now) if published.view.last_assessment_at else "",
        further_noises(published, now),
        drift_on_page(measurement.result) if measurement is not None else "",
        unusual_queries(measurement) if measurement is not None else "",
        attack_html(published, now),
        causes_html(published),
        last_events(published),
        _foot(published, refreshes),
    ]
    title, look = f"robmon: {published.model_name}", mood(published, is_current)
    seconds = _refresh_seconds(published) if refreshes else None
    return document(title, look, "\n".join(filter(None, parts)), seconds)


def _first_look(published: Published, measurement: Measurement | None, picture: str) -> list[str]:
    """Both curves beside what to do now, where there is something to do; then the numbers that matter."""
    actions, numbers = actions_html(published, measurement), facts(published, measurement)
    beside = [f"<div>{actions}</div>"] if actions else [numbers]
    if not picture:
        return [actions, numbers]
    pair = "\n".join([picture, *beside])
    return [f'<div class="pair first">\n{pair}\n</div>', *([numbers] if actions else [])]


def _refresh_seconds(published: Published) -> int:
    if not published.view.last_assessment_at:
        return FASTEST_SECONDS
    return round(min(max(published.interval_seconds, FASTEST_SECONDS), SLOWEST_SECONDS))


def _head(published: Published) -> str:
    model, loaded, baseline = published.view.model, published.view.loaded, published.view.baseline
    name = f"<h1>{html.escape(published.model_name)}</h1>"
    if model is None or loaded is None:
        return f"<header>{name}\n<p>No model is loaded yet.</p></header>"
    precision = "" if loaded.precision is None else f" in {loaded.precision}"
    where = f"{html.escape(loaded.flavor)} on {html.escape(loaded.device)}{precision}"
    where = "asked at its endpoint" if loaded.flavor == "remote" else where
    remarks = "".join(f"\n{paragraph(f'{each}.')}" for each in loaded.remarks)
    return (
        f"<header>{name}\n<p>Version {html.escape(model.version)}, {where}. Baseline: {html.escape(baseline.source)}, "
        f"{baseline.rows} rows.</p>{remarks}</header>"
    )


def _problem(published: Published) -> str:
    problems = filter(None, (published.view.problem, published.view.baseline.problem, published.inputs_problem()))
    return "\n".join(f'<p class="problem"><strong>{html.escape(problem)}</strong></p>' for problem in problems)


def _served(served: ServedResult | None) -> str:
    if served is None:
        return ""
    told = f"{served.mismatched} of {served.compared} are not this version's" if served.compared else ""
    apart = f"{served.not_comparable} have another form than its outputs" if served.not_comparable else ""
    css = ' class="bad"' if served.mismatched else ""
    return f"<p{css}>Served answers: {'; '.join(filter(None, (told, apart)))}.</p>"


def _foot(published: Published, refreshes: bool) -> str:
    seconds = _refresh_seconds(published)
    reload = (
        f'This page loads itself again every {seconds} s: <a href="?refresh=off">hold it still</a>, to read or to copy.'
        if refreshes
        else '<a href="?">Load it again by itself</a>.'
    )
    return f'<footer><a href="metrics">Metrics</a>. Times are in UTC. {reload}</footer>'
