"""What speaks against the version for which an alias stands: remembered in the registry's tag and the data folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from robmon.errors import ModelError
from robmon.history.memory import (
    TAG_PREFIX,
    Entries,
    Entry,
    merge,
    of_version,
    standing_rejection,
    understood,
)
from robmon.history.reading import HistoryError, HistoryReader
from robmon.history.scope import Scope
from robmon.history.store import History
from robmon.history.verdict import Verdict
from robmon.models.registry.registry import Registry
from robmon.models.registry.resolved import Resolved

LOOKED_BACK_SECONDS: Final = 7 * 86400.0
"""Before a regression began, for an assessment of the version before it."""


@dataclass(frozen=True)
class Standing:
    """What speaks against the version that an alias stands for.

    Attributes:
        kind: worse than the accepted version, or worse over time than it was itself.
        since: Unix time.
        entry: the rejection that is remembered; None of kind `time`.
        verdict: all of it, where the data folder has it.
    """

    kind: Literal["version", "time"]
    since: float
    entry: Entry | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Curves:
    """Mean noise MSE of both versions, level by level.

    Attributes:
        rows: level, error of the version that is to be served and of the one that is; None where one was not assessed.
        of: which rows and units they are of, in words.
    """

    rows: tuple[tuple[float, float | None, float | None], ...]
    of: str


@dataclass(frozen=True)
class Remembered:
    """What is known of the versions: the registry's tag and the data folder's as one."""

    entries: Entries
    verdict: Verdict | None
    since: float | None
    """When the alarm over time that stands on the version served began."""
    notes: tuple[str, ...]
    reader: HistoryReader | None


def scope_of(model: Resolved, alias: str) -> str:
    """The scope of the alias, or the only one that ends with it, as the chart names them."""
    known = [tag.removeprefix(TAG_PREFIX) for tag in model.model_tags if tag.startswith(TAG_PREFIX)]
    of_alias = sorted(scope for scope in known if scope == alias or scope.endswith(f".{alias}"))
    if len(of_alias) > 1:
        raise ModelError(
            f"verdicts on {model.name} are remembered in the scopes {', '.join(of_alias)}: name one with --scope"
        )
    return of_alias[0] if of_alias else alias


def remember(registry: Registry, model: Resolved, scope: str, data_dir: Path | None) -> Remembered:
    """All that registry and folder know of the versions, those left out whose numbers mean others by now."""
    tag = TAG_PREFIX + scope
    text = model.model_tags.get(tag)
    in_registry = understood(text)
    notes = [] if text is None or in_registry is not None else [f"the registry's tag {tag} cannot be understood"]
    folder, since, reader = Scope(), None, None
    if data_dir is not None and History(data_dir, model.name).state_file.exists():
        try:
            reader = HistoryReader(data_dir, model.name)
            folder, record = reader.scope(scope), reader.detection(scope)
        except HistoryError as error:
            notes.append(f"the data folder says nothing: {error}")
        else:
            is_of_served = record is not None and record.identity["version"] == [model.version, model.run_id]
            since = record.since if record is not None and is_of_served else None
    entries = merge(in_registry or (), folder.entries)
    runs = registry.run_ids(model.name, {entry.version for entry in entries})
    made_anew = [entry.key for entry in entries if runs.get(entry.version, entry.run_id) != entry.run_id]
    judged = folder.judged
    is_served = judged is not None and (judged.version, judged.run_id) == (model.version, model.run_id)
    verdict = judged.verdict if judged is not None and is_served else None
    return Remembered(merge(entries, without=made_anew), verdict, since, tuple(notes), reader)


def curves_of(reader: HistoryReader | None, standing: Standing | None, served: str, target: str) -> Curves | None:
    """Both curves: those that the verdict compared, else of the last assessment of either; None where none is here."""
    verdict = None if standing is None else standing.verdict
    if verdict is not None and verdict.curves is not None and verdict.reference_version == target:
        both = verdict.curves
        units = "" if both.space == "output" else ", in what the verdict compares"
        rows = zip(both.levels, both.reference_mean, both.mean, strict=True)
        return Curves(tuple(rows), f"on the same rows, those of the verdict{units}")
    last: dict[str, dict[str, Any]] = {}
    if reader is not None and standing is not None:
        for row in reader.assessments(standing.since - LOOKED_BACK_SECONDS):
            last[str(row.get("version"))] = row
    to, now = (_by_level(last.get(version)) for version in (target, served))
    if not to or not now:
        return None
    levels = sorted(to.keys() | now.keys())
    found = tuple((level, to.get(level), now.get(level)) for level in levels)
    return Curves(found, "each as it was assessed last, on inputs of its own time")


def _by_level(row: Mapping[str, Any] | None) -> dict[float, float]:
    levels = [] if row is None else row["levels"]
    return {float(each["level"]): float(each["mse"]) for each in levels if "mse" in each}


def standing_of(model: Resolved, remembered: Remembered) -> Standing | None:
    """What speaks against the version, None where nothing does; not what speaks against one before it."""
    entries = remembered.entries
    rejection = standing_rejection(entries, model.version, model.run_id)
    if rejection is not None and rejection.version == model.version:
        return Standing("version", rejection.stands_since, rejection, remembered.verdict)
    return None if remembered.since is None else Standing("time", remembered.since)


def why_none_stands(model: Resolved, alias: str, scope: str, remembered: Remembered) -> str:
    """Why nothing speaks against the version, as far as is known."""
    return "; ".join([_none_stands(model, alias, scope, remembered.entries), *remembered.notes])


def _none_stands(model: Resolved, alias: str, scope: str, entries: Entries) -> str:
    version = f"version {model.version}, for which {alias} of {model.name} stands,"
    entry = of_version(entries, model.version, model.run_id)
    if entry is not None:
        by = {"person": "a person", "verdict": "the verdict", "first": "nobody: it was the first"}[entry.by]
        return f"no regression stands: {version} was accepted by {by}"
    if (other := standing_rejection(entries, model.version, model.run_id)) is not None:
        return (
            f"{version} has no verdict yet, the regression that stands is that of version {other.version}: wait for it"
        )
    scopes = sorted(tag.removeprefix(TAG_PREFIX) for tag in model.model_tags if tag.startswith(TAG_PREFIX))
    others = f", only in {', '.join(scopes)}: name one with --scope" if scopes and scope not in scopes else ""
    return f"no regression is known of: nothing is remembered of {version} in the scope {scope}{others}"
