"""What happened beside assessments, as it is kept: a row each, of kinds that stay the same from release to release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EventKind = Literal[
    "started",
    "stopped",
    "robmon_changed",
    "settings_changed",
    "alias_moved",
    "version_loaded",
    "version_accepted",
    "verdict",
    "baseline",
    "regression_began",
    "regression_ended",
    "cause_named",
    "canary_changed",
    "attacked",
    "assessments_missing",
    "assessments_again",
    "worker_restarted",
    "state_damaged",
    "traffic",
]


@dataclass(frozen=True)
class Event:
    """One event: `at` in Unix seconds, and its facts as JSON can hold them; no production input is among them."""

    at: float
    kind: EventKind
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As it is kept: `at`, `kind` and the facts, side by side."""
        return {"at": round(self.at, 3), "kind": self.kind, **self.facts}
