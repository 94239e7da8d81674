"""`robmon report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robmon.cli.files import check_writable, write_whole
from robmon.cli.history import MOST_DRAWN, find_history, history_options, model_uri, period_of
from robmon.cli.options import FILE
from robmon.extras import Need, check_all_installed


@click.command(short_help="Write what happened in a period as one HTML file.")
@click.option("--since", default="24h", show_default=True, help="So much before the newest entry, such as 90m, "
              "24h or 7d, or since a time in UTC, such as 2026-11-27T12:00.")  # fmt: skip
@click.option("-o", "--output", type=FILE, default="report.html", show_default=True, help="File to write.")
@history_options
def report(since: str, output: Path, **options: Any) -> None:
    """Write what happened to a model in a period as one HTML file.

    It needs no script and no network, holds no production input, and is the same for the same history. It is read from
    the daemon's data folder, also while the daemon runs.
    """
    check_all_installed([Need("jinja2", "a report")])
    check_writable(output)
    reader = find_history(options)
    begin = reader.begin(period_of(since))
    from robmon.history.thinning import worst_of
    from robmon.report.event_sentences import badness
    from robmon.report.html.page import report_page
    from robmon.report.html.period import Period

    rows, counts = worst_of(reader.assessments(begin), MOST_DRAWN, badness)
    period = Period(reader.model, rows, counts, reader.events(), reader.specifications())
    write_whole(output, report_page(period, model_uri(options, reader.model)))
    click.echo(f"written: {output}")
