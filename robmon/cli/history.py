"""`robmon history`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robmon.cli.models import daemon_settings, daemons_model, has_daemon
from robmon.cli.options import FILE, config_option
from robmon.errors import printable

if TYPE_CHECKING:
    from robmon.history.reading import Period, Recorded
    from robmon.settings import Loaded

SHOWN, SHOWN_PERIOD = 20, "24h"
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def history_options(command: Any) -> Any:
    """The options by which commands find the history of a model."""
    options = [
        click.option("--model", help="Served model, as in model.uri.  [default: model.uri of the daemon's "
                     "settings, else the only one in the data folder]"),
        click.option("--name", help="Name of a model at an endpoint whose URL has none."),
        click.option("--data-dir", type=click.Path(path_type=Path),
                     help="Data folder of the daemon.  [default: data_dir of its settings, else robmon-data]"),
        config_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--since", help="Only this much before the newest entry, as 90m, 24h or 7d, or only since a time in UTC, "
              f"as 2026-11-27T12:00.  [default: {SHOWN_PERIOD} in the table, else all that is kept]")  # fmt: skip
@click.option("--last", type=click.IntRange(1), help="At most so many assessments, the newest.  "
              f"[default: {SHOWN} in the table where --since is not given]")  # fmt: skip
@click.option("--events", "only_events", is_flag=True, help="Only events.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, all that is kept.")
@click.option("--plot", type=FILE, help="Picture to write: .svg or .png.")
@history_options
def history(
    since: str | None,
    last: int | None,
    only_events: bool,
    as_json: bool,
    plot: Path | None,
    **options: Any,
) -> None:
    """Print what was assessed, decided and changed.

    Read from the daemon's data folder, also while it runs. Times are in UTC.
    """
    if plot is not None:
        _check_picture(plot)
    if since is None and not as_json and plot is None:
        since, last = SHOWN_PERIOD, last or SHOWN
    recorded = find_history(options, period_of(since, last))
    if plot is not None:
        from robmon.report.plot_history import plot_history

        plot_history(recorded.assessments, recorded.events, recorded.model).savefig(plot, dpi=150)
        click.echo(f"written: {plot}")
    elif as_json:
        for line in _json_lines(recorded, only_events):
            click.echo(line)
    else:
        _print(recorded, only_events)


def find_history(options: dict[str, Any], period: Period) -> Recorded:
    """The history that the options and the daemon's settings name."""
    from robmon.history.reading import HistoryError, models_in, read_history
    from robmon.models.uri import history_key, parse

    daemon = _daemon(options)
    data_dir = daemon.settings.data_dir
    if has_daemon(daemon):
        uri = parse(daemon.settings.model.uri)
        return read_history(data_dir, history_key(uri, daemon.settings.model.name or uri.name), period)
    found = models_in(data_dir)
    if len(found) > 1:
        raise HistoryError(
            f"{data_dir} holds the history of {', '.join(found)}: choose one with --model models:/NAME/1"
        )
    return read_history(data_dir, found[0] if found else "any model", period)


def _daemon(options: dict[str, Any]) -> Loaded:
    flags = {"data_dir": options["data_dir"], "model.uri": options["model"], "model.name": options["name"]}
    return daemon_settings({"tracking_uri": None, "config": options["config"]}, flags)


def model_uri(options: dict[str, Any], key: str) -> str | None:
    """How the model of that history is named without a version; None of one that is asked at its endpoint."""
    from robmon.models.uri import ModelUri, parse

    if options["model"] is None:
        options = {**options, "model": daemons_model(_daemon(options))}
    if options["model"] is None:
        return f"models:/{key}"
    uri = parse(options["model"])
    return f"models:/{uri.name}" if isinstance(uri, ModelUri) and uri.is_registered else None


def period_of(since: str | None, last: int | None = None, *, all_events: bool = False) -> Period:
    """What --since and --last ask for.

    >>> period_of("90m").seconds, period_of("2026-11-27T12:00Z").since
    (5400.0, 1795780800.0)
    """
    from robmon.history.reading import Period

    if since is None:
        return Period(last=last, all_events=all_events)
    if (length := re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*([mhdw])\s*", since)) is not None:
        return Period(seconds=float(length[1]) * _UNITS[length[2]], last=last, all_events=all_events)
    try:
        at = datetime.fromisoformat(since.strip())
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        return Period(since=seconds, last=last, all_events=all_events)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{since!r} is neither a length of time, as 90m, 24h or 7d, nor a time, as 2026-11-27T12:00",
            param_hint="--since",
        ) from None


def _print(recorded: Recorded, only_events: bool) -> None:
    from robmon.report.happened import assessment_lines, event_lines

    click.echo(f"model {printable(recorded.model)}")
    if not only_events:
        lines = assessment_lines(recorded.assessments) if recorded.assessments else ["no assessments"]
        click.echo("\n".join(["", *lines]))
    click.echo("\n".join(["", *(event_lines(recorded.events) or ["no events"])]))


def _json_lines(recorded: Recorded, only_events: bool) -> Iterator[str]:
    """In the order of their times; specifications first."""
    told = [(event["at"], "event", event) for event in recorded.events]
    if not only_events:
        for name, content in sorted(recorded.specifications.items()):
            yield json.dumps({"type": "specification", "name": name, **content})
        told += [(row["at"], "assessment", row) for row in recorded.assessments]
    for _, kind, content in sorted(told, key=lambda each: each[0]):
        yield json.dumps({"type": kind, **content})


def _check_picture(plot: Path) -> None:
    from robmon.cli.files import picture_to_draw

    if plot.suffix.lower() not in (".svg", ".png"):
        raise click.BadParameter(f"{plot} is neither .svg nor .png", param_hint="--plot")
    picture_to_draw(plot, no_picture=False)
