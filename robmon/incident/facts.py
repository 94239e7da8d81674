"""What is known of an incident, by a daemon or by its history, as it stands in `incident.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from robmon import clock
from robmon.history.detection import DetectionRecord
from robmon.history.memory import Entries, Key, of_version, reference
from robmon.history.standing import VersionState
from robmon.incident.archive import FORMAT, plain
from robmon.incident.queries import queries
from robmon.models.uri import mask


@dataclass(frozen=True)
class IncidentFacts:
    """What is known at one moment. It holds no production input: where one could be, there is a digest.

    Attributes:
        source: who knows it: a running `daemon`, or the `data_dir` of one.
        model: its name.
        uri: how it is served, as in `model.uri`.
        served: version and run id of what is served.
        state: where that version stands.
        entries: what is remembered of all versions.
        detection: the detector over time.
        registry: what the registry says of versions, by number: tags, commit, flavors.
        assessment: what was computed last, or for the verdict.
        details: further parts, by name, as they are told.
        missing: sentences on what is not in it, and where it is.
        with_inputs: whether the sample goes with it.
    """

    source: Literal["daemon", "data_dir"]
    robmon: str
    model: str
    alias: str | None
    uri: str
    served: Key | None
    state: VersionState
    entries: Entries
    detection: DetectionRecord | None = None
    registry: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    assessment: Mapping[str, Any] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[str] = ()
    with_inputs: bool = False

    @property
    def standing(self) -> dict[str, Any] | None:
        """The regression that stands: of the version against its reference first, else over time."""
        regression, record = self.state.regression, self.detection
        if regression is not None:
            # Another pod's verdict on the version may be the one that is remembered; the bundle has this one's numbers.
            told = regression if self.state.verdict is None else self.state.verdict
            return {
                "kind": "version",
                "version": regression.version,
                "against": regression.reference_version,
                **_since(regression.since),
                "pooled_ratio": told.pooled_ratio,
                "pooled_low": told.pooled_low,
                "pooled_high": told.pooled_high,
                "pvalue": told.pvalue,
                "score": told.score,
            }
        if record is not None and record.since is not None:
            return {
                "kind": "time",
                "version": record.version,
                **_since(record.since),
                "evidence": record.found.evidence,
                "requests": record.found.requests,
            }
        return None

    def to_dict(self) -> dict[str, Any]:
        """As JSON; nothing in it depends on when it was asked for."""
        state, standing = self.state, self.standing
        verdict = None if state.verdict is None else state.verdict.model_dump()
        told = {
            "format": FORMAT,
            "robmon": self.robmon,
            "source": self.source,
            "model": {"name": self.model, "alias": self.alias, "uri": self.uri},
            "served": None if self.served is None else dict(zip(("version", "run_id"), self.served, strict=True)),
            "standing": standing,
            "accepted": self._accepted(),
            "verdict": verdict,
            "blame": None if verdict is None else verdict["causes"],
            "pending": [{"reason": each.reason, "why": each.sentence} for each in state.pending],
            "notes": list(state.notes),
            "versions": self._versions(),
            "over_time": self._over_time(),
            **self.details,
            "assessment": self.assessment,
            "settings": dict(self.settings),
            "queries": queries(self.model, None if standing is None else standing["since"]),
            "with_inputs": self.with_inputs,
            "missing": list(self.missing),
        }
        masked: dict[str, Any] = without_secrets(plain(told))
        return masked

    def _accepted(self) -> dict[str, Any]:
        """The version that others are compared with, and who accepted it; `unseen`: nobody compared it with another."""
        entry = reference(self.entries)
        if entry is None:
            return {"version": self.state.accepted_version, "by": self.state.accepted_by, "unseen": self.state.unseen}
        return {"version": entry.version, "by": entry.by, "unseen": entry.by == "first"}

    def _versions(self) -> list[dict[str, Any]]:
        """All versions that anything is known of, the served one first."""
        state, standing = self.state, self.standing
        roles: dict[str, list[str]] = {}
        for role, version in (
            ("served", self.served and self.served[0]),
            ("worse", standing and standing["version"]),
            ("reference", standing and standing.get("against")),
            ("accepted", state.accepted_version),
        ):
            if version:
                roles.setdefault(version, []).append(role)
        names = [*roles, *(entry.version for entry in self.entries), *self.registry]
        found = []
        for version in dict.fromkeys(names):
            registered = self.registry.get(version, {})
            run_id = registered.get("run_id") or next(
                (entry.run_id for entry in reversed(self.entries) if entry.version == version), None
            )
            if run_id is None and self.served is not None and self.served[0] == version:
                run_id = self.served[1]
            entry = of_version(self.entries, version, run_id)
            remembered = None if entry is None else entry.model_dump()
            one = {"version": version, "roles": roles.get(version, []), "run_id": run_id}
            found.append({**one, **registered, "remembered": remembered})
        return found

    def _over_time(self) -> dict[str, Any] | None:
        """Where the detector stands; not its state, which is kept in the data folder."""
        record = self.detection
        if record is None:
            return None
        found = record.found.model_dump(exclude={"detector"})
        return {"version": record.version, "since": record.since, **found}


def _since(at: float) -> dict[str, Any]:
    return {"since": at, "since_utc": clock.utc(at)}


def without_secrets(value: Any) -> Any:
    """The same with users and passwords in URLs replaced by asterisks, wherever they stand; and what asks with a
    signature of its own, behind a question mark.

    >>> without_secrets({"a": ["http://me:secret@host/x", "https://host/x?X-Amz-Signature=abc"]})
    {'a': ['http://***@host/x', 'https://host/x?***']}
    """
    if isinstance(value, dict):
        return {name: each if name == "queries" else without_secrets(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_secrets(each) for each in value]
    if not isinstance(value, str) or "://" not in value:
        return value
    masked = mask(value)
    head, question, _ = masked.partition("?")
    return f"{head}?***" if question and "://" in head and " " not in masked else masked
