"""How far a file has been read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FilePosition(BaseModel):
    """How far one file of production inputs has been read."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    offset: int = 0
    """The next byte; of Parquet the next row."""
    within_record: bool = False
    """Whether that is the middle of a record that is passed over because it is too long."""
    beginning: str = ""
    """Digest of the first bytes, by which a file that was emptied or replaced is told."""
    beginning_bytes: int = 0
    state: str = ""
    """Size and time of the file when its end was reached; empty before."""
    modified_at: float | None = None
    """The time in that state."""
    done: bool = False
    """Whether nothing is left of the file in that state."""
