"""What of a period the report tells: which assessment is the worst, which curve is the old one, what stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from robmon.report.event_sentences import badness, value_of

Row = Mapping[str, Any]
JUST_BEFORE_SECONDS: Final = 3600.0
"""What changed this long before a regression began may have caused it."""
CHANGES: Final = ("version_loaded", "alias_moved", "settings_changed", "robmon_changed", "canary_changed", "started")
"""Events that may make a model, or what is measured of it, another one."""


@dataclass(frozen=True)
class Period:
    """What is told.

    Attributes:
        model: whose history it is.
        assessments: of the period, or of many those that matter.
        counts: how many there were of each version.
        all_events: those that are known, also of before.
        specifications: by their names.
    """

    model: str
    assessments: Sequence[Row]
    counts: Mapping[str, int]
    all_events: Sequence[Row]
    specifications: Mapping[str, Row]

    @cached_property
    def since(self) -> float:
        """Unix time of the oldest assessment, or of the oldest event where there is none."""
        return min((float(row["at"]) for row in self.assessments or self.all_events), default=0.0)

    @cached_property
    def until(self) -> float:
        """Unix time of the newest entry."""
        return max((float(row["at"]) for row in (*self.assessments, *self.all_events)), default=0.0)

    @cached_property
    def events(self) -> list[Row]:
        """The events of the period, and what happened in the hour before its first assessment."""
        return [event for event in self.all_events if event["at"] >= self.since - JUST_BEFORE_SECONDS]

    @cached_property
    def standing(self) -> list[Row]:
        """The beginnings of the regressions that stand at the end."""
        began: dict[Any, Row] = {}
        for event in self.all_events:
            if event.get("kind") == "regression_began":
                began[event.get("regression")] = event
            elif event.get("kind") == "regression_ended":
                began.pop(event.get("regression"), None)
        return list(began.values())

    @cached_property
    def worst(self) -> Row | None:
        """The assessment with the largest ratio to its baseline, else with the largest error, at its highest level."""
        return max(self.assessments, key=badness, default=None)

    @cached_property
    def before(self) -> Row | None:
        """The last assessment of the version before the one of the worst, where the period has one."""
        if self.worst is None:
            return None
        at, version = self.worst["at"], self.worst.get("version")
        others = [row for row in self.assessments if row["at"] < at and row.get("version") != version]
        return others[-1] if others else None

    @cached_property
    def verdict(self) -> Row | None:
        """The last verdict on the version of the worst assessment."""
        version = self.worst.get("version") if self.worst is not None else None
        found = [each for each in self.events if each.get("kind") == "verdict" and each.get("version") == version]
        return found[-1] if found else None

    @cached_property
    def judged(self) -> Row | None:
        """The assessment from which that verdict came."""
        if self.verdict is None:
            return None
        at, version = self.verdict["at"] + 1, self.verdict.get("version")
        rows = [row for row in self.assessments if row["at"] <= at and row.get("version") == version]
        return rows[-1] if rows else None

    def specification_of(self, row: Row) -> Row | None:
        """By which an assessment was made, where that is known."""
        return self.specifications.get(str(row.get("specification_name")))

    def changes_before(self, at: float) -> list[Row]:
        """What changed in the hour before that time, the newest first."""
        found = [
            event
            for event in self.all_events
            if event.get("kind") in CHANGES and at - JUST_BEFORE_SECONDS <= event["at"] <= at
        ]
        return found[::-1]


def finite_or_none(number: Any) -> float | None:
    """A number of a row as it can be drawn."""
    value = value_of(number)
    return value if math.isfinite(value) else None
