"""The status page: what robmon sees at this moment, for a person with a browser and no dashboard."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Final

from robmon import clock
from robmon.errors import duration
from robmon.export.causes import causes_html
from robmon.export.detection import detection_on_page
from robmon.export.drift import drift_on_page
from robmon.export.published import Measurement, Published
from robmon.export.verdict import headline, ratio_and_chance, verdict_details
from robmon.history.standing import Regression, VersionState
from robmon.history.verdict import Verdict
from robmon.models.uri import mask, parse_endpoint
from robmon.processes.messages import Assessed, LevelResult, ServedResult
from robmon.report.words import found_with_power

_PERSON_DECIDES: Final = ("no_reference", "failed", "other_units")
"""Reasons for want of a verdict in which a person may accept the version in its stead."""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>robmon: {title}</title>
<meta http-equiv="refresh" content="10">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 52rem; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: right; padding: .25rem .75rem; border-bottom: 1px solid #ddd; }}
th:first-child, td:first-child {{ text-align: left; }}
.bad {{ background: #b00020; color: #fff; padding: .5rem 1rem; }}
.good {{ background: #1b5e20; color: #fff; padding: .5rem 1rem; }}
.unknown {{ background: #555; color: #fff; padding: .5rem 1rem; }}
</style></head><body><h1>{title}</h1>
{body}
<p><a href="metrics">metrics</a></p>
</body></html>
"""


def status_page(published: Published, now: float | None = None) -> str:
    """The page as HTML."""
    now = clock.now() if now is None else now
    measurement = published.current_measurement(now)
    parts = [_verdict(published, measurement is not None), _served(published.current_served(now))]
    parts.append(detection_on_page(published.view, _baseline_command(published)))
    parts += [causes_html(published), _model(published), _problem(published)]
    if measurement is not None:
        parts.append(drift_on_page(measurement.result))
    parts.append(_curve(measurement, now) if measurement is not None else "<p>No current assessment.</p>")
    return _PAGE.format(title=html.escape(published.model_name), body="\n".join(parts))


def _verdict(published: Published, is_current: bool) -> str:
    state = published.view.state
    parts = []
    if state.regression is not None:
        parts.append(_regressed(published, state.regression))
    elif state.is_accepted and not state.unseen and published.view.last_assessment_at:
        parts.append(_accepted(state, is_current))
    elif not published.view.last_assessment_at:
        parts.append('<p class="unknown">No version has been assessed since robmon was started.</p>')
    parts += [f'<p class="unknown">{html.escape(each.sentence)}</p>' for each in state.pending]
    if state.regression is None and any(each.reason in _PERSON_DECIDES for each in state.pending):
        parts.append(f"<p>To accept it: {_accept(published, state.version or '')}</p>")
    parts += [f"<p>{html.escape(note)}</p>" for note in (*state.notes, *_ratio_since(state))]
    return "\n".join(parts)


def _accepted(state: VersionState, is_current: bool) -> str:
    """Of an accepted version: who accepted it and when, and what the verdict on it was."""
    version, verdict = html.escape(state.version or ""), state.verdict
    if verdict is not None and verdict.worse:
        told = (
            f"Version {version} was judged worse than version {html.escape(verdict.reference_version)} "
            f"({', '.join(ratio_and_chance(verdict))}) and {_acceptance(state)}."
        )
        return f'<p class="unknown">{told}</p>\n{verdict_details(verdict)}'
    color, until = ("good", "") if is_current else ("unknown", " up to the last good assessment")
    color = "unknown" if state.pending else color
    told = f"No regression{until}. Accepted version: {version}. It was {_acceptance(state)}."
    return f'<p class="{color}">{told}</p>\n{_judged(verdict) if verdict is not None else ""}'


def _acceptance(state: VersionState) -> str:
    """By whom the version was accepted, and when."""
    if state.accepted_at is None:
        return "accepted because model.reference names it"
    who = "a person" if state.accepted_by == "person" else "the verdict"
    return f"accepted by {who} at {clock.utc(state.accepted_at)}"


def _accept(published: Published, version: str) -> str:
    command = html.escape(accept_command(published, version))
    return f"where robmon runs, <code>{command}</code>"


def accept_command(published: Published, version: str) -> str:
    """What accepts a version, typed where the daemon runs."""
    return f"{published.command_prefix}robmon baseline --model {_named(published, version)} --accept"


def _baseline_command(published: Published) -> str:
    """What changes the baseline of the version served, typed where the daemon runs."""
    version = published.view.model.version if published.view.model is not None else ""
    return f"{published.command_prefix}robmon baseline --model {_named(published, version)}"


def _ratio_since(state: VersionState) -> list[str]:
    """How far the accepted versions have come, small step by small step."""
    if state.ratio_since is None or state.ratio_since[0] == state.accepted_version:
        return []
    anchor, ratio = state.ratio_since
    return [f"Since version {anchor} the accepted versions have come to {ratio:.3g} times its noise MSE."]


