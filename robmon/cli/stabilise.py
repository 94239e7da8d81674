"""`robmon stabilise`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robmon.cli.files import check_packages, files_to_write, write_results
from robmon.cli.models import daemon_settings, use_tracking_uri
from robmon.cli.options import image_layout, numbers, output_options, some_options
from robmon.cli.progress import pace_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from robmon.hardening.result import Stabilised
    from robmon.models.served.served import ServedModel

DOES_NOT_PASS = 1


@click.command(short_help="Train a candidate that noise moves less.")
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), required=True,
              help="File of inputs to train on, to validate on and, without --test, to judge on, one row per line: "
              "parquet, csv, npy or jsonl.")  # fmt: skip
@click.option("--labels", multiple=True, required=True, metavar="COLUMN",
              help="Column of the labels, repeated for each further output; or an npy file of labels for inputs "
              "without columns. For embeddings, rows with the same label are the same thing.")  # fmt: skip
@click.option("--test", type=click.Path(path_type=Path),
              help="File of rows to judge on, which the model was never trained on.  "
              "[default: 15 % of --data]")  # fmt: skip
@click.option("--test-labels", metavar="FILE", help="Npy file of the labels of --test, where --labels is an npy file.")
@click.option("--levels", default="0.1 0.2 0.4", show_default=True,
              help="Noise levels to train at, separated by spaces or commas; the highest one decides.")  # fmt: skip
@click.option("--alpha", default="0.1 1", show_default=True,
              help="Weights of the distance to try, separated by spaces or commas.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=5, show_default=True, help="Most passes over the rows.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True,
              help="Learning rate of the first step.")  # fmt: skip
@click.option("--tolerance", type=click.FloatRange(0, 1, max_open=True), default=0.01, show_default=True,
              help="Loss of the score without noise that is tolerated; 0.01 is one percentage point.")  # fmt: skip
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True),
              help="Time budget: what does not fit is left out, and named.  [default: none]")  # fmt: skip
@click.option("--register", is_flag=True, help="Register a candidate that passes as a new version of the model.")
@click.option("--register-anyway", is_flag=True, help="Register the candidate even if it does not pass.")
@some_options(
    "--noise", "--absolute", "--task", "--distance", "--output", "--scale-axis", "--image-channels", "--image-range",
    "--image-mean", "--image-std", "--image-jpeg-subsampling", "--seed", "--device", "--threads", "--tracking-uri",
    "--config",
)  # fmt: skip
@output_options("stability")
def stabilise(
    model: str,
    data: Path,
    labels: tuple[str, ...],
    test: Path | None,
    test_labels: str | None,
    register: bool,
    register_anyway: bool,
    json_file: Path,
    png: Path,
    no_picture: bool,
    **options: Any,
) -> None:
    """Train a candidate of MODEL that noise moves less, and judge it; exit status 1 if it does not pass.

    MODEL is a torch model (models:/name/3, models:/name@alias, runs:/id/path). The candidate is judged on rows that it
    was not trained on, against MODEL and against a control trained in the same way without noise: its score without
    noise must be no worse than tolerated, its score under noise better than that of both. With --register it becomes a
    new version of the same model, after the verdict, with curves, baseline and tags. No alias is moved.
    """
    check_packages([model], data, picture=not no_picture)
    picture = files_to_write(json_file, png, no_picture)
    daemon_settings(options)
    layout = image_layout(options)
    options |= {name: numbers(options[name], name) for name in ("levels", "alpha")}
    use_tracking_uri(options)
    if is_to_register := register or register_anyway:
        _check_registered(model)
    from robmon.hardening.served import module_of
    from robmon.hardening.stabilise import stabilise as train
    from robmon.models.loading import load_uri
    from robmon.models.uri import mask

    served = load_uri(model, device=options.pop("device"))
    module = module_of(served, model)
    inputs, targets, notes = _labelled(served, data, labels)
    held = None if test is None else _labelled(served, test, (test_labels,) if test_labels else labels)[:2]
    options["scale"] = 1.0 if options.pop("absolute") else None
    with pace_of("stabilising", "steps") as pace:
        result = train(
            module, inputs, targets, test=held, layout=layout, progress=pace.update, expect=pace.expect, **options
        )
    click.echo(result)
    for note in notes:
        click.echo(note)
    write_results(json_file, {"model": mask(model), **result.to_dict()}, picture, result.plot)
    if is_to_register and (result.passed or register_anyway):
        click.echo(_register(model, result, inputs, options | {"layout": layout}))
    elif is_to_register:
        click.echo("not registered, since it does not pass (--register-anyway would)")
    if not result.passed:
        raise SystemExit(DOES_NOT_PASS)


def _labelled(
    served: ServedModel, file: Path, labels: tuple[str, ...]
) -> tuple[NDArray[np.generic], NDArray[np.generic], list[str]]:
    """Inputs as the model takes them, their labels, and notes on what was left out."""
    from robmon.hardening.served import rows_of
    from robmon.inputs.files import read_inputs

    tell = lambda sentence: click.echo(sentence, err=True)  # noqa: E731
    if len(labels) == 1 and labels[0].lower().endswith(".npy"):
        return rows_of(served, read_inputs(file, tell=tell)[0], read_inputs(labels[0], tell=tell)[0])
    return rows_of(served, *read_inputs(file, labels, tell=tell))


def _check_registered(model: str) -> None:
    """Before hours of training, not after."""
    from robmon.hardening.registration import check_registered
    from robmon.models.registry.registry import Registry

    check_registered(Registry().resolve(model))


def _register(model: str, result: Stabilised, inputs: NDArray[np.generic], options: dict[str, Any]) -> str:
    """Register the candidate; returns what to do with it."""
    from robmon.hardening.registration import register, source_of
    from robmon.models.registry.registry import Registry
    from robmon.robustness.specification import Specification

    specification = Specification(
        noise=options["noise"],
        levels=options["levels"],
        task=options["task"],
        output=result.report["output"],
        scale_axis=options["scale_axis"],
        layout=options["layout"],
        distance=options["distance"],
    )
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(Registry(), model, Path(folder))
        version = register(source, result, inputs, specification)
    new, old = f"models:/{source.name}/{version}", f"models:/{source.name}/{source.version.version}"
    return (
        f"registered: {new}. No alias was moved: look at `robmon compare {old} {new}`, and move it where it is served"
    )
