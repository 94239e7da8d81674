"""`robmon rank`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robmon.cli.files import check_packages, files_to_write, read_rows, write_results
from robmon.cli.models import daemon_settings, with_access
from robmon.cli.options import TargetsCommand, assessment_options, library_options, output_options
from robmon.cli.progress import pace_of


@click.command(cls=TargetsCommand, short_help="Rank models by their score under noise.")
@click.argument("models", nargs=-1, required=True)
@click.option("--target", multiple=True, metavar="COLUMN...",
              help="Column of the labels, or several, one per output (--target y1 y2 y3); classes as the models return "
              "them, or numbered from 0. Required, except for embeddings.")  # fmt: skip
@assessment_options
@output_options("ranking")
def rank(
    models: tuple[str, ...], target: tuple[str, ...], json_file: Path, png: Path, no_picture: bool, **options: Any
) -> None:
    """Rank MODELS by their score, without noise and under noise: accuracy for classes, else the MSE. Embeddings are
    ranked without labels, by the share of triplets that keep their order.

    MODELS are versions (models:/name/3, models:/name@alias) or registered models (models:/name), all versions of which
    are ranked. They are loaded one after the other in this environment, whatever packages they were made with; one
    that cannot be loaded or called is named and left out.
    """
    if not target and options["task"] != "embedding":
        raise click.UsageError("Missing option '--target'.")
    from robmon.library import rank as ranking
    from robmon.models.uri import mask

    check_packages(models, options["inputs"], picture=not no_picture)
    picture = files_to_write(json_file, png, no_picture)
    daemon_settings(options)
    inputs, targets = read_rows(options, target)
    asked = with_access(options, *models)
    arguments = library_options(options)
    entrants = ranking.entrants(models)
    with pace_of(f"ranking {len(entrants)} models") as pace:
        named = {entrant.name: asked.get(entrant.uri, entrant.uri) for entrant in entrants}
        result = ranking.rank(named, inputs, targets, progress=pace.update, expect=pace.expect, **arguments)
    click.echo(result)
    for entrant in entrants:
        if entrant.tags:
            click.echo(f"{entrant.name}: {', '.join(f'{key}={value}' for key, value in entrant.tags.items())}")
    told = [vars(entrant) | {"uri": mask(entrant.uri)} for entrant in entrants]
    content = {"entrants": told, **result.to_dict()}
    write_results(json_file, content, picture, result.plot)
