"""The daemon: run it, or look at its settings."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from robmon.cli.files import print_wide
from robmon.cli.options import SettingsCommand, config_option, load_settings


@click.command(cls=SettingsCommand)
@config_option
def run(config: Path | None, **flags: str | None) -> None:
    """Run the daemon beside a served model until SIGTERM or Ctrl-C.

    Every setting below can also be given as an environment variable (--assess.levels is ROBMON_ASSESS__LEVELS) or in
    the YAML file named by --config.
    """
    with _without_rich():
        from robmon import logs
        from robmon.daemon.app import run as run_daemon

    settings = load_settings(config, flags).settings
    logs.configure(settings.log.level, settings.log.format)
    run_daemon(settings)


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


@click.command("check-config", cls=SettingsCommand)
@config_option
def check_config(config: Path | None, **flags: str | None) -> None:
    """Print the effective settings, where each came from, and nothing secret.

    What the daemon looks at when it starts is looked at here too, so that it is told: files of tokens and certificates,
    the data folder, whether what the settings need is installed, and whether a registry is named.
    """
    from rich.table import Table

    from robmon.daemon.app import check_packages, check_registry
    from robmon.history.folder import check_writable
    from robmon.models.bearer import bearer_token
    from robmon.models.uri import mask
    from robmon.ports.access import Access
    from robmon.settings import as_text, leaves

    loaded = load_settings(config, flags)
    for section in ("http", "inputs"):
        Access(section, getattr(loaded.settings, section))
    bearer_token(loaded.settings.model.access, "model.token_file")
    check_writable(loaded.settings.data_dir)
    check_packages(loaded.settings)
    check_registry(loaded.settings)
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for leaf in leaves():
        source = loaded.sources[leaf.name]
        style = "dim" if source == "default" else None
        table.add_row(leaf.name, mask(as_text(loaded.value(leaf.name))), source, style=style)
    print_wide(table)
    if (model := loaded.settings.inputs.model) is not None:
        print_wide(f"inputs.model = {model!r}: requests that name no model, as all those to /invocations, are left out")
