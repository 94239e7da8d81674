"""From which versions one inherits its hours, until it has enough of its own: pure functions of the memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from robmon.history.memory import Entries, Entry, of_version
from robmon.vocabulary import FEWEST_HOURS


class Inheritance(NamedTuple):
    """A baseline whose hours stand in for those that a version has not, and how much larger its errors may be."""

    baseline: dict[str, Any]
    ratio: float


def inherits_from(entries: Entries, version: str, run_id: str | None) -> list[str]:
    """The versions that it passed against, and those passed against before, the nearest first."""
    return [entry.against for entry in _passed(entries, version, run_id) if entry.against is not None]


def inheritance(
    entries: Entries, version: str, run_id: str | None, baseline_of: Callable[[str], dict[str, Any] | None]
) -> list[Inheritance]:
    """The versions before it that have hours, the nearest first, until theirs span a day.

    Where every version is replaced within a day, none has a day of its own, and only several have one together.

    Args:
        entries: the memory.
        version, run_id: whose hours are wanted.
        baseline_of: what is known of a version's baseline.

    Returns:
        Empty where none has hours; they end where no ratio to the version before is known.
    """
    ratio, found, hours = 1.0, list[Inheritance](), set[int]()
    for entry in _passed(entries, version, run_id):
        if entry.error_ratio_high is None or entry.against is None or spans_a_day(hours):
            break
        ratio *= entry.error_ratio_high
        baseline = baseline_of(entry.against)
        if baseline is not None and (there := hours_in(baseline)):
            found.append(Inheritance(baseline, ratio))
            hours |= there
    return found


def hours_in(baseline: dict[str, Any]) -> set[int]:
    """The hours of a baseline; what they hold is for the worker to read."""
    hourly = baseline.get("hourly")
    entries = hourly.get("errors", {}).get("hours", []) if isinstance(hourly, dict) else []
    return {int(entry["hour"]) for entry in entries}


def spans_a_day(hours: Collection[int]) -> bool:
    """Whether a limit could be made of these hours."""
    return bool(hours) and max(hours) - min(hours) + 1 >= FEWEST_HOURS


def _passed(entries: Entries, version: str, run_id: str | None) -> Iterator[Entry]:
    entry, seen = of_version(entries, version, run_id), set[str]()
    while entry is not None and entry.accepted and entry.by == "verdict" and entry.version not in seen:
        yield entry
        seen.add(entry.version)
        against = entry.against
        entry = next((each for each in reversed(entries) if each.version == against), None)
