"""What a process of an audit is asked, and answers."""

from __future__ import annotations

from typing import Any, Literal

from robmon.processes.messages.base import Message, SpecificationField


class Examine(Message):
    """Load a version and examine it; the only message that a process of an audit gets."""

    type: Literal["examine"] = "examine"
    path: str
    """Local folder of the version."""
    device: str
    threads: int
    inputs: str
    """Local file."""
    targets: list[str] = []
    """Columns of the labels."""
    specification: SpecificationField
    scale: float | None = None
    """As of `robmon.assess`."""
    seed: int
    attack: dict[str, Any] | None = None
    """Options of `robmon.attack`; None: it is not asked for, as are the others."""
    certify: dict[str, Any] | None = None
    advise: bool = False


class Examined(Message):
    """What was found, in numbers and words alone."""

    type: Literal["examined"] = "examined"
    content: dict[str, Any]
