"""What the process is asked that reads files; it answers in the words of `inputs.readers.answers`."""

from __future__ import annotations

from typing import Literal

from robmon.inputs.readers.position import FilePosition
from robmon.processes.messages.base import Message


class Tail(Message):
    """Read what is new in the files; the first message a tail process gets."""

    type: Literal["tail"] = "tail"
    url: str
    max_age_seconds: float
    max_body_bytes: int
    positions: dict[str, FilePosition]


class ReadMore(Message):
    """Go on."""

    type: Literal["read_more"] = "read_more"
