"""Which models a command speaks of, how they are asked, and where the daemon keeps things."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from robmon.models.loading import RemoteModel
    from robmon.settings import Loaded


def daemon_settings(options: dict[str, Any], flags: dict[str, Any] | None = None) -> Loaded:
    """The settings that a daemon has in this environment; those of its model are made up where it has none."""
    from robmon.settings import load

    flags = {"mlflow.tracking_uri": options["tracking_uri"], **(flags or {})}
    given = {name: str(value) for name, value in flags.items() if value is not None}
    daemon = load(given, options.pop("config"), otherwise={"model.uri": "models:/none/0"})
    options["tracking_uri"] = daemon.settings.mlflow.tracking_uri
    return daemon


def has_daemon(daemon: Loaded) -> bool:
    """Whether a daemon's settings are there, rather than made up."""
    return daemon.sources["model.uri"] != "default"


def daemons_model(daemon: Loaded) -> str | None:
    """The model that the daemon watches; None where there are no settings of it."""
    return daemon.settings.model.uri if has_daemon(daemon) else None


def watched_model(options: dict[str, Any], model: str | None, daemon: Loaded) -> tuple[str, str | RemoteModel]:
    """The model given, else the one that the daemon watches: its URI, and what is asked."""
    if model is not None:
        return model, with_access(options, model)[model]
    if not has_daemon(daemon):
        raise click.UsageError("give --model, or run this where the daemon's settings are")
    uri = daemon.settings.model.uri
    options |= dict(daemon.settings.model.access)
    options.pop("token")
    return uri, with_access(options, uri)[uri]


def with_access(options: dict[str, Any], *models: str) -> dict[str, str | RemoteModel]:
    """The models by what was given: a URI as it is, an endpoint with how it may be asked."""
    from robmon.library.endpoint import endpoint
    from robmon.models.uri import is_endpoint

    access = {name: options.pop(name) for name in ("rows_per_second", "batch_rows", "timeout_seconds", "token_file")}
    if access["token_file"] is not None and not any(map(is_endpoint, models)):
        raise click.UsageError("--token-file is for endpoints, and no model is one")
    return {model: endpoint(model, **access) if is_endpoint(model) else model for model in models}


def use_tracking_uri(options: dict[str, Any]) -> None:
    """MLflow's own variable is how the library functions, and MLflow itself, learn where the registry is."""
    from robmon.models.loading import bound_waiting

    bound_waiting()
    tracking_uri = options.pop("tracking_uri")
    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
