"""What the worker is asked when it looks for the worst, and answers."""

from __future__ import annotations

from typing import Literal

from robmon.history.attack import AttackFound
from robmon.processes.messages.base import Message
from robmon.processes.messages.question import Assess


class AttackRows(Message):
    """Look for the worst: moves within each radius that change the loaded model's class of rows of the requests."""

    type: Literal["attack"] = "attack"
    sample: Assess
    """The requests, whose bodies are the blobs, and how they are read, as for an assessment; budget, rows and seed are
    those of the attack."""
    radii: list[float]


class Attacked(Message):
    """What came of it, in numbers alone: what was found stays where it was found."""

    type: Literal["attacked"] = "attacked"
    found: AttackFound
