"""What happened around an incident, from the history: events, and the assessments that say most."""

from __future__ import annotations

from typing import Any, Final

from robmon.history.reading import HistoryReader, Period
from robmon.history.thinning import worst_of
from robmon.report.event_sentences import badness

DAY_SECONDS: Final = 24 * 3600.0
"""So much before the newest entry is told."""
BEFORE_SECONDS: Final = 3600.0
"""And so much before a regression began, unless that is days ago: a history may hold a row a second of a quarter of a
year."""
MOST_ROWS: Final = 200
MOST_EVENTS: Final = 500


def timeline(reader: HistoryReader, since: float | None) -> dict[str, Any]:
    """Events and assessments of the last day, or from before that Unix time on; of many the worst of each stretch.

    Raises:
        HistoryError: the history cannot be read.
    """
    begin = reader.begin(Period(seconds=DAY_SECONDS)) or 0.0
    if since is not None:
        begin = max(min(begin, since - BEFORE_SECONDS), begin - DAY_SECONDS)
    rows, counts = worst_of(reader.assessments(begin), MOST_ROWS // 2, badness)
    events = reader.events(begin)
    return {
        "since": begin,
        "assessments_by_version": dict(counts),
        "assessments": rows,
        "events": events[-MOST_EVENTS:],
        "events_left_out": max(len(events) - MOST_EVENTS, 0),
    }
