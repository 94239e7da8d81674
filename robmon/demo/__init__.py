"""The whole loop on one machine: registry, model server, mirrored traffic, robmon, and a release that is caught.

Everything lives in a temporary folder and on free loopback ports, and goes when the demo ends, however it ends.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from robmon.extras import check_installed

if TYPE_CHECKING:
    from robmon.demo.story import Observer

NEEDED = ("mlflow", "sklearn")
NEEDED_OF_IMAGES = ("torch", "PIL")
FAILED = 1


def check_packages(images: bool = False) -> None:
    """Look whether what the demo needs is installed; its extra brings what draws the picture, too.

    Args:
        images: whether it is the one with images.

    Raises:
        MissingPackageError: it is not.
    """
    for module in NEEDED:
        check_installed(module, "the demo", extra="demo")
    for module in NEEDED_OF_IMAGES if images else ():
        check_installed(module, "the demo with images")


def run(*, keep: bool, png: Path | None, observer: Observer | None = None, images: bool = False) -> None:
    """Run the demo; with `keep`, everything goes on afterwards until Ctrl-C.

    Args:
        keep: whether it does.
        png: where the picture of both curves is written; None: nowhere.
        observer: what watches it from outside.
        images: whether the model is a network of pictures, which JPEG and thumbnails disturb too.

    Raises:
        SystemExit: with 1 if a step failed or the regression was not found, 128 + signal if interrupted.
    """
    status = asyncio.run(_run(keep, png and png.absolute(), observer, images))
    if status:
        raise SystemExit(status)


async def _run(keep: bool, png: Path | None, observer: Observer | None, images: bool) -> int:
    from rich.console import Console

    from robmon.demo.processes import DemoFailedError
    from robmon.demo.story import play

    console = Console()
    interrupted = _cancel_on_signals()
    try:
        await play(console, png, keep, observer, images=images)
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
