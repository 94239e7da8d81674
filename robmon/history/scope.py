"""What is remembered in one scope: a memory, and what only this data folder knows beside it."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from robmon.history.memory import Entries, Key, merge
from robmon.history.verdict import Verdict


class Judged(BaseModel):
    """The last verdict in full, of which the memory keeps the headline only."""

    model_config = ConfigDict(frozen=True)

    version: str
    run_id: str | None = None
    verdict: Verdict


class Scope(BaseModel):
    """What is remembered in one scope."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    entries: Entries = ()
    judged: Judged | None = None
    served: Key | None = None
    """Version and run id of what was served last here, which is known before the registry answers."""

    def merge(self, other: Scope, without: Iterable[Key] = ()) -> Scope:
        """The entries of both but those of some keys; of the rest what the other has where there is nothing here."""
        return Scope(
            entries=merge(self.entries, other.entries, without=without),
            judged=self.judged or other.judged,
            served=self.served or other.served,
        )
