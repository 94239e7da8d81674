"""The detector over time on the status page."""

from __future__ import annotations

import math

from robmon import clock
from robmon.export.detection import watching
from robmon.export.page.pieces import command, paragraph
from robmon.export.published import View
from robmon.history.detection import Detection, DetectionRecord
from robmon.vocabulary import DETECTABLE_WITHIN, FEWEST_HOURS


def alarm_over_time(view: View) -> str:
    """A sentence that the version served has become worse than it was; empty while it has not."""
    record = watching(view)
    if record is None or record.since is None:
        return ""
    return paragraph(
        f"Worse than its baseline's worst hour since {clock.utc(record.since)}: evidence {_evidence(record)}, "
        f"and an alarm begins at {record.threshold:.6g}.",
        "bad",
    )


def _evidence(record: DetectionRecord) -> str:
    evidence = record.found.evidence
    return f"{evidence:.4g}" if evidence < 1000 else f"{evidence:.0f}"


def over_time(view: View, drop_hour: str) -> str:
    """What there is to say of it while it is quiet, what it sees, and what hides the rest.

    Args:
        view: what is known.
        drop_hour: the command that leaves out an hour, but for the hour.
    """
    if view.model is None or not view.last_assessment_at:
        return ""
    record = watching(view)
    if record is None:
        return paragraph(_silent(view), "unknown")
    found, told = record.found, []
    if record.since is None:
        told.append(
            f"Over time: evidence {_evidence(record)} of {record.threshold:.6g} that this version has become worse "
            f"than its baseline's worst hour. {_limit(found)}"
        )
    told += [note[:1].upper() + note[1:] + "." for note in found.notes]
    return "\n".join([*map(paragraph, told), *_worst_hour(found, drop_hour)])


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
    told = (
        f"The baseline's worst hour, {hour}, is {found.worst_hour_ratio:.3g} times as bad as its median hour: at other "
        f"times the version may become so much worse before anything is seen. Where that hour was not as it should be, "
        f"leave it out, where robmon runs:"
    )
    return [paragraph(told), command(f"{drop_hour} --without-hour {hour}")]
