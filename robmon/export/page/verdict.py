"""The verdict on the version served: what it is, how sure, and what to do now."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from robmon import clock
from robmon.export.page.commands import (
    how_to_accept,
    other_inputs,
    what_to_do,
    what_to_do_about_inputs,
    what_to_do_over_time,
)
from robmon.export.page.curves import of_verdict
from robmon.export.page.document import Mood
from robmon.export.page.pieces import number, paragraph, short, table
from robmon.export.published import Measurement, Published
from robmon.export.verdict import headline, ratio_and_chance
from robmon.history.standing import Regression, VersionState
from robmon.history.verdict import Verdict
from robmon.report.words import found_with_power, percent
from robmon.wording import duration

_PERSON_DECIDES: Final = ("no_reference", "failed", "other_units")
"""Reasons for want of a verdict in which a person may accept the version in its stead."""
_WAITS: Final = (
    "That begins as soon as enough requests have arrived at the port for inputs; robmon_inputs_received_total, among "
    "the metrics, counts them."
)


def mood(published: Published, is_current: bool) -> Mood:
    """How the page as a whole looks: of a tab that is not looked at, its icon."""
    state, canary = published.view.state, published.view.canary
    is_changed = canary is not None and canary.is_changed
    if state.regression is not None or published.view.worse_since is not None or is_changed:
        return "bad"
    is_good = state.is_accepted and not state.unseen and not state.pending and bool(published.view.last_assessment_at)
    return "good" if is_good and is_current else "unknown"


def verdict_html(published: Published, is_current: bool, now: float) -> str:
    """What is known of the version served."""
    state = published.view.state
    parts = []
    if state.regression is not None:
        parts.append(_regressed(published, state.regression, now))
    elif state.is_accepted and not state.unseen and published.view.last_assessment_at:
        parts.append(_accepted(state, is_current, has_alarm=published.view.worse_since is not None))
    elif not published.view.last_assessment_at:
        parts.append(paragraph("No version has been assessed since robmon was started.", "unknown"))
        if published.view.loaded is not None:
            parts.append(paragraph(_WAITS))
    parts += [paragraph(each.sentence, "unknown") for each in state.pending]
    parts += [paragraph(note) for note in (*state.notes, *_ratio_since(state))]
    return "\n".join(parts)


def actions_html(published: Published, measurement: Measurement | None) -> str:
    """What to do now; empty where nothing is to be done."""
    inputs = other_inputs(measurement.result if measurement is not None else None)
    state, worse = published.view.state, published.view.worse_since
    if state.regression is not None:
        return what_to_do(published, state.regression, inputs)
    if worse is not None:
        return what_to_do_over_time(published, worse[1], inputs)
    if any(each.reason in _PERSON_DECIDES for each in state.pending):
        return how_to_accept(published, state.version or "", inputs)
    return what_to_do_about_inputs(published, inputs)


def picture_html(published: Published) -> str:
    """Both curves of the last verdict; empty where they are not known."""
    verdict = published.view.state.verdict
    return "" if verdict is None or verdict.curves is None else of_verdict(published, verdict, verdict.curves)


def _accepted(state: VersionState, is_current: bool, has_alarm: bool) -> str:
    """Of an accepted version: who accepted it and when, and what the verdict on it was."""
    version, verdict = html.escape(state.version or ""), state.verdict
    if verdict is not None and verdict.worse:
        told = (
            f"Version {version} was judged worse than version {html.escape(verdict.reference_version)} "
            f"({', '.join(ratio_and_chance(verdict))}) and {_acceptance(state)}."
        )
        return f'<p class="unknown">{told}</p>'
    color, until = ("good", "") if is_current else ("unknown", " up to the last good assessment")
    color = "unknown" if state.pending else color
    none = f"No regression{until}. "
    if has_alarm:  # over time
        color, none = "unknown", ""
    told = f"{none}Accepted version: {version}. It was {_acceptance(state)}."
    return f'<p class="{color}">{told}</p>\n{_judged(verdict) if verdict is not None else ""}'


def _acceptance(state: VersionState) -> str:
    """By whom the version was accepted, and when."""
    if state.accepted_at is None:
        return "accepted because model.reference names it"
    who = "a person" if state.accepted_by == "person" else "the verdict"
    return f"accepted by {who} at {clock.utc(state.accepted_at)}"


def _judged(verdict: Verdict) -> str:
    """For a version that passed: how sure that is."""
    text = f"It was compared with version {verdict.reference_version}: {headline(verdict)}."
    return paragraph(f"{text} {found_with_power(verdict.detectable_ratio)}".rstrip())


def _ratio_since(state: VersionState) -> list[str]:
    """How far the accepted versions have come, small step by small step."""
    if state.ratio_since is None or state.ratio_since[0] == state.accepted_version:
        return []
    anchor, ratio = state.ratio_since
    return [f"Since version {anchor} the accepted versions have come to {ratio:.3g} times its noise MSE."]


def _regressed(published: Published, regression: Regression, now: float) -> str:
    state = published.view.state
    verdict = state.verdict
    ratio = f", {regression.pooled_ratio:.3g} times its noise error" if regression.pooled_ratio is not None else ""
    ratio = ratio if verdict is None else f", {html.escape(headline(verdict))}"
    since = f"{datetime.fromtimestamp(regression.since, UTC):%Y-%m-%d %H:%M:%S} UTC"
    ago = round(clock.as_shown(now) - regression.since)
    told = f" ({duration(ago)} ago)" if ago > 0 else ""
    served = state.version or regression.version
    pending = f"<p>Version {html.escape(served)} is served now and not judged yet.</p>"
    return (
        f'<p class="bad">Robustness regressed: version {html.escape(regression.version)} against '
        f"{html.escape(regression.reference_version)}{ratio}, since {since}{told}.</p>"
        f"{'' if served == regression.version else pending}"
    )


def comparison_html(published: Published) -> str:
    """The last verdict by level, what was compared, and what could have been found."""
    verdict = published.view.state.verdict
    if verdict is None:
        return ""
    is_standing = published.view.state.regression is not None
    judged, reference = short(published.view.judged_version or ""), short(verdict.reference_version)
    versions = f"Version {judged} against version {reference}, by level"
    return f"<h2>{html.escape(versions)}</h2>\n{_table(published, verdict)}\n{verdict_details(verdict, is_standing)}"


def verdict_details(verdict: Verdict, is_standing: bool = False) -> str:
    """What was compared and why that, how much classes differ, and what could have been found."""
    told = [f"Compared: {verdict.why}."]
    if verdict.disagreement is not None:
        told.append(f"Without noise {percent(verdict.disagreement)} of the rows get another class.")
    told += filter(None, [verdict.flip_note])
    detectable = verdict.detectable_ratio
    if is_standing and detectable is not None and math.isfinite(detectable):
        told.append(f"On these rows errors {detectable:.3g} times as large are found with 90 % power.")
    return paragraph(" ".join(told))


def _table(published: Published, verdict: Verdict) -> str:
    """A line a level, and one for all together, which the verdict tests."""
    judged, reference = short(published.view.judged_version or ""), short(verdict.reference_version)
    ratio = {"flips": "flip ratio", "triplets": "triplet ratio"}.get(verdict.score, "MSE ratio")
    interval = f"{percent(verdict.confidence)} interval"
    columns = [("level", [f"{level:.4g}" for level in verdict.levels], "all")]
    if (curves := verdict.curves) is not None:
        for version, values in ((reference, curves.reference_mean), (judged, curves.mean)):
            means = dict(zip(curves.levels, values, strict=True))
            columns.append((f"version {version}", [number(means[level]) for level in verdict.levels], ""))
    columns.append((ratio, _numbers(verdict.ratio), number(verdict.pooled_ratio)))
    if verdict.ratio_low is not None and verdict.ratio_high is not None:
        limits = zip(_numbers(verdict.ratio_low), _numbers(verdict.ratio_high), strict=True)
        pooled = f"{number(verdict.pooled_low)} to {number(verdict.pooled_high)}"
        columns.append((interval, [f"{low} to {high}" for low, high in limits], pooled))
    if verdict.score != "flips" and verdict.flip_ratio is not None:
        columns.append(("flip ratio", _numbers(verdict.flip_ratio), ""))
    if verdict.agreement_a is not None and verdict.agreement_b is not None:
        columns.append((f"agreement of version {reference}", _numbers(verdict.agreement_a), ""))
        columns.append((f"agreement of version {judged}", _numbers(verdict.agreement_b), ""))
    names, cells, last = zip(*columns, strict=True)
    caption = f"All levels together are what is tested: {ratio_and_chance(verdict)[1]}."
    return table(names, [*zip(*cells, strict=True), last], caption)


def _numbers(values: Sequence[float]) -> list[str]:
    return [number(each) for each in values]
