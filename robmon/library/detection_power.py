"""What the detector over time would see with a baseline, before it is used: in words, for the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Final

from robmon.clock import utc_hour
from robmon.drift.detector import RegressionDetector
from robmon.errors import InvalidInputError
from robmon.history.baseline.format import check_readable
from robmon.history.baseline.hours import BaselineHours, hours_of

TOLD_RATIOS: Final = (1.5, 2.0)
EVER: Final = 1e9
"""Assessments, for two thousand years of them: what is not seen within these is never seen."""
NOTABLE_HOUR: Final = 2.0


def read_hours(file: Path) -> BaselineHours:
    """The hours in the file of a baseline.

    Raises:
        InvalidInputError: it cannot be read, is no baseline or a damaged one, or has no hours.
    """
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InvalidInputError(f"{file} is no baseline")
    check_readable(content)
    hours = hours_of(content)
    if hours is None:
        raise InvalidInputError(
            f"the baseline in {file} has no hours, which give limits in time: the daemon puts them into the one that "
            "it learns, DATA_DIR/baselines/MODEL/VERSION.json, once they span 24 hours"
        )
    return hours


def power_sentences(
    hours: BaselineHours,
    *,
    false_alarms_per_month: float,
    interval_seconds: float,
    tolerance: float | None,
    most_rows: int,
) -> list[str]:
    """What these settings buy with such a baseline.

    Args:
        hours: of the baseline.
        false_alarms_per_month, interval_seconds, tolerance: as in `robmon.RegressionDetector`.
        most_rows: of an assessment.

    Raises:
        InvalidInputError: no limit can be made of the hours.
    """
    usable = hours.usable
    detector = RegressionDetector.of_hours(
        usable, false_alarms_per_month=false_alarms_per_month, interval_seconds=interval_seconds, tolerance=tolerance
    )
    limits = detector.limits
    rows = max(1, min(most_rows, round(usable.rows / len(usable.hours) * interval_seconds / 3600)))
    seen = [_seen(detector, ratio, rows) for ratio in TOLD_RATIOS]
    smallest = detector.detectable_ratio(EVER, rows=rows)
    never = f"below x{smallest:.3g} never" if math.isfinite(smallest) else "nothing ever is"
    sentences = [
        f"with this baseline of {limits.span_hours} hours and a tolerance of {limits.tolerance:.0%}: noise error "
        f"{'; '.join(seen)}; {never}",
        *limits.notes,
    ]
    if limits.worst_hour_ratio > NOTABLE_HOUR:
        sentences.append(
            f"the worst hour, {utc_hour(limits.worst_hour)}, is {limits.worst_hour_ratio:.3g} times as bad as the "
            "median one: at other times errors may become so much larger before anything is seen; robmon baseline "
            f"--without-hour {utc_hour(limits.worst_hour)} leaves it out"
        )
    return sentences


def _seen(detector: RegressionDetector, ratio: float, rows: int) -> str:
    assessments, in_rows = detector.delay(ratio, rows=rows)
    if math.isinf(assessments):
        return f"x{ratio:g} of the worst hour is never seen"
    return f"x{ratio:g} of the worst hour is seen within about {assessments:.0f} assessments ({in_rows:.0f} rows)"
