"""A learnt baseline that the pods of a version share: whoever has hours that it lacks adds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from robmon.history.baseline_hours import BaselineHours, hours_of
from robmon.history.checksum import is_intact, with_checksum


def share(
    read: Callable[[], dict[str, Any] | None],
    write: Callable[[dict[str, Any]], None],
    baseline: dict[str, Any],
    new_hours: Mapping[str, Any],
) -> dict[str, Any]:
    """Put a baseline where all read it, merged with what lies there; gives what lies there then.

    Of two pods that write at the same moment one is lost: its later hours are not, and the other's are there. What is
    there is damaged, or of other terms: it is replaced.

    Args:
        read: what lies there.
        write: replaces it.
        baseline: as it stands here.
        new_hours: those of its hours that this pod has not put there before.

    Raises:
        InvalidInputError: the hours are damaged. Whatever `read` and `write` raise.
    """
    there = read()
    merged = baseline if there is None or not is_intact(there) else _merged(there, baseline, new_hours)
    if merged != there:
        write(merged)
    return merged


def leave_out(baseline: dict[str, Any], hour: int) -> dict[str, Any]:
    """The baseline without one of its hours, whoever adds to it later.

    Raises:
        InvalidInputError: it has no hours, or they are damaged.
    """
    hours = BaselineHours.from_dict(baseline.get("hourly"))
    changed = hours.leaving_out(hour)
    return with_checksum({**baseline, "hourly": changed.to_dict()})


def _merged(there: dict[str, Any], baseline: dict[str, Any], new_hours: Mapping[str, Any]) -> dict[str, Any]:
    ours = BaselineHours.from_dict(new_hours)
    theirs = hours_of(there, ours.terms)
    if theirs is None or theirs.errors.score != ours.errors.score:
        return baseline
    return with_checksum({**there, "hourly": theirs.merged(ours).to_dict()})
