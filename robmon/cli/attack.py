"""`robmon attack`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robmon.cli.files import check_packages, files_to_write, read_rows, write_results
from robmon.cli.models import daemon_settings, daemons_model, watched_model
from robmon.cli.options import (
    TargetsCommand,
    inputs_option,
    model_and_scale,
    model_options,
    names,
    numbers,
    output_options,
)
from robmon.cli.progress import pace_of


@click.command(cls=TargetsCommand, short_help="Search for small moves that change a model's class.")
@click.option("--model",
              help="MLflow model (models:/name@alias, models:/name/3, runs:/id/path), or with --allow-remote an "
              "endpoint's URL.  [default: model.uri of the daemon's settings]")  # fmt: skip
@inputs_option
@click.option("--target", "--labels", "target", metavar="COLUMN", multiple=True,
              help="Column of the inputs that holds the labels, for the accuracy left under attack.")  # fmt: skip
@click.option("--attacks", default="pgd square random", show_default=True,
              help="pgd, fgsm, minimal (along the gradient of a torch model), square, random (by queries), "
              "transfer (along the gradient of --substitute), "
              "art:hop_skip_jump (by queries, with robmon[attacks]); separated by spaces or commas.")  # fmt: skip
@click.option("--norm", type=click.Choice(["inf", "2"]), default="inf", show_default=True,
              help="What a radius limits: the largest move of a cell, or the root of the sum of the squared "
              "moves.")  # fmt: skip
@click.option("--radii", default="0.05 0.1 0.2", show_default=True,
              help="How far rows may move, in standard deviations of a feature, separated by spaces or "
              "commas.")  # fmt: skip
@click.option("--absolute", is_flag=True, help="Radii are in input units, not in standard deviations.")
@click.option("--clip", metavar="LOW HIGH",
              help="The valid range of inputs, in quotes.  [default: that of --image-range, else none]")  # fmt: skip
@click.option("--frozen", multiple=True, metavar="COLUMNS",
              help="Columns that cannot be moved, by name or position, separated by commas.")  # fmt: skip
@click.option("--substitute", metavar="MODEL",
              help="MLflow model of PyTorch for the same task, whose witnesses transfer tries.")  # fmt: skip
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True,
              help="Steps of each descent of pgd and transfer.")  # fmt: skip
@click.option("--restarts", type=click.IntRange(1), default=3, show_default=True,
              help="Number of such descents, the first from the row itself; minimal takes all their steps in one "
              "descent.")  # fmt: skip
@click.option("--queries", type=click.IntRange(1), default=500, show_default=True,
              help="Most queries per row, for each attack that works by queries.")  # fmt: skip
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True),
              help="Time budget in seconds; the result says what was not tried.")  # fmt: skip
@click.option("--allow-remote", is_flag=True, help="Attack a model at an endpoint: you confirm that you may.")
@model_options
@output_options("attack")
def attack(
    model: str | None, target: tuple[str, ...], json_file: Path, png: Path, no_picture: bool, **options: Any
) -> None:
    """Search for small moves of the inputs that change the model's class: prints a table, writes JSON and a picture.

    At most the share shown withstands: what no attack found may be there all the same. Inputs that deceive the model
    are written nowhere. Where a baseline is recorded beside the version, radii are multiples of its standard
    deviations, as levels are; else of those of the inputs.
    """
    from robmon.library.art_attacks import check_attacks

    asked_for = _of_attacks(options)
    check_attacks(
        asked_for["attacks"], asked_for["radii"], options["norm"], has_substitute=options["substitute"] is not None,
        **{name: options[name] for name in ("steps", "restarts", "queries")},
    )  # fmt: skip
    from robmon.library import baselines
    from robmon.library.attack import check_allowed
    from robmon.models.uri import mask

    daemon = daemon_settings(options)
    check_packages([model or daemons_model(daemon)], options["inputs"], picture=not no_picture)
    picture = files_to_write(json_file, png, no_picture)
    arguments = model_and_scale(options) | asked_for
    inputs, targets = read_rows(arguments, target)
    model, asked = watched_model(arguments, model, daemon)
    check_allowed(asked, arguments.pop("allow_remote"))
    with pace_of("attacking", "runs of attacks") as pace:
        result = baselines.attack(asked, inputs, targets=targets, progress=pace.update, expect=pace.expect, **arguments)
    click.echo(result)
    write_results(json_file, {"model": mask(model), **result.to_dict()}, picture, result.plot)


def _of_attacks(options: dict[str, Any]) -> dict[str, Any]:
    """What of the options is told as numbers and names."""
    clip = options["clip"] and numbers(options["clip"], "clip")
    frozen = [name for word in options["frozen"] for name in names(word, "frozen")]
    return {
        "radii": numbers(options["radii"], "radii"),
        "attacks": names(options["attacks"], "attacks"),
        "clip": clip and tuple(clip),
        "frozen": [int(name) if name.isdecimal() else name for name in frozen],
    }
