"""`robmon compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robmon.cli.files import check_packages, files_to_write, read_rows, write_results
from robmon.cli.models import daemon_settings, with_access
from robmon.cli.options import assessment_options, library_options, output_options
from robmon.cli.progress import pace_of

if TYPE_CHECKING:
    from robmon.robustness.comparison import Comparison

REGRESSION = 1


@click.command(short_help="Compare two models: a release gate.")
@click.argument("reference")
@click.argument("new")
@assessment_options
@click.option("--alpha", type=float, default=0.01, show_default=True, help="Chance of a false alarm.")
@click.option("--tolerance", type=float, default=0.10, show_default=True, help="Relative worsening that is tolerated.")
@output_options("comparison")
def compare(reference: str, new: str, json_file: Path, png: Path, no_picture: bool, **options: Any) -> None:
    """Compare the model NEW with the model REFERENCE under noise; a release gate: exit status 1 if NEW is worse.

    Where REFERENCE has a recorded baseline, levels are multiples of its standard deviations, as in the daemon; else of
    those of the inputs.
    """
    from robmon.library import baselines
    from robmon.models.uri import mask

    check_packages([reference, new], options["inputs"], picture=not no_picture)
    picture = files_to_write(json_file, png, no_picture)
    daemon_settings(options)
    inputs, _ = read_rows(options)
    asked = with_access(options, reference, new)
    judge = {"alpha": options.pop("alpha"), "tolerance": options.pop("tolerance")}
    with pace_of("comparing") as pace:
        result, on_baseline = baselines.compare(
            asked[reference],
            asked[new],
            inputs,
            progress=pace.update,
            expect=pace.expect,
            **judge,
            **library_options(options),
        )
    reference, new = mask(reference), mask(new)
    click.echo(result.describe(reference, new))
    click.echo(_scale_used(result, reference, on_baseline))
    for note in dict.fromkeys(note for each in (result.a, result.b) if each is not None for note in each.notes):
        click.echo(note)
    content = {"reference": reference, "new": new, "recorded_baseline": on_baseline, **result.to_dict()}
    write_results(json_file, content, picture, lambda: result.plot(reference, new))
    if result.worse:
        raise SystemExit(REGRESSION)


def _scale_used(result: Comparison, reference: str, on_baseline: bool) -> str:
    """What the levels count, and of which rows."""
    unit = "standard deviations" if result.a is None else result.a.level_unit
    if unit == "input units":
        return "Levels are in input units."
    source = f"the baseline recorded with {reference}" if on_baseline else "these inputs: no recorded baseline was used"
    return f"Levels count {unit}, as in {source}."
