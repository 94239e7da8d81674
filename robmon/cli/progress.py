"""How far a command is, and how long it will take, on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from robmon.report.progress import Pace, tell_regularly


@contextlib.contextmanager
def pace_of(what: str, unit: str = "trials") -> Iterator[Pace]:
    """What the work tells of itself while the block runs: a bar on a terminal, else a line every few seconds."""
    pace = Pace(what, unit=unit)
    with _bar(pace) if sys.stderr.isatty() else _lines(pace):
        yield pace


@contextlib.contextmanager
def _lines(pace: Pace) -> Iterator[None]:
    pace.on_expectation = lambda: click.echo(pace.expectation, err=True)
    with tell_regularly(lambda seconds: click.echo(pace.line(seconds), err=True)):
        yield


@contextlib.contextmanager
def _bar(pace: Pace) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(pace.what, total=None)
        pace.on_expectation = lambda: console.print(pace.expectation, soft_wrap=True)
        pace.on_progress = lambda: bar.update(task, completed=pace.done, total=pace.total)
        yield
