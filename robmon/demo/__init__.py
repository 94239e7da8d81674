"""The whole loop on one machine: registry, model server, mirrored traffic, robmon, and a release that is caught.

Everything lives in a temporary folder and on free loopback ports, and goes when the demo ends, however it ends.
"""

from __future__ import annotations

import asyncio
import importlib.util
import signal
from pathlib import Path

from robmon.errors import RobmonError

NEEDED = ("torch", "mlflow", "sklearn", "matplotlib")
FAILED = 1


def run(*, keep: bool, png: Path) -> None:
    """Run the demo; with `keep`, everything goes on afterwards until Ctrl-C.

    Raises:
        RobmonError: something that the demo needs is not installed.
        SystemExit: with 1 if a step failed or the regression was not found, 128 + signal if interrupted.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RobmonError(f'the demo needs {", ".join(missing)}: pip install "robmon[demo]"')
    status = asyncio.run(_run(keep, png.absolute()))
    if status:
        raise SystemExit(status)


async def _run(keep: bool, png: Path) -> int:
    from rich.console import Console

    from robmon.demo.processes import DemoFailedError
    from robmon.demo.story import play

    console = Console()
    interrupted = _cancel_on_signals()
    try:
        await play(console, png, keep)
    except DemoFailedError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return FAILED
    except asyncio.CancelledError:
        console.print("Stopped: every process is ended and the folder removed.")
        return 128 + interrupted[0]
    return 0


def _cancel_on_signals() -> list[signal.Signals]:
    """Let the first SIGINT, SIGTERM or SIGHUP cancel the demo, and later ones wait for the clean-up."""
    task = asyncio.current_task()
    came: list[signal.Signals] = []

    def cancel(number: signal.Signals) -> None:
        if not came and task is not None:
            task.cancel()
        came.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, cancel, number)
    return came
