"""The daemon: run it, or look at its settings."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robmon.cli.files import print_wide
from robmon.cli.options import SettingsCommand, config_option, load_settings

if TYPE_CHECKING:
    from robmon.settings import Loaded, Settings

ACCEPTING = ("model.uri", "model.name", "mlflow.tracking_uri", "data_dir", "history.scope", "history.store")
"""The settings that `robmon baseline --accept` needs to have of the daemon."""


@click.command(cls=SettingsCommand, short_help="Watch a served model: the daemon.")
@config_option
def run(config: Path | None, **flags: str | None) -> None:
    """Run the daemon beside a served model until SIGTERM or Ctrl-C.

    Every setting below can also be given as an environment variable (--assess.levels is ROBMON_ASSESS__LEVELS) or in
    the YAML file named by --config.
    """
    with _without_rich():
        from robmon import logs
        from robmon.daemon.app import run as run_daemon

    loaded = load_settings(config, flags)
    logs.configure(loaded.settings.log.level, loaded.settings.log.format)
    run_daemon(loaded.settings, command_prefix(loaded, config))


def _alerts_told(settings: Settings, baseline: Path | None) -> list[str]:
    """What the settings of the detector over time buy: its threshold, and with a baseline how soon it sees what."""
    from robmon.vocabulary import detection_threshold

    alerts, interval_seconds = settings.alerts, settings.assess.interval_seconds
    allowed = alerts.false_alarms_per_month
    often = "one false alarm in 30 days" if allowed == 1 else f"{allowed:g} false alarms in 30 days"
    told = f"{often}, over all pods: an alarm begins at evidence {detection_threshold(allowed, interval_seconds):.6g}"
    if baseline is None:
        return [
            f"{told}; what is seen, and how soon, depends on a baseline that the daemon has learnt (--baseline FILE)"
        ]
    from robmon.library.detection_power import power_sentences, read_hours

    return [told, *power_sentences(
        read_hours(baseline),
        false_alarms_per_month=allowed,
        interval_seconds=interval_seconds,
        tolerance=alerts.tolerance,
        most_rows=settings.inputs.sample_rows,
    )]  # fmt: skip


def command_prefix(loaded: Loaded, config: Path | None) -> str:
    """The variables that a shell sets for `robmon baseline --accept`, where it has the daemon's environment but not its
    flags; no credential of a URL among them."""
    from robmon.models.uri import mask
    from robmon.settings import as_text
    from robmon.settings.leaves import variable

    given = {}
    if config is not None and os.environ.get("ROBMON_CONFIG") != str(config):
        given["ROBMON_CONFIG"] = str(config.absolute())
    for name in ACCEPTING:
        value = loaded.value(name)
        text = as_text(value.absolute() if isinstance(value, Path) else value)
        if loaded.sources[name] == "flag" and mask(text) == text:
            given[variable(name)] = text
    return "".join(f"{name}={shlex.quote(text)} " for name, text in given.items())


@contextlib.contextmanager
def _without_rich() -> Iterator[None]:
    """structlog and httpx import it where it is, for what no daemon shows: 3.5 MiB of its 60."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["rich"]


def _registry_told(settings: Settings) -> list[str]:
    """Which registry is asked where MLflow's own variable names it, since the table has settings alone."""
    from robmon.models.uri import is_endpoint, mask

    named = os.environ.get("MLFLOW_TRACKING_URI")
    if settings.mlflow.tracking_uri is not None or not named or is_endpoint(settings.model.uri):
        return []
    return [f"mlflow.tracking_uri is not set: the registry is that of MLFLOW_TRACKING_URI, {mask(named)}"]


@click.command("check-config", cls=SettingsCommand, short_help="Check settings: the effective ones, and their sources.")
@config_option
@click.option("--baseline", type=click.Path(path_type=Path, dir_okay=False),
              help="Baseline that the daemon has learnt: also say what the settings alerts.* would detect with "
              "it.")  # fmt: skip
def check_config(config: Path | None, baseline: Path | None, **flags: str | None) -> None:
    """Print the effective settings and where each came from, without secrets.

    It also checks what the daemon checks when it starts: files of tokens and certificates, the data folder, whether the
    packages that the settings need are installed, and whether a registry is named.
    """
    from rich.table import Table

    from robmon.daemon.inputs.sources import check_sources
    from robmon.daemon.needs import check_packages, check_registry
    from robmon.history.folder import check_writable
    from robmon.models.bearer import bearer_token
    from robmon.models.uri import mask
    from robmon.ports.access import Access
    from robmon.ports.signed_events import webhook_secrets
    from robmon.settings import as_text, leaves

    loaded = load_settings(config, flags)
    told = _alerts_told(loaded.settings, baseline)
    for section in ("http", "inputs"):
        Access(section, getattr(loaded.settings, section))
    webhook_secrets(loaded.settings.mlflow.webhook_secret_file)
    bearer_token(loaded.settings.model.access, "model.token_file")
    check_writable(loaded.settings.data_dir)
    check_packages(loaded.settings)
    check_sources(loaded.settings)
    check_registry(loaded.settings)
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for leaf in leaves():
        source = loaded.sources[leaf.name]
        style = "dim" if source == "default" else None
        table.add_row(leaf.name, mask(as_text(loaded.value(leaf.name))), source, style=style)
    print_wide(table)
    for sentence in (*told, *_registry_told(loaded.settings)):
        print_wide(sentence)
    if (model := loaded.settings.inputs.model) is not None:
        print_wide(f"inputs.model = {model!r}: requests that name no model, as all those to /invocations, are left out")
