"""From which versions one inherits its hours, until it has enough of its own: pure functions of the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from robmon.history.memory import Entries, Entry, of_version
from robmon.vocabulary import FEWEST_HOURS


class Inheritance(NamedTuple):
    """A baseline whose hours stand in for a version's own, and how much larger that version's errors may be."""

    baseline: dict[str, Any]
    ratio: float


def inherits_from(entries: Entries, version: str, run_id: str | None) -> list[str]:
    """The versions that it passed against, and those passed against before, the nearest first."""
    return [entry.against for entry in _passed(entries, version, run_id) if entry.against is not None]


def inheritance(
    entries: Entries, version: str, run_id: str | None, baseline_of: Callable[[str], dict[str, Any] | None]
) -> Inheritance | None:
    """The nearest version before it that has hours; None where none has, or where no ratio to it is known.

    Args:
        entries: the memory.
        version, run_id: whose hours are wanted.
        baseline_of: what is known of a version's baseline.
    """
    ratio = 1.0
    for entry in _passed(entries, version, run_id):
        if entry.error_ratio_high is None or entry.against is None:
            return None
        ratio *= entry.error_ratio_high
        baseline = baseline_of(entry.against)
        if baseline is not None and _spans_enough(baseline):
            return Inheritance(baseline, ratio)
    return None


def _spans_enough(baseline: dict[str, Any]) -> bool:
    """Whether a limit could be made of its hours; what they hold is for the worker to read."""
    hourly = baseline.get("hourly")
    entries = hourly.get("errors", {}).get("hours", []) if isinstance(hourly, dict) else []
    hours = [int(entry["hour"]) for entry in entries]
    return bool(hours) and max(hours) - min(hours) + 1 >= FEWEST_HOURS


def _passed(entries: Entries, version: str, run_id: str | None) -> Iterator[Entry]:
    entry, seen = of_version(entries, version, run_id), set[str]()
    while entry is not None and entry.accepted and entry.by == "verdict" and entry.version not in seen:
        yield entry
        seen.add(entry.version)
        against = entry.against
        entry = next((each for each in reversed(entries) if each.version == against), None)
