"""The bundle of what a data folder holds, whether or not a robmon runs that writes it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from robmon.history.reading import HistoryReader
from robmon.history.scope import Scope
from robmon.history.standing import version_state
from robmon.incident import markdown
from robmon.incident.archive import folder_name, pack, to_json
from robmon.incident.facts import IncidentFacts
from robmon.incident.timeline import timeline

MISSING: Final = (
    "production inputs, and how its numbers are computed again: those a running robmon has alone",
    "digest of the sample, ids of the worst requests, drift of all but the features that drifted most, why there is no "
    "verdict where there is none: ask the running robmon",
    "tags and commits of the versions: ask the registry",
    "versions of the libraries beside the model, and its processor",
)


def bundle_of(reader: HistoryReader, scope: str | None) -> bytes:
    """The archive.

    Args:
        reader: of the model's history.
        scope: in which verdicts are remembered; None: the only one, or that in which something stands.

    Raises:
        HistoryError: the history cannot be read.
    """
    name, remembered = _scope(reader, scope)
    record = reader.detection(name)
    state = version_state(remembered.entries, remembered.served, judged=remembered.judged)
    since = state.regression.since if state.regression is not None else None if record is None else record.since
    happened = timeline(reader, since)
    told = reader.daemon_facts()
    settings = told.get("settings") or {}
    known = IncidentFacts(
        source="data_dir",
        robmon=metadata.version("robmon"),
        model=reader.model,
        alias=name.rpartition(".")[2] if name not in ("", "pinned") else None,
        uri=str(settings.get("model.uri", "")),
        served=remembered.served,
        state=state,
        entries=remembered.entries,
        detection=record,
        settings=settings,
        details=_details(happened, told),
        missing=MISSING,
    )
    facts = known.to_dict()
    files = {
        "incident.json": to_json(facts),
        "INCIDENT.md": markdown.summary(facts, happened),
        "REPRODUCE.md": markdown.reproduce(facts),
        "timeline.json": to_json(happened),
    }
    return pack(folder_name(known.model, known.served and known.served[0]), files)


def _scope(reader: HistoryReader, wanted: str | None) -> tuple[str, Scope]:
    names = [wanted] if wanted is not None else reader.scopes()
    found = [(name, reader.scope(name)) for name in names]
    judged = [each for each in found if each[1].judged is not None or each[1].entries]
    return (judged or found or [("", Scope())])[0]


def _details(happened: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """What is the same as of a running robmon, as far as it is kept."""
    rows = happened["assessments"]
    shares = next((row["attribution"] for row in reversed(rows) if row.get("attribution")), None)
    return {
        "last_assessment": rows[-1] if rows else None,
        "last_attribution": shares,
        "written_by_robmon": told.get("robmon"),
    }