def _regressed(published: Published, regression: Regression) -> str:
    state = published.view.state
    verdict = state.verdict
    ratio = f", {regression.pooled_ratio:.3g} times its noise error" if regression.pooled_ratio is not None else ""
    ratio = ratio if verdict is None else f", {headline(verdict)}"
    since = f"{datetime.fromtimestamp(regression.since, UTC):%Y-%m-%d %H:%M:%S} UTC"
    served = state.version or regression.version
    pending = f"<p>Version {html.escape(served)} is served now and not judged yet.</p>\n"
    return ("" if served == regression.version else pending) + (
        f'<p class="bad">Robustness regressed: version {html.escape(regression.version)} against '
        f"{html.escape(regression.reference_version)}{ratio}, since {since}.</p>\n"
        f"<p>Roll back, or accept the version: {_accept(published, regression.version)}</p>\n"
        f"{verdict_details(verdict) if verdict is not None else ''}"
    )


def _judged(verdict: Verdict) -> str:
    """Of a version that passed: how sure that is."""
    text = f"It was compared with version {html.escape(verdict.reference_version)}: {headline(verdict)}."
    text = f"{text} {found_with_power(verdict.detectable_ratio)}".rstrip()
    return f"<p>{text}</p>\n{verdict_details(verdict)}"


def _named(published: Published, version: str) -> str:
    """What names that version on the command line."""
    if published.view.model is None or published.view.model.endpoint is None:
        return f"models:/{published.model_name}/{version}"
    endpoint = parse_endpoint(published.view.model.endpoint)
    url = endpoint.url if endpoint.protocol == "mlflow" else endpoint.with_version(version)
    return mask(url) if endpoint.name == published.model_name else f"{mask(url)} --name {published.model_name}"


def _model(published: Published) -> str:
    model, loaded, baseline = published.view.model, published.view.loaded, published.view.baseline
    if model is None or loaded is None:
        return "<p>No model is loaded yet.</p>"
    precision = "" if loaded.precision is None else f" in {loaded.precision}"
    remarks = "".join(f"\n<p>{html.escape(each)}.</p>" for each in loaded.remarks)
    return (
        f"<p>Version {html.escape(model.version)}, {html.escape(loaded.flavor)} on {html.escape(loaded.device)}"
        f"{precision}. Baseline: {html.escape(baseline.source)}, {baseline.rows} rows.</p>{remarks}"
    )


def _problem(published: Published) -> str:
    problems = filter(None, (published.view.problem, published.view.baseline.problem, published.inputs_problem()))
    return "\n".join(f"<p><strong>{html.escape(problem)}</strong></p>" for problem in problems)


def _curve(measurement: Measurement, now: float) -> str:
    result = measurement.result
    rows = "\n".join(_row(point) for point in result.levels)
    index = "none" if result.index is None else f"{result.index:.4g}"
    return (
        f"<p>Assessed {duration(round(now - measurement.at))} ago: {result.plan.rows} rows, {result.plan.trials} "
        f"trials, robustness index {index}. {_noise(result)}</p>\n{_cut(result)}"
        f"<table><tr><th>noise level</th><th>mean MSE</th><th>bound, {result.confidence:g}</th>"
        f"<th>agreement</th><th>ratio to the baseline</th></tr>\n{rows}</table>\n"
        f"{_notes(result)}{_labels(result)}{_named_requests(measurement)}"
    )


def _notes(result: Assessed) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in result.notes)
    return f"<ul>{items}</ul>\n" if items else ""


def _cut(result: Assessed) -> str:
    cut = html.escape(result.plan.cut)
    return f"<p>{cut[:1].upper()}{cut[1:]}.</p>\n" if cut else ""


def _labels(result: Assessed) -> str:
    if result.labels is None:
        return f"<p>Labels: {html.escape(result.label_problem)}.</p>\n" if result.label_problem else ""
    worst = result.labels.levels[-1]
    clean = "" if result.labels.clean_mse is None else f"{result.labels.clean_mse:.4g} without noise, "
    return (
        f"<p>Against labels: {result.labels.rows} rows, mean MSE {clean}{worst.mean_mse:.4g} at level "
        f"{worst.level:.4g}, bound {worst.bound:.4g}.</p>\n"
    )


def _served(served: ServedResult | None) -> str:
    if served is None:
        return ""
    css = ' class="bad"' if served.mismatched else ""
    told = f"{served.mismatched} of {served.compared} are not this version's" if served.compared else ""
    apart = f"{served.not_comparable} have another form than its outputs" if served.not_comparable else ""
    return f"<p{css}>Served answers: {'; '.join(filter(None, (told, apart)))}.</p>"


def _named_requests(measurement: Measurement) -> str:
    told = {
        "Most fragile requests": measurement.fragile_requests,
        "Requests left out, without a finite output even without noise": measurement.nonfinite_requests,
    }
    return "\n".join(f"<p>{what}: {html.escape(', '.join(ids))}</p>" for what, ids in told.items() if ids)


def _noise(result: Assessed) -> str:
    masked = f" {result.masked.capitalize()}." if result.masked else ""
    return html.escape(f"Levels of {result.noise} noise count {result.level_unit}.{masked}")


def _row(point: LevelResult) -> str:
    cells = (point.level, point.mean_mse, point.bound, point.agreement, point.baseline_ratio)
    return "<tr>" + "".join(f"<td>{'' if cell is None else f'{cell:.4g}'}</td>" for cell in cells) + "</tr>"
