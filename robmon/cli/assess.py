"""`robmon assess`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robmon.cli.files import check_packages, files_to_write, read_rows, write_results
from robmon.cli.incident import assess_again, check_alone
from robmon.cli.models import daemon_settings, daemons_model, use_tracking_uri, watched_model
from robmon.cli.options import TargetsCommand, assessment_options, library_options, output_options
from robmon.cli.progress import pace_of
from robmon.vocabulary import BOUNDS

ENDPOINT_MAX_SECONDS = 15


@click.command(cls=TargetsCommand, short_help="Assess one model on a file of inputs.")
@click.option("--model",
              help="MLflow model (models:/name@alias, models:/name/3, runs:/id/path), or an endpoint's URL "
              "(http://host/invocations, /v1/models/name:predict, /v2/models/name/infer).  "
              "[default: model.uri of the daemon's settings]")  # fmt: skip
@click.option("--target", multiple=True, metavar="COLUMN...",
              help="Column of the inputs that holds the labels, or several (--target y1 y2 y3), one per output in the "
              "model's order: errors are then against the labels.")  # fmt: skip
@assessment_options
@click.option(
    "--bound",
    type=click.Choice(BOUNDS),
    default=BOUNDS[0],
    show_default=True,
    help="Method of the trial bound.",
)
@click.option("--mse-limit", type=click.FloatRange(0, min_open=True),
              help="Largest acceptable bound, for the noise margin.")  # fmt: skip
@click.option("--agreement-limit", type=click.FloatRange(0, 1, min_open=True),
              help="Smallest acceptable share of unchanged classes: the result says beyond which level it is no longer "
              "kept, with an interval over rows.")  # fmt: skip
@click.option("--accuracy-limit", type=click.FloatRange(0, 1, min_open=True),
              help="Smallest acceptable share of correct classes, likewise; needs --target.")  # fmt: skip
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True),
              help="Time budget in seconds: where everything would take longer, only the first rows (at least 32) are "
              "assessed, and then with fewer trials.  "
              f"[default: {ENDPOINT_MAX_SECONDS} at an endpoint, else none]")  # fmt: skip
@click.option("--incident", type=click.Path(path_type=Path, exists=True), metavar="BUNDLE",
              help="Archive of robmon incident --with-inputs, or the folder unpacked from it: its numbers are computed "
              "again and compared, and nothing else is done.")  # fmt: skip
@output_options("assessment")
def assess(
    model: str | None,
    target: tuple[str, ...],
    incident: Path | None,
    json_file: Path,
    png: Path,
    no_picture: bool,
    **options: Any,
) -> None:
    """Assess one model on one file of inputs: prints a table, writes JSON and a picture of the curve.

    Where the version has a recorded baseline, levels are multiples of its standard deviations, as in the daemon; else
    of those of the inputs. With --incident the exit status is 1 if any number differs in any bit.
    """
    from robmon.library import baselines
    from robmon.models.uri import mask
    from robmon.report.assessment import explanation, text

    daemon = daemon_settings(options)
    if incident is not None:
        check_alone({"--model": model, "--target": target, "--inputs": options["inputs"]})
        use_tracking_uri(options)
        assess_again(incident, daemon)
        return
    check_packages([model or daemons_model(daemon)], options["inputs"], picture=not no_picture)
    picture = files_to_write(json_file, png, no_picture)
    inputs, targets = read_rows(options, target)
    model, asked = watched_model(options, model, daemon)
    if options["max_seconds"] is None and asked != model:
        options["max_seconds"] = ENDPOINT_MAX_SECONDS
    with pace_of("assessing") as pace:
        result, baseline = baselines.assess(
            asked, inputs, targets, progress=pace.update, expect=pace.expect, **library_options(options)
        )
    click.echo(text(result, baseline))
    if further := explanation(result):
        click.echo(further)
    content = {"model": mask(model), "baseline_mse": baseline, **result.to_dict()}
    write_results(json_file, content, picture, lambda: result.plot(baseline))
