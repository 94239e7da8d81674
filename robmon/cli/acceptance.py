"""A person accepts a version: written where the daemon remembers verdicts, registry and data folder."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from robmon.errors import ModelError, RegistryError, SettingsError
from robmon.history.folder import DamagedStateError
from robmon.history.memory import TAG_PREFIX, Entries, Entry, later_than, understood
from robmon.history.shared import remember
from robmon.history.store import History
from robmon.models.uri import Endpoint, ModelUri, default_scope, history_key, parse
from robmon.settings import Settings

if TYPE_CHECKING:
    from robmon.models.registry.resolved import Resolved


def accept(uri: str, settings: Settings, *, is_daemons: bool, name: str | None = None) -> str:
    """Make a version the accepted one, which clears a regression of it.

    Args:
        uri: the version; of a model at an endpoint the URL that names it, or `models:/name/version`. Of such a model
            only the data folder is written.
        settings: where registry and data folder are, and which model the daemon watches.
        is_daemons: whether these are the daemon's own settings, else `settings.model` says nothing.
        name: of a model at an endpoint whose URL has none.

    Returns:
        which version was accepted and where that was written, in words.

    Raises:
        ModelError: the model is not a registered one; or an endpoint's version or history is not known.
        RegistryError: the registry did not answer, or refused, and there is no data folder that could stand in.
        SettingsError: the scope is not clear, or the data folder cannot be written.
    """
    parsed = parse(uri)
    watched = parse(settings.model.uri) if is_daemons else None
    if isinstance(parsed, ModelUri) and (endpoint := _endpoint_of(parsed, settings, is_daemons)):
        return _accept_served(endpoint, parsed.target, settings, parsed.name)
    if isinstance(parsed, Endpoint):
        if parsed.version is None:
            raise ModelError("the URL must name the version to accept, as /v2/models/name/versions/3/infer does")
        if not (name := name or settings.model.name or parsed.name):
            raise ModelError("the URL names no model: give the name that the daemon has as model.name")
        return _accept_served(parsed, parsed.version, settings, name)
    return _accept_registered(uri, settings, watched)


def needs_registry(uri: str, settings: Settings, *, is_daemons: bool) -> bool:
    """Whether a registry is asked, and so MLflow needed, to accept that version; arguments as of `accept`."""
    parsed = parse(uri)
    return isinstance(parsed, ModelUri) and _endpoint_of(parsed, settings, is_daemons) is None


def _endpoint_of(model: ModelUri, settings: Settings, is_daemons: bool) -> Endpoint | None:
    """Where the daemon asks the model that `models:/name/version` names, if it asks that one at an endpoint."""
    watched = parse(settings.model.uri) if is_daemons else None
    if model.kind == "version" and isinstance(watched, Endpoint):
        return watched if model.name == (settings.model.name or watched.name) else None
    return None


def _accept_registered(uri: str, settings: Settings, watched: ModelUri | Endpoint | None) -> str:
    # Needs MLflow, which who accepts a version at an endpoint may lack.
    from robmon.models.registry.registry import Registry

    registry = Registry(settings.mlflow.tracking_uri)
    model = registry.resolve(uri)
    if model.tags is None:
        raise ModelError(f"{uri} is not a registered version: only those can be accepted")
    is_watched = isinstance(watched, ModelUri) and watched.is_registered and watched.name == model.name
    if settings.history.scope is not None or not is_watched or watched is None:
        scope = settings.history.scope or _only_scope(model)
    else:
        scope = default_scope(watched)
    history = History(settings.data_dir, model.name)
    in_registry = understood(model.model_tags.get(TAG_PREFIX + scope)) or ()
    entry = _entry(model.version, model.run_id, (*in_registry, *_in_folder(history, scope)))
    has_folder = is_watched or history.exists
    places = []
    if settings.history.store != "folder":
        tag = TAG_PREFIX + scope
        try:
            remember(
                lambda: registry.read_tag(model.name, tag),
                lambda text: registry.write_tag(model.name, tag, text),
                (entry,),
            )
            places.append("the registry")
        except RegistryError:
            if settings.history.store == "registry" or not has_folder:
                raise
    elif not has_folder:
        raise ModelError(f"{settings.data_dir} holds no history of {model.name}: give the daemon's data folder")
    if history.exists or not places:
        _write(history, scope, entry)
        places.append(str(settings.data_dir))
    return f"{model.name}/{model.version} (scope {scope}, in {' and '.join(places)})"


def _only_scope(model: Resolved) -> str:
    """The scope of a model whose daemon's settings are not known: that of the alias, or the only one there is."""
    if model.uri.kind == "alias":
        return model.uri.target
    scopes = sorted(tag.removeprefix(TAG_PREFIX) for tag in model.model_tags if tag.startswith(TAG_PREFIX))
    if len(scopes) > 1:
        raise SettingsError(
            f"verdicts on {model.name} are remembered in the scopes {', '.join(scopes)}: name one with --scope"
        )
    return scopes[0] if scopes else default_scope(model.uri)


def _accept_served(endpoint: Endpoint, version: str, settings: Settings, name: str) -> str:
    history = History(settings.data_dir, history_key(endpoint, name))
    if not history.exists:
        raise ModelError(
            f"{settings.data_dir} holds no history of the model {name} at {endpoint.place}: give the daemon's data "
            "folder, and the URL as it stands in model.uri"
        )
    scope = settings.history.scope or default_scope(endpoint)
    _write(history, scope, _entry(version, None, _in_folder(history, scope)))
    return f"{name}/{version} (scope {scope}, in {settings.data_dir})"


def _entry(version: str, run_id: str | None, before: Entries) -> Entry:
    return Entry(version=version, run_id=run_id, accepted=True, by="person", at=later_than(before, time.time()))


def _in_folder(history: History, scope: str) -> Entries:
    """What is remembered there, as far as it can be read: only to be later than it."""
    with contextlib.suppress(OSError, DamagedStateError):
        return history.read_scope(scope).entries if history.exists else ()
    return ()


def _write(history: History, scope: str, entry: Entry) -> None:
    try:
        history.write_scope(scope, [entry])
    except OSError as error:
        folder: Path = history.data_dir
        raise SettingsError(f"data_dir = {str(folder)!r} cannot be written: {error.strerror}") from None
