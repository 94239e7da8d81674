"""What the fetch process is asked of the registry, and answers."""

from __future__ import annotations

from typing import Any, Literal

from robmon.models.access import EndpointAccess
from robmon.processes.messages.base import Message
from robmon.processes.messages.model import ModelVersion


class Fetch(Message):
    """Resolve `uri`; download it unless it resolves to `known_version`."""

    type: Literal["fetch"] = "fetch"
    uri: str
    tracking_uri: str | None = None
    data_dir: str
    known_version: str | None = None
    allowed_flavors: list[str] = []
    require_tags: list[str] = []
    keep_versions: list[str] = []
    access: EndpointAccess = EndpointAccess()
    memory_tag: str | None = None
    """Tag of the registered model that is read too: what is remembered of its versions."""
    remembered_versions: list[str] = []
    """Versions whose runs are asked for, besides those in the tag."""


class Fetched(Message):
    """What `uri` is now. `model` is None where it is still the known version."""

    type: Literal["fetched"] = "fetched"
    version: str
    model: ModelVersion | None
    memory: str | None = None
    """The tag's text, None where there is none."""
    run_ids: dict[str, str | None] = {}
    """The runs of the versions that are remembered, of those that the registry has."""
    aliases: dict[str, str] = {}
    """The registered model's aliases, and the versions that they stand for."""


class Remember(Message):
    """Merge entries into what a tag of a registered model remembers of its versions."""

    type: Literal["remember"] = "remember"
    tracking_uri: str | None = None
    name: str
    tag: str
    entries: str
    """As JSON, see `history.memory`."""
    without: list[tuple[str, str | None]] = []
    """Version and run id of entries that are taken out."""


class Remembered(Message):
    """What the tag holds, as it was read again after the write."""

    type: Literal["remembered"] = "remembered"
    memory: str


class LogResults(Message):
    """Log what assessments found to the run that made the version."""

    type: Literal["log_results"] = "log_results"
    tracking_uri: str | None = None
    run_id: str
    metrics: list[tuple[str, float, int, int]]
    """Name, value, Unix milliseconds and step of each; the same one twice is one."""
    tags: dict[str, str]
    curve: dict[str, Any]
    """The last one, as JSON."""


class ResultsLogged(Message):
    """The results are logged."""

    type: Literal["results_logged"] = "results_logged"


class ShareBaseline(Message):
    """Put a learnt baseline beside the version's model, merged with what other pods have put there."""

    type: Literal["share_baseline"] = "share_baseline"
    tracking_uri: str | None = None
    name: str
    version: str
    baseline: dict[str, Any]
    """As it stands here; what is there wins, but for the hours."""
    new_hours: dict[str, dict[str, Any]]
    """By id, the hours that this pod has gathered: those that are not there are added."""


class BaselineShared(Message):
    """What lies there now."""

    type: Literal["baseline_shared"] = "baseline_shared"
    baseline: dict[str, Any]
