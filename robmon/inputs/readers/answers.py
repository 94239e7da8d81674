"""What a reader of files answers, one answer after the other. It is another process: `robmon.reader`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from robmon.inputs.readers.position import FilePosition


class FileOpened(BaseModel):
    """This file is read next. Should that take the process down, it is not to be tried again in this state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["file_opened"] = "file_opened"
    file: str
    path: str
    state: str
    """What `FilePosition.state` is if its end is reached."""


class FileRows(BaseModel):
    """Some rows of a file; with it come the bytes of what belongs before each of them, and of the rows, on end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["file_rows"] = "file_rows"
    file: str
    position: FilePosition
    """Behind the rows."""
    content_type: str
    modified_at: float
    """Unix time at which the file was last written to."""
    head_bytes: int = 0
    """Bytes of what belongs before each row: the header line of a table."""
    sizes: list[int]
    rejected: dict[str, int]
    """Rows that were left out, by reason."""


class NoMoreRows(BaseModel):
    """There is nothing new in any file at this moment. The files named are no longer there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["no_more_rows"] = "no_more_rows"
    gone: list[str]
    files: int
    """How many there are."""


class ReadFailure(BaseModel):
    """Something could not be read, in words that hold no production input and no credential."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["read_failure"] = "read_failure"
    reason: str
    """`unavailable`: none of the files can be had, and the round is over. Any other is of the file opened last."""
    error: str
    """The exception's type."""
    message: str = ""
    """What to change, where that is known."""


Answer = FileOpened | FileRows | NoMoreRows | ReadFailure
