"""`robmon advise`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robmon.cli.files import check_packages, check_writable, read_rows, write_results
from robmon.cli.models import daemon_settings, use_tracking_uri
from robmon.cli.options import FILE, image_layout, inputs_option, some_options


@click.command(short_help="Advise on how a model's layers treat noise.")
@click.argument("model")
@inputs_option
@some_options(
    "--scale-axis", "--image-channels", "--image-range", "--image-mean", "--image-std", "--device", "--threads",
    "--tracking-uri", "--config",
)  # fmt: skip
@click.option("--json", "json_file", type=FILE, default="advice.json", show_default=True, help="JSON to write.")
def advise(model: str, json_file: Path, **options: Any) -> None:
    """Advise on how the operators of MODEL treat noise: prints a table, writes JSON. Advice, not a verdict.

    MODEL is a torch model or an ONNX graph (models:/name/3, models:/name@alias, runs:/id/path). It is run once to find
    its first convolution, normalisation, pools, and where it skips pixels, and the rules of arXiv 2509.20939 are
    applied to them; with --inputs, noise over signal is measured before and after each. Versions of a registered model
    that take pictures of another size are mentioned. The rules are tendencies: `robmon assess` measures. The exit
    status is 0 whatever is found, also where a model cannot be read; 2 where something given cannot be used.
    """
    from robmon.library.advise import advise as read
    from robmon.models.uri import mask

    check_packages([model], options["inputs"], picture=False)
    check_writable(json_file)
    daemon_settings(options)
    layout = image_layout(options)
    use_tracking_uri(options)
    inputs = read_rows(options)[0] if options["inputs"] is not None else options.pop("inputs")
    result = read(model, inputs=inputs, layout=layout, **options)
    click.echo(result)
    write_results(json_file, {"model": mask(model), **result.to_dict()})
