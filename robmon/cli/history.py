"""`robmon history`."""

from __future__ import annotations

import heapq
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robmon.cli.files import picture_bytes, write_whole
from robmon.cli.models import daemon_settings, daemons_model, has_daemon
from robmon.cli.options import FILE, config_option, data_dir_option, name_option
from robmon.wording import printable

if TYPE_CHECKING:
    from robmon.history.reading import HistoryReader, Period
    from robmon.settings import Loaded

SHOWN, SHOWN_PERIOD = 20, "24h"
MOST_DRAWN = 1500
"""Assessments in a picture or a report: of more the worst of each stretch."""
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def history_options(command: Any) -> Any:
    """The options by which commands find the history of a model."""
    options = [
        click.option("--model", help="Served model, as in model.uri.  [default: model.uri of the daemon's "
                     "settings, else the only one in the data folder]"),
        name_option,
        data_dir_option,
        config_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command(short_help="Print what was assessed, decided and changed.")
@click.option("--since", help="Only so much before the newest entry, such as 90m, 24h or 7d, or only since a time in "
              "UTC, such as 2026-11-27T12:00.  "
              f"[default: {SHOWN_PERIOD} in the table, else all that is kept]")  # fmt: skip
@click.option("--last", type=click.IntRange(1), help="Print at most so many assessments, the newest ones.  "
              f"[default: {SHOWN} in the table where --since is not given]")  # fmt: skip
@click.option("--events", "only_events", is_flag=True, help="Print events only.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that is kept, as JSON lines.")
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

    It is read from the daemon's data folder, also while the daemon runs. Times are in UTC.
    """
    if plot is not None:
        _check_picture(plot)
    if since is None and not as_json and plot is None:
        since, last = SHOWN_PERIOD, last or SHOWN
    reader = find_history(options)
    begin = reader.begin(period_of(since))
    if plot is not None:
        _draw(reader, begin, last, plot)
    elif as_json:
        for line in _json_lines(reader, begin, last, only_events):
            click.echo(line)
    else:
        _print(reader, begin, last, only_events)


def _draw(reader: HistoryReader, begin: float | None, last: int | None, plot: Path) -> None:
    from robmon.history.thinning import worst_of
    from robmon.report.event_sentences import badness
    from robmon.report.plot_history import plot_history

    rows, _ = worst_of(_newest(reader.assessments(begin), last), MOST_DRAWN, badness)
    write_whole(plot, picture_bytes(plot_history(rows, reader.events(begin), reader.model), plot))
    click.echo(f"written: {plot}")


def _newest(rows: Iterator[dict[str, Any]], last: int | None) -> Iterator[dict[str, Any]]:
    return rows if last is None else iter(deque(rows, last))


def find_history(options: dict[str, Any]) -> HistoryReader:
    """The history that the options and the daemon's settings name."""
    from robmon.history.reading import HistoryError, HistoryReader, models_in
    from robmon.models.uri import history_key, parse

    daemon = _daemon(options)
    data_dir = daemon.settings.data_dir
    if has_daemon(daemon):
        uri = parse(daemon.settings.model.uri)
        return HistoryReader(data_dir, history_key(uri, daemon.settings.model.name or uri.name))
    found = models_in(data_dir)
    if len(found) > 1:
        raise HistoryError(
            f"{data_dir} holds the history of {', '.join(found)}: choose one with --model models:/NAME/1"
        )
    return HistoryReader(data_dir, found[0] if found else "any model")


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


def period_of(since: str | None) -> Period:
    """What --since asks for.

    >>> period_of("90m").seconds, period_of("2026-11-27T12:00Z").since
    (5400.0, 1795780800.0)
    """
    from robmon.history.reading import Period

    if since is None:
        return Period()
    if (length := re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*([mhdw])\s*", since)) is not None:
        return Period(seconds=float(length[1]) * _UNITS[length[2]])
    try:
        at = datetime.fromisoformat(since.strip())
        return Period(since=(at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{since!r} is neither a length of time, as 90m, 24h or 7d, nor a time, as 2026-11-27T12:00",
            param_hint="--since",
        ) from None


def _print(reader: HistoryReader, begin: float | None, last: int | None, only_events: bool) -> None:
    from robmon.report.event_sentences import assessment_lines, event_lines

    parts = [[f"model {printable(reader.model)}"]]
    if not only_events:
        lines = assessment_lines(_newest(reader.assessments(begin), last))
        parts.append(lines if len(lines) > 1 else ["no assessments"])
    parts.append(event_lines(reader.events(begin)) or ["no events"])
    click.echo("\n\n".join("\n".join(part) for part in parts))


def _json_lines(reader: HistoryReader, begin: float | None, last: int | None, only_events: bool) -> Iterator[str]:
    """In the order of their times; specifications first."""
    lines = [("event", event) for event in reader.events(begin)]
    if only_events:
        merged: Iterable[tuple[str, dict[str, Any]]] = lines
    else:
        for name, content in sorted(reader.specifications().items()):
            yield json.dumps({"type": "specification", "name": name, **content})
        rows = (("assessment", row) for row in _newest(reader.assessments(begin), last))
        merged = heapq.merge(lines, rows, key=lambda each: float(each[1]["at"]))
    for kind, content in merged:
        yield json.dumps({"type": kind, **content})


def _check_picture(plot: Path) -> None:
    from robmon.cli.files import picture_to_draw

    if plot.suffix.lower() not in (".svg", ".png"):
        raise click.BadParameter(f"{plot} is neither .svg nor .png", param_hint="--plot")
    picture_to_draw(plot, no_picture=False)
