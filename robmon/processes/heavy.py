"""How a heavy process begins: at the socket that whoever started it left, with the first message on it."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
from collections.abc import Callable
from contextlib import suppress

from robmon.processes.channel import Channel
from robmon.processes.messages.every_process import Hello


def main(module: str, description: str, behave: Callable[[], None], answer: Callable[[Channel], None]) -> None:
    """The process `python -m MODULE --fd N`, from its command line to its end.

    Args:
        module: that is run.
        description: of the process.
        behave: what it does to itself before all else, see `guest`.
        answer: questions, until the other side is gone or has asked enough.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socket to whoever started this")
    serve(parser.parse_args().fd, behave, answer)


def serve(fd: int, behave: Callable[[], None], answer: Callable[[Channel], None]) -> None:
    """Say hello at the socket with this descriptor, and answer; that the other side goes away is no error.

    A process that model code forks, and that goes on where this one does, would answer each question a second time.
    """
    channel = Channel.from_fd(fd)
    os.register_at_fork(after_in_child=channel.close)
    atexit.register(gc.freeze)  # else the interpreter looks for garbage in all that was imported when it ends
    behave()
    with suppress(EOFError, OSError):
        channel.send(Hello(pid=os.getpid()))
        answer(channel)
