"""Options that commands share, and what is made of them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from robmon.cli.models import use_tracking_uri
from robmon.models.devices.threads import default_threads, hold
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.specification import Specification
from robmon.vocabulary import DISTANCES, IMAGE_CHANNELS, JPEG_SUBSAMPLING, NOISE_NAMES, OUTPUT_KINDS, TASKS

if TYPE_CHECKING:
    from robmon.settings import Loaded

Function = TypeVar("Function", bound=Callable[..., object])


class SettingsCommand(click.Command):
    """A command that takes every setting as a flag; the settings are looked up only when it is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from robmon.settings import leaves

        flags = [
            click.Option(
                [f"--{leaf.name}", parameter_name(leaf.name)],
                metavar="VALUE",
                help=f"{leaf.field.description} [{'|'.join((*leaf.choices, ''))}default: {leaf.default_text}]",
            )
            for leaf in leaves()
        ]
        return [*super().get_params(ctx), *flags]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                section, dot, _ = record[0].removeprefix("--").partition(".")
                sections.setdefault(f"Settings {section}.*" if dot else "Options", []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def parameter_name(name: str) -> str:
    return name.replace(".", "__")


def load_settings(config: Path | None, flags: dict[str, str | None]) -> Loaded:
    from robmon.settings import leaves, load

    given = {
        leaf.name: flags[parameter_name(leaf.name)] for leaf in leaves() if flags[parameter_name(leaf.name)] is not None
    }
    return load(given, config)


class TargetsCommand(click.Command):
    """A command whose option --target takes words up to the next option or model: `--target y1 y2 y3`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        within = False
        for word, after in itertools.pairwise([*args, "--"]):
            if word == "--target":
                within = True
                if after.startswith("-"):
                    raise click.BadOptionUsage("--target", "Option '--target' requires an argument.", ctx)
                continue
            within = within and not word.startswith("-") and ":/" not in word
            spread += ["--target", word] if within else [word]
        return super().parse_args(ctx, spread)


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="ROBMON_CONFIG",
    help="YAML file with settings; environment variables and flags win over it.",
)


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Data folder of the daemon.  [default: data_dir of its settings, else robmon-data]",
)
name_option = click.option("--name", help="Name of a model at an endpoint whose URL has none.")


def assessment_options(command: Function) -> Function:
    """The options that `assess`, `compare` and `baseline` share: those of the library function `robmon.assess`."""
    options = [
        click.option("--levels", default=" ".join(map("{:g}".format, Specification.levels)), show_default=True,
                     help="Noise levels, separated by spaces or commas: standard deviations of a feature, or shares."),
        click.option("--absolute", is_flag=True, help="Levels are in input units, not in standard deviations."),
        click.option("--noise", type=click.Choice(NOISE_NAMES), default=NOISE_NAMES[0], show_default=True,
                     help="Noise model."),
        click.option("--trials", type=click.IntRange(1), default=Specification.trials, show_default=True,
                     help="Independent noise trials at each level."),
        click.option("--confidence", type=float, default=Specification.confidence, show_default=True,
                     help="Stated probability of the bounds."),
        click.option("--task", type=click.Choice(TASKS), default=TASKS[0],
                     show_default=True, help="What the model does."),
        click.option("--distance", type=click.Choice(DISTANCES), default=DISTANCES[0], show_default=True,
                     help="Distance between embeddings: length of their difference, or 1 minus the cosine of their "
                     "angle."),
        click.option("--threshold", type=click.FloatRange(0, min_open=True),
                     help="Distance beyond which two embeddings no longer count as the same thing.  "
                     "[default: the one below which --false-match-rate of all pairs of different rows lie]"),
        click.option("--false-match-rate", type=click.FloatRange(0, 1, min_open=True, max_open=True),
                     default=Specification.false_match_rate, show_default=True,
                     help="Share of pairs of different rows that may count as the same thing, see --threshold."),
        click.option("--max-batch-rows", type=click.IntRange(1),
                     help="Most rows given to the model at a time: 1 where it takes no more, or as many as production "
                     "sends where they depend on each other.  [default: as is fast]"),
        click.option("--image-jpeg-subsampling", type=click.Choice(JPEG_SUBSAMPLING),
                     default=ImageLayout.jpeg_subsampling, show_default=True, help="Colour subsampling of jpeg noise."),
    ]  # fmt: skip
    return inputs_option(_with(options, model_options(command)))


def model_options(command: Function) -> Function:
    """What else a command needs to ask a model about inputs, whatever it asks."""
    options = [
        click.option("--output", type=click.Choice(OUTPUT_KINDS),
                     help="What the model's outputs are.  [default: deduced from their type and the task]"),
        click.option("--output-column", help="Column or part of the outputs to assess, where they have several: "
                     "its name or position, or several of them, separated by commas."),
        click.option("--integers", multiple=True, metavar="COLUMNS",
                     help="Integer columns that are measurements, to be perturbed and rounded: names, or all."),
        click.option("--scale-axis", type=int,
                     help="Axis of the inputs each of whose entries has its own scale (0 is the rows, -1 the last).  "
                     "[default: by rank and first layer]"),
        click.option("--image-channels", type=click.Choice(IMAGE_CHANNELS),
                     help="Which axis of images holds the channels.  [default: by the shape]"),
        click.option("--image-range", metavar="BLACK WHITE",
                     help="Values of black and white in images, in quotes.  [default: 0 255 for uint8, else required]"),
        click.option("--image-mean", metavar="NUMBERS",
                     help="What clients subtract when they normalise images, one number per channel, in quotes."),
        click.option("--image-std", metavar="NUMBERS", help="What they divide by, likewise."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything that is "
                                                                                          "drawn."),
        click.option("--device", default="auto", show_default=True,
                     help="cpu, cuda or auto, for torch and ONNX models; others choose their own."),
        click.option("--threads", type=click.IntRange(1), default=default_threads, is_eager=True, expose_value=False,
                     callback=lambda context, option, threads: hold(threads), show_default="the processors it may use",
                     help="Threads that the model may compute with."),
        click.option("--tracking-uri", help="MLflow tracking server or SQLite file.  "
                     "[default: mlflow.tracking_uri of the daemon's settings, else MLFLOW_TRACKING_URI]"),
        config_option,
        click.option("--rows-per-second", type=click.FloatRange(0, min_open=True), default=1000, show_default=True,
                     help="Most rows sent to an endpoint per second."),
        click.option("--batch-rows", type=click.IntRange(1), default=32, show_default=True,
                     help="Most rows in one request to an endpoint."),
        click.option("--timeout-seconds", type=click.FloatRange(0, min_open=True), default=10, show_default=True,
                     help="Seconds to wait for an answer of an endpoint."),
        click.option("--token-file", type=click.Path(path_type=Path),
                     help="File with a bearer token for an endpoint, read again for each request."),
    ]  # fmt: skip
    return _with(options, command)


def some_options(*flags: str) -> Callable[[Function], Function]:
    """The options of `assessment_options` that are named here, such as `--noise`."""

    def all_of_them() -> None:
        pass

    assessment_options(all_of_them)
    chosen = [each for each in vars(all_of_them)["__click_params__"] if each.opts[0] in flags]

    def decorate(command: Function) -> Function:
        vars(command).setdefault("__click_params__", []).extend(chosen)  # where click keeps options
        return command

    return decorate


inputs_option = click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help="File of inputs, one row per line: parquet, csv, npy or jsonl.",
)


def _with(options: Sequence[Callable[[Function], Function]], command: Function) -> Function:
    for option in reversed(options):
        command = option(command)
    return command


FILE = click.Path(path_type=Path, dir_okay=False)


def picture_options(file: str) -> Callable[[Function], Function]:
    def decorate(command: Function) -> Function:
        command = click.option("--no-picture", is_flag=True, help="Draw no picture; then matplotlib is not needed.")(
            command
        )
        return click.option("--png", type=FILE, default=file, show_default=True, help="Picture to write.")(command)

    return decorate


def output_options(name: str) -> Callable[[Function], Function]:
    def decorate(command: Function) -> Function:
        command = picture_options(f"{name}.png")(command)
        return click.option(
            "--json", "json_file", type=FILE, default=f"{name}.json", show_default=True, help="JSON to write."
        )(command)

    return decorate


def library_options(options: dict[str, Any]) -> dict[str, Any]:
    """The command's options as `robmon.assess` takes them."""
    levels = numbers(options.pop("levels"), "levels")
    return {**model_and_scale(options), "levels": levels}


def model_and_scale(options: dict[str, Any]) -> dict[str, Any]:
    """The options that every command has which asks a model, likewise."""
    use_tracking_uri(options)
    scale = 1.0 if options.pop("absolute") else None
    integers = [name for word in options.pop("integers") for name in names(word, "integers")]
    layout = image_layout(options)
    return {**options, "scale": scale, "integers": integers or None, "layout": layout}


def image_layout(options: dict[str, Any]) -> ImageLayout | None:
    """How the inputs are images, as the options say; None where they say nothing."""
    said = {name: options.pop(f"image_{name}") for name in ("channels", "range", "mean", "std")}
    subsampling = options.pop("image_jpeg_subsampling", ImageLayout.jpeg_subsampling)
    if not any(said.values()) and subsampling == ImageLayout.jpeg_subsampling:
        return None
    for name in ("range", "mean", "std"):
        said[name] = said[name] and numbers(said[name], f"image-{name}")
    return ImageLayout(**said, jpeg_subsampling=subsampling)


def numbers(words: str, option: str) -> list[float]:
    """Numbers separated by spaces or commas."""
    try:
        return [float(word) for word in re.split(r"[\s,]+", words.strip(" []"))]
    except ValueError:
        told = f"{option.removeprefix('image-')} are numbers separated by spaces or commas"
        raise click.BadParameter(told, param_hint=f"--{option}") from None


def names(words: str, option: str) -> list[str]:
    """Names separated by spaces or commas, or as JSON."""
    if not words.lstrip().startswith("["):
        return [name for name in re.split(r"[\s,]+", words) if name]
    try:
        return [str(name) for name in json.loads(words)]
    except json.JSONDecodeError:
        raise click.BadParameter("names are JSON, or separated by spaces or commas", param_hint=f"--{option}") from None
