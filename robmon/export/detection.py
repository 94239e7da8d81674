"""The detector over time, as metrics and on the status page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from robmon import clock
from robmon.export.published import Published, View
from robmon.history.detection import Detection, DetectionRecord
from robmon.vocabulary import DETECTABLE_WITHIN, FEWEST_HOURS, DetectionState

HOUR_SECONDS: Final = 3600


def watching(view: View) -> DetectionRecord | None:
    """Where the detector stands on the version that is loaded; None while it is silent."""
    record = view.detection
    if record is None or record.found.basis is None or view.model is None or view.model.version != record.version:
        return None
    return record


def detection_state(view: View) -> DetectionState:
    """In which state detection is."""
    record = watching(view)
    return "learning" if record is None or record.found.basis is None else record.found.basis


def detection_metrics(published: Published) -> Iterator[GaugeMetricFamily]:
    """Evidence and threshold, what can be seen, and in which state detection is. No regression: see `metrics`."""
    name, view = published.model_name, published.view
    if view.model is None:
        return
    states = GaugeMetricFamily(
        "robmon_detection_state",
        "1, with the state of the detector over time: learning (it is silent), or what its limit comes from: the "
        "version before, a day's hours or more, a week's",
        labels=["model_name", "state"],
    )
    states.add_metric([name, detection_state(view)], 1)
    yield states
    record = watching(view)
    if record is None:
        return
    of = [name, record.version]
    evidence = GaugeMetricFamily(
        "robmon_regression_evidence",
        "Evidence that this version has become worse than its baseline's worst hour; averaged over pods, then compared",
        labels=["model_name", "model_version"],
    )
    evidence.add_metric(of, record.found.evidence)
    yield evidence
    threshold = GaugeMetricFamily(
        "robmon_regression_evidence_threshold",
        "Evidence at which an alarm begins: the mean number of assessments between two false ones",
        labels=["model_name", "model_version"],
    )
    threshold.add_metric(of, record.threshold)
    yield threshold
    if record.found.detectable_ratio is not None:
        ratio = GaugeMetricFamily(
            "robmon_detectable_ratio",
            "Smallest ratio to the errors of the baseline's worst hour that is seen within so many assessments",
            labels=["model_name", "within"],
        )
        ratio.add_metric([name, str(DETECTABLE_WITHIN)], record.found.detectable_ratio)
        yield ratio


def detection_on_page(view: View, drop_hour: str) -> str:
    """What there is to say of it, as HTML.

    Args:
        view: what is known.
        drop_hour: the command that leaves out an hour, but for the hour.
    """
    if view.model is None or not view.last_assessment_at:
        return ""
    record = watching(view)
    if record is None:
        return f'<p class="unknown">{html.escape(_silent(view))}</p>'
    found = record.found
    if record.since is not None:
        told = (
            f"Worse than its baseline's worst hour since {clock.utc(record.since)}: evidence {found.evidence:.4g}, and "
            f"an alarm begins at {record.threshold:.6g}."
        )
        first = f'<p class="bad">{html.escape(told)}</p>'
    else:
        first = (
            f"<p>Over time: evidence {found.evidence:.4g} of {record.threshold:.6g} that this version has become worse "
            f"than its baseline's worst hour. {html.escape(_limit(found))}</p>"
        )
    notes = [note[:1].upper() + note[1:] + "." for note in found.notes] + _worst_hour(found, drop_hour)
    return "\n".join([first, *(f"<p>{html.escape(note)}</p>" for note in notes)])


def _silent(view: View) -> str:
    record = view.detection
    of_this = record is not None and view.model is not None and record.version == view.model.version
    found = record.found if record is not None and of_this else Detection()
    if found.problem:
        return f"Nothing says whether this version becomes worse over time: {found.problem}."
    return (
        f"Nothing says yet whether this version becomes worse over time: its baseline spans {found.span_hours} of the "
        f"{FEWEST_HOURS} hours that a limit needs."
    )


def _limit(found: Detection) -> str:
    comes_from = {
        "inherited": "inherited from the version before, until a day of its own is there",
        "day": f"of {found.span_hours} hours, until a week is there",
        "week": "of a week",
    }
    seen, smallest = found.detectable_ratio, ""
    if seen is not None and math.isfinite(seen):
        smallest = f"; x{seen:.3g} of that hour is seen within {DETECTABLE_WITHIN} assessments"
    elif seen is not None:
        smallest = f"; with so few requests nothing is seen within {DETECTABLE_WITHIN} assessments"
    tolerance = f", with a tolerance of {found.tolerance:.0%}" if found.tolerance is not None else ""
    return f"The limit is {comes_from[found.basis or 'day']}{tolerance}{smallest}."


def _worst_hour(found: Detection, drop_hour: str) -> list[str]:
    if found.worst_hour is None or found.worst_hour_ratio is None:
        return []
    hour = clock.utc_hour(found.worst_hour)
    return [
        f"The baseline's worst hour, {hour}, is {found.worst_hour_ratio:.3g} times as bad as its median hour: at other "
        f"times the version may become so much worse before anything is seen. Where that hour was not as it should be, "
        f"leave it out: {drop_hour} --without-hour {hour}"
    ]
