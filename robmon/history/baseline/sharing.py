"""A learnt baseline that the pods of a version share: whoever has hours that it lacks adds them, each once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from robmon.history.baseline.checksum import is_intact, with_checksum
from robmon.history.baseline.hours import BaselineHours, hours_of
from robmon.history.shared import settle

ADDED: Final = "hours_added"
"""The ids of what was added: of a pod that reads again after its write, whether another has overwritten it."""
WRITING_SECONDS: Final = 0.3
"""What is not whole may be just being written: it is looked at once more after so long before it is replaced."""
MOST_ADDED: Final = 1024
"""Ids that are kept, the newest: many more than are offered again meanwhile, which would be added twice."""


def share(
    read: Callable[[], dict[str, Any] | None],
    write: Callable[[dict[str, Any]], None],
    baseline: dict[str, Any],
    new_hours: Mapping[str, Mapping[str, Any]],
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Put a baseline where all read it, merged with what lies there; gives what lies there then.

    Each part of its hours has an id, and is added where that id is not there yet: so a part that another pod's write
    has overwritten is added again, and none twice. What is there is damaged, or of other terms: it is replaced.

    Args:
        read: what lies there.
        write: replaces it.
        baseline: as it stands here.
        new_hours: by id, what this pod has to add, whether it did before or not; few, the newest last.
        pause: waits so many seconds before it reads again.

    Raises:
        InvalidInputError: the hours are damaged.
        RegistryError: others overwrote it again and again. Whatever `read` and `write` raise.
    """
    parts = {name: BaselineHours.from_dict(hours) for name, hours in new_hours.items()}
    terms = next(reversed(parts.values())).terms if parts else None
    current = {name: part for name, part in parts.items() if part.terms == terms}

    def read_whole() -> dict[str, Any] | None:
        there = read()
        if there is None or not is_intact(there):
            pause(WRITING_SECONDS)
            there = read()
        return there

    def merged(there: dict[str, Any] | None) -> dict[str, Any] | None:
        return _merged(there, baseline, current)

    return settle(read_whole, lambda content: write(content or {}), merged, pause) or baseline


def leave_out(baseline: dict[str, Any], hour: int) -> dict[str, Any]:
    """The baseline without one of its hours, whoever adds to it later.

    Raises:
        InvalidInputError: it has no hours, or they are damaged.
    """
    hours = BaselineHours.from_dict(baseline.get("hourly"))
    changed = hours.leaving_out(hour)
    return with_checksum({**baseline, "hourly": changed.to_dict()})


def _merged(
    there: dict[str, Any] | None, baseline: dict[str, Any], parts: Mapping[str, BaselineHours]
) -> dict[str, Any]:
    terms = next(iter(parts.values())).terms if parts else None
    theirs = hours_of(there, terms) if there is not None and is_intact(there) else None
    if there is None or theirs is None or any(part.errors.score != theirs.errors.score for part in parts.values()):
        return _with_added(baseline, parts)
    missing = {name: part for name, part in parts.items() if name not in there.get(ADDED, ())}
    if not missing:
        return there
    for part in missing.values():
        theirs = theirs.merged(part)
    return _with_added({**there, "hourly": theirs.to_dict()}, missing)


def _with_added(baseline: dict[str, Any], added: Mapping[str, BaselineHours]) -> dict[str, Any]:
    known = [name for name in baseline.get(ADDED, ()) if name not in added]
    return with_checksum({**baseline, ADDED: [*known, *added][-MOST_ADDED:]})
