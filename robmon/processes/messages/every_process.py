"""What any process says: that it is there, and what went wrong; and what any is told: to end."""

from __future__ import annotations

from typing import Literal

from robmon.processes.messages.base import Message
from robmon.processes.messages.model import LoadedModel

PROTOCOL_VERSION = 17


class Hello(Message):
    """First message of a worker or fetch process."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL_VERSION
    pid: int


class Rejections(Message):
    """What of a sample could not be used. It holds, and is told, whatever becomes of the rest."""

    counts: dict[str, dict[str, int]] = {}
    """Requests, or rows of them, that could not be used: by format, then by reason."""
    unusable: list[int] = []
    """Indices of the requests of which nothing could be used."""
    rows: int | None = None
    """How many rows of the other requests could be used; None as long as that is not known."""


class Failure(Message):
    """An answer that tells what went wrong, in words that hold no production input.

    `reason` is a short word for counters. `error` is the exception's type, `where` its module and line.
    `message` is only set for robmon's own errors and the system's, never for an exception of the model's code.
    """

    type: Literal["failure"] = "failure"
    reason: str
    error: str = ""
    where: str = ""
    message: str = ""
    rejections: Rejections = Rejections()
    """Rejections of the sample that was to be assessed."""
    served_version: str | None = None
    """Version as which an endpoint answered, where that is another than the one that is assessed."""
    loaded_again: LoadedModel | None = None
    """The model as it has been loaded since, on another device."""

    @property
    def sentence(self) -> str:
        """What went wrong in a sentence; words of model code are not in it."""
        place = f"{self.error} at {self.where}" if self.where else self.error
        if self.message and (not self.where or self.where in self.message):
            return self.message
        return f"{self.message} ({place})" if self.message else place


class Stop(Message):
    """End now."""

    type: Literal["stop"] = "stop"
