"""`robmon demo`."""

from __future__ import annotations

from pathlib import Path

import click

from robmon.cli.files import picture_to_draw
from robmon.cli.options import picture_options


@click.command(short_help="Watch a fragile release being caught, on this machine.")
@click.option("--keep", is_flag=True, help="Keep everything running until Ctrl-C.")
@click.option(
    "--images",
    is_flag=True,
    help="Use a small convolutional network on pictures, with JPEG and thumbnails beside Gaussian noise; needs torch.",
)
@picture_options("robmon-demo.png")
def demo(keep: bool, images: bool, png: Path, no_picture: bool) -> None:
    """Watch a fragile release being caught: registry, model server, traffic, daemon, all on this machine."""
    from robmon.demo import check_packages
    from robmon.demo import run as run_demo

    check_packages(images)
    run_demo(keep=keep, png=picture_to_draw(png, no_picture), images=images)
