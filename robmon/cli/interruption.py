"""Work that a signal ends: what it started is ended, its folders are removed, one sentence says how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import click

SIGNALLED = 128


@contextlib.contextmanager
def ended_by_signals(how_to_go_on: str) -> Iterator[None]:
    """Let SIGTERM end the block as SIGINT does, by KeyboardInterrupt; then the process, with the status of a shell.

    Args:
        how_to_go_on: the rest of the sentence; the interrupt's own text, if it has one, says how far it was.
    """
    received = signal.SIGINT

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = signal.Signals(number)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of what a script started with `&`
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # which asyncio hears too

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        click.echo(
            f"robmon: ended by {received.name}: {': '.join((*map(str, interrupt.args), how_to_go_on))}", err=True
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(SIGNALLED + received)  # a thread of a registry's client may wait for minutes
    finally:
        signal.signal(signal.SIGTERM, before)
