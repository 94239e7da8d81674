"""One task of an audit: a version, the inputs and the settings; and its result, as one file holds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from robmon.audit.inputs_map import AuditedOn

FORMAT: Final = 1
TRANSIENT: Final = frozenset({"registry_unreachable", "node_lost"})
"""Failures that say nothing of the version: no result is kept."""


@dataclass(frozen=True)
class Task:
    """What one process does. Nothing in it is a credential.

    Attributes:
        name: of the registered model.
        number: of the version.
        identity: of the version, see `ListedVersion.identity`.
        entry: what is done.
        inputs_sha256: digest of the file of inputs.
    """

    name: str
    number: int
    identity: str
    entry: AuditedOn
    inputs_sha256: str

    @property
    def uri(self) -> str:
        """The URI of the version."""
        return f"models:/{self.name}/{self.number}"

    @cached_property
    def group(self) -> str:
        """The group of tasks on the same inputs with the same settings, which are ranked together."""
        return _digest({"inputs": self.inputs_sha256, "settings": self.entry.settings()})

    @cached_property
    def digest(self) -> str:
        """A digest of all that the result depends on."""
        version = {"name": self.name, "number": self.number, "identity": self.identity}
        # Not of the group: what loads a model does not keep it from being ranked beside others.
        loaded_by = {} if self.entry.python is None else {"python": self.entry.python}
        return _digest({"format": FORMAT, "version": version, "group": self.group, **loaded_by})

    def result(self, content: Mapping[str, Any]) -> bytes:
        """The result as a file holds it: the same bytes for the same numbers."""
        head = {
            "format": FORMAT,
            "digest": self.digest,
            "group": self.group,
            "name": self.name,
            "version": str(self.number),
        }
        return json.dumps({**head, **content}, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


@dataclass(frozen=True)
class Limits:
    """What one version may take.

    Attributes:
        seconds: from the start of its process to its result.
        memory_bytes: of its process and of what that starts.
        threads: that it computes with.
        gpus: that it is given alone; 0: it computes on the processor.
    """

    seconds: float = 600.0
    memory_bytes: int | None = None
    threads: int = 1
    gpus: int = 0

    @property
    def device(self) -> str:
        """On which it computes."""
        return "cuda" if self.gpus else "cpu"


def failed(reason: str, why: str) -> dict[str, Any]:
    """The content of the result of a version that could not be examined."""
    return {"outcome": "failed", "reason": reason, "why": why}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
