"""How a model server's endpoint may be asked."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EndpointAccess(BaseModel):
    """How the endpoint of a served model may be asked."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    token: str | None = Field(None, repr=False)
    """A bearer token."""
    token_file: str | None = None
    """File with one, read for each request."""
    rows_per_second: float = 1000
    batch_rows: int = 32
    """Most rows in one request."""
    timeout_seconds: float = 10
    """For one answer."""

    @property
    def request_rows(self) -> int:
        """Most rows in one request: no more than those of a second, but a single one only where that was asked for."""
        return max(min(self.batch_rows, int(self.rows_per_second)), min(self.batch_rows, 2))
