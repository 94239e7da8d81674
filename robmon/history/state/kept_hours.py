"""Row errors by hour in the state file, a row each: a step rewrites the hour that it belongs to, not the whole week.

They are named `VERSION/TERMS/HOUR`; `of` is the name without the hour.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from robmon.history.state.kept import Kept
from robmon.vocabulary import MOST_HOURS

KIND: Final = "hours"
LEFT_OUT: Final = "hours_left_out"
MOST_NAMES: Final = 4
"""Versions, or scales of one, whose hours are kept: the newest, of which one may inherit from another."""


def read(kept: Kept, of: str) -> dict[int, dict[str, Any]]:
    """The hours that are kept under that name."""
    hours = {}
    for name in kept.names(KIND):
        whose, _, hour = name.rpartition("/")
        if whose == of and (content := kept.get(KIND, name)) is not None:
            hours[int(hour)] = json.loads(content)
    return hours


def write(kept: Kept, of: str, hours: Mapping[int, dict[str, Any]]) -> set[int]:
    """Replace these; where one is new, what is too old goes. Gives the hours that a person has left out."""
    known = set(kept.names(KIND)) if hours else set()
    for hour, errors in hours.items():
        kept.put(KIND, f"{of}/{hour}", json.dumps(errors).encode())
    if any(f"{of}/{hour}" not in known for hour in hours):
        _bound(kept)
    return left_out(kept, of)


def of_version(kept: Kept, version: str) -> set[int]:
    """The hours of a version, under whatever terms they were gathered."""
    places = (name.rsplit("/", 2) for name in kept.names(KIND))
    return {int(hour) for whose, _, hour in places if whose == version}


def left_out(kept: Kept, of: str) -> set[int]:
    """The hours of that name's version that a person has left out."""
    content = kept.get(LEFT_OUT, of.rpartition("/")[0])
    return set() if content is None else set(json.loads(content))


def leave_out(kept: Kept, version: str, hour: int) -> None:
    """Leave out this one too."""
    hours = left_out(kept, f"{version}/")
    kept.put(LEFT_OUT, version, json.dumps(sorted({*hours, hour})).encode())


def _bound(kept: Kept) -> None:
    by_name: dict[str, list[int]] = {}
    for name in kept.names(KIND):
        whose, _, hour = name.rpartition("/")
        by_name.setdefault(whose, []).append(int(hour))
    newest = sorted(by_name, key=lambda whose: max(by_name[whose]), reverse=True)
    for index, whose in enumerate(newest):
        keeps = sorted(by_name[whose])[-MOST_HOURS:] if index < MOST_NAMES else []
        for old in set(by_name[whose]) - set(keeps):
            kept.drop(KIND, f"{whose}/{old}")
