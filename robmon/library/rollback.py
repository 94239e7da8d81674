"""A person moves an alias of the registry back to the accepted version. The daemon moves none.

A registry moves an alias without any condition, so it is read right before the write and right after it; between these
two reads and the write lies a moment in which somebody else's move goes unseen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from robmon import clock
from robmon.errors import ModelError, ModelNotFoundError, RegistryError, RobmonError
from robmon.history.memory import Entries, Entry, of_version, reference
from robmon.library.standing import Curves, Standing, curves_of, remember, scope_of, standing_of, why_none_stands
from robmon.models.registry.registry import Registry
from robmon.models.registry.resolved import Resolved
from robmon.models.uri import known_aliases, known_versions, parse_registry, registered_name

ROLLBACK_TAG: Final = "robmon.rollback."
"""Of both versions, followed by the alias: what was moved, when and why, as JSON."""


@dataclass(frozen=True)
class Rollback:
    """Which alias is to be moved, from which version to which, and why.

    Attributes:
        name: of the registered model.
        served: the version that the alias stands for now.
        target: the version that it is to stand for.
        standing: None where nothing speaks against the version, and the move is forced.
        notes: sentences on what else is to be known.
    """

    name: str
    alias: str
    served: str
    target: str
    scope: str
    standing: Standing | None
    notes: tuple[str, ...] = ()
    curves: Curves | None = None
    """None where the data folder does not have them."""
    remembered: Entry | None = None
    """What is remembered of the target."""


def plan_rollback(
    registry: Registry,
    name: str,
    alias: str,
    *,
    scope: str | None = None,
    data_dir: Path | None = None,
    to: str | None = None,
    force: bool = False,
) -> Rollback:
    """What is to be moved. Nothing is written.

    Args:
        registry: asked with the credentials of whoever runs this.
        name: of the registered model.
        alias: that is to be moved.
        scope: in which verdicts are remembered; None: that of the alias, by the registry's tags.
        data_dir: the daemon's data folder; None: only the registry is asked.
        to: the version that the alias is to stand for; None: the last accepted one.
        force: without a regression that stands, and to a version that was rejected.

    Raises:
        ModelError: no regression stands, or it is not clear which version is to be served.
        RegistryError, ModelNotFoundError: as `Registry.resolve`.
    """
    model = registry.resolve(f"models:/{name}@{alias}")
    scope = scope or scope_of(model, alias)
    remembered = remember(registry, model, scope, data_dir)
    standing = standing_of(model, remembered)
    if standing is None and not force:
        raise ModelError(f"{why_none_stands(model, alias, scope, remembered)}; --force moves it all the same")
    target, entry = _target(registry, model, remembered.entries, standing, to, force=force)
    curves = curves_of(remembered.reader, standing, model.version, target)
    return Rollback(name, alias, model.version, target, scope, standing, remembered.notes, curves, entry)


def move(registry: Registry, rollback: Rollback) -> None:
    """Move the alias, unless somebody has moved it since it was looked up.

    Raises:
        ModelError: somebody else has moved it, before this or after it.
        RegistryError, ModelNotFoundError: it was not moved, or whether it was is not known.
    """
    name, alias = rollback.name, rollback.alias
    before = registry.aliases(name).get(alias)
    if before != rollback.served:
        raise ModelError(
            f"somebody else has {_moved(alias, name, before)} meanwhile, from version {rollback.served}: nothing was "
            "written"
        )
    try:
        registry.move_alias(name, alias, rollback.target)
    except RobmonError as error:
        _check_not_moved(registry, rollback, error)
    after = registry.aliases(name).get(alias)
    if after != rollback.target:
        raise ModelError(
            f"{alias} was moved to version {rollback.target}, and then somebody else has {_moved(alias, name, after)}: "
            "it was left there"
        )


def write_tags(registry: Registry, rollback: Rollback, at: float) -> str:
    """Tag both versions with what was done; returns the tag's name.

    Raises:
        RegistryError, ModelNotFoundError: as `Registry.resolve`.
    """
    told: dict[str, object] = {"alias": rollback.alias, "from": rollback.served, "to": rollback.target}
    told["at"] = clock.utc(at)
    if rollback.standing is not None:
        entry = rollback.standing.entry
        told |= {"kind": rollback.standing.kind, "since": clock.utc(rollback.standing.since)}
        told |= {} if entry is None else {"against": entry.against, "pooled_ratio": str(entry.pooled_ratio)}
    tag = ROLLBACK_TAG + rollback.alias
    for version in (rollback.served, rollback.target):
        registry.write_version_tag(rollback.name, version, tag, json.dumps(told))
    return tag


def only_alias(registry: Registry, name: str) -> str:
    """The alias of a model that has one only.

    Raises:
        ModelError: it has several, or none.
    """
    aliases = registry.aliases(name)
    if len(aliases) != 1:
        raise ModelError(f"which alias of {name} is to be moved is unclear, {known_aliases(aliases)}: give NAME@ALIAS")
    return next(iter(aliases))


def parse_alias(text: str) -> tuple[str, str | None]:
    """Name and alias in `NAME@ALIAS`, `models:/` before it or not; no alias where none is named.

    >>> parse_alias("digits@champion"), parse_alias("models:/digits@champion"), parse_alias("digits")
    (('digits', 'champion'), ('digits', 'champion'), ('digits', None))

    Raises:
        ModelError: it is another URI.
    """
    uri = text if text.startswith("models:/") else f"models:/{text}"
    if (name := registered_name(uri)) is not None:
        return name, None
    parsed = parse_registry(uri)
    if parsed.kind != "alias":
        raise ModelError(f"{text} names no alias, and nothing else can be moved: give NAME@ALIAS")
    return parsed.name, parsed.target


def _target(
    registry: Registry, model: Resolved, entries: Entries, standing: Standing | None, to: str | None, *, force: bool
) -> tuple[str, Entry | None]:
    """The version, and what is remembered of it."""
    target = to or _accepted(model, entries, standing)
    if target == model.version:
        raise ModelError(f"version {target} of {model.name} is the one that the alias stands for")
    runs = registry.run_ids(model.name, [target])
    if target not in runs:
        known = known_versions(each.number for each in registry.versions(model.name))
        was = "" if to else ", which was accepted,"
        raise ModelNotFoundError(
            f"version {target} of {model.name}{was} does not exist in the registry at {registry.place}, {known}: "
            "choose one with --to"
        )
    entry = of_version(entries, target, runs[target])
    if entry is not None and not entry.accepted and not force:
        raise ModelError(
            f"version {target} of {model.name} was rejected too, against version {entry.against}; --force moves the "
            "alias there all the same"
        )
    return target, entry


def _accepted(model: Resolved, entries: Entries, standing: Standing | None) -> str:
    """The last accepted version, if it is another one."""
    others = tuple(entry for entry in entries if entry.key != (model.version, model.run_id))
    newest = reference(others)
    if standing is not None and standing.kind == "time":
        raise ModelError(
            f"version {model.version} of {model.name} has become worse over time, and no verdict says which version "
            "holds on such inputs: choose one with --to"
        )
    if newest is None and standing is not None and standing.entry is not None and standing.entry.against is not None:
        return standing.entry.against  # by the setting model.reference, which accepts nothing
    if newest is None:
        raise ModelError(f"no accepted version of {model.name} is remembered: choose one with --to")
    return newest.version


def _moved(alias: str, name: str, version: str | None) -> str:
    of = f"{alias} of {name}"
    return f"removed the alias {of}" if version is None else f"moved {of} to version {version}"


def _check_not_moved(registry: Registry, rollback: Rollback, error: RobmonError) -> None:
    """After a write that failed: whether it was done all the same, as where only the answer was lost."""
    try:
        after = registry.aliases(rollback.name).get(rollback.alias)
    except RobmonError:
        raise RegistryError(f"whether {rollback.alias} was moved is not known: {error}") from error
    if after != rollback.target:
        raise type(error)(f"{rollback.alias} was not moved: {error}") from error
