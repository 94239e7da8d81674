"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from robmon.errors import ModelLoadError, PredictionError, RobmonError
from robmon.extras import Need, check_all_installed, missing_extra
from robmon.models.threads import default_threads, hold
from robmon.report.progress import tell_regularly
from robmon.robustness.specification import Specification
from robmon.vocabulary import BOUNDS, NOISE_NAMES, OUTPUT_KINDS, TASKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from robmon.models.loading import RemoteModel
    from robmon.robustness.comparison import Comparison
    from robmon.settings import Loaded

ENDPOINT_MAX_SECONDS = 15
PICTURE = Need("matplotlib", "a picture", "give --no-picture")
REGRESSION = 1
BAD_INPUT = 2
BUG = 70


class RobmonGroup(click.Group):
    """Turns robmon's own errors into one sentence and exit status 2, and a bug into a traceback and 70."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RobmonError as error:
            click.echo(f"robmon: {error}", err=True)
            if isinstance(error, ModelLoadError | PredictionError) and error.__cause__ is not None:
                click.echo(f"  because of {type(error.__cause__).__name__}: {error.__cause__}", err=True)
            ctx.exit(BAD_INPUT)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, ImportError) and (missing := missing_extra(error)) is not None:
                click.echo(f"robmon: {missing}", err=True)
                ctx.exit(BAD_INPUT)
            # Not Python's usual status 1, which says that a regression was found.
            traceback.print_exc()
            ctx.exit(BUG)


class SettingsCommand(click.Command):
    """A command that takes every setting as a flag; the settings are looked up only when it is used."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from robmon.settings import leaves

        flags = [
            click.Option(
                [f"--{leaf.name}", _parameter(leaf.name)],
                metavar="VALUE",
                help=f"{leaf.field.description} [{'|'.join((*leaf.choices, ''))}default: {leaf.default_text}]",
            )
            for leaf in leaves()
        ]
        return [*super().get_params(ctx), *flags]


def _parameter(name: str) -> str:
    return name.replace(".", "__")


def _load_settings(config: Path | None, flags: dict[str, str | None]) -> Loaded:
    from robmon.settings import leaves, load

    given = {leaf.name: flags[_parameter(leaf.name)] for leaf in leaves() if flags[_parameter(leaf.name)] is not None}
    return load(given, config)


class TargetsCommand(click.Command):
    """A command whose option --target takes words up to the next option or model: `--target y1 y2 y3`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        within = False
        for word in args:
            if word == "--target":
                within = True
                continue
            within = within and not word.startswith("-") and ":/" not in word
            spread += ["--target", word] if within else [word]
        if args[-1:] == ["--target"]:
            spread.append("--target")
        return super().parse_args(ctx, spread)


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="ROBMON_CONFIG",
    help="YAML file with settings; environment variables and flags win over it.",
)


@click.group(cls=RobmonGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="robmon")
def main() -> None:
    """Watch how robust a served machine-learning model is.

    robmon adds noise to recent production inputs, measures how far the model's outputs move, and publishes bounds on
    that error to Prometheus. Loading a model runs its code: point robmon only at registries that you trust.
    """


@main.command(cls=SettingsCommand)
@config_option
def run(config: Path | None, **flags: str | None) -> None:
    """Run the daemon beside a served model until SIGTERM or Ctrl-C.

    Every setting below can also be given as an environment variable (--assess.levels is ROBMON_ASSESS__LEVELS) or in
    the YAML file named by --config.
    """
    from robmon import logs
    from robmon.daemon.app import run as run_daemon

    settings = _load_settings(config, flags).settings
    logs.configure(settings.log.level, settings.log.format)
    run_daemon(settings)


@main.command("check-config", cls=SettingsCommand)
@config_option
def check_config(config: Path | None, **flags: str | None) -> None:
    """Print the effective settings, where each came from, and nothing secret.

    What the daemon looks at when it starts is looked at here too, so that it is told: files of tokens and certificates,
    the data folder, whether what the settings need is installed, and whether a registry is named.
    """
    from rich.table import Table

    from robmon.daemon.app import check_packages, check_registry
    from robmon.history.folder import check_writable
    from robmon.models.bearer import bearer_token
    from robmon.models.uri import mask
    from robmon.ports.access import Access
    from robmon.settings import as_text, leaves

    loaded = _load_settings(config, flags)
    for section in ("http", "inputs"):
        Access(section, getattr(loaded.settings, section))
    bearer_token(loaded.settings.model.access, "model.token_file")
    check_writable(loaded.settings.data_dir)
    check_packages(loaded.settings)
    check_registry(loaded.settings)
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for leaf in leaves():
        source = loaded.sources[leaf.name]
        style = "dim" if source == "default" else None
        table.add_row(leaf.name, mask(as_text(loaded.value(leaf.name))), source, style=style)
    _print(table)
    if (model := loaded.settings.inputs.model) is not None:
        _print(f"inputs.model = {model!r}: requests that name no model, as all those to /invocations, are left out")


Function = TypeVar("Function", bound=Callable[..., object])


def _assessment_options(command: Function) -> Function:
    """The options that `assess`, `compare` and `baseline` share: those of the library function `robmon.assess`."""
    options = [
        click.option("--inputs", type=click.Path(path_type=Path),
                     help="File of inputs, a row a line: parquet, csv, npy or jsonl."),
        click.option("--levels", default=" ".join(map("{:g}".format, Specification.levels)), show_default=True,
                     help="Noise levels, separated by spaces or commas: standard deviations of a feature, or shares."),
        click.option("--absolute", is_flag=True, help="Levels are in input units, not in standard deviations."),
        click.option("--noise", type=click.Choice(NOISE_NAMES), default=NOISE_NAMES[0], show_default=True,
                     help="Noise model."),
        click.option("--trials", type=click.IntRange(1), default=Specification.trials, show_default=True,
                     help="Independent trials."),
        click.option("--confidence", type=float, default=Specification.confidence, show_default=True,
                     help="Probability of the bounds."),
        click.option("--task", type=click.Choice(TASKS), default=TASKS[0],
                     show_default=True, help="What the model does."),
        click.option("--output", type=click.Choice(OUTPUT_KINDS),
                     help="What the model's numbers are.  [default: by their type and the task]"),
        click.option("--output-column", help="Column or part of the outputs that is assessed, where they have several: "
                     "its name or position, or several of them, separated by commas."),
        click.option("--integers", multiple=True, metavar="COLUMNS",
                     help="Integer columns that are measurements, perturbed and rounded: by name, or all."),
        click.option("--scale-axis", type=int,
                     help="Axis of the inputs (0 are the rows, -1 is the last) with a scale for each of its entries.  "
                     "[default: by rank and first layer]"),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the noise."),
        click.option("--device", default="auto", show_default=True,
                     help="cpu, cuda or auto, of torch models; others choose their own."),
        click.option("--threads", type=click.IntRange(1), default=default_threads, is_eager=True, expose_value=False,
                     callback=lambda context, option, threads: hold(threads), show_default="the processors it may use",
                     help="Threads that a model computes with here."),
        click.option("--tracking-uri", help="MLflow tracking server or SQLite file.  "
                     "[default: mlflow.tracking_uri of the daemon's settings, else MLFLOW_TRACKING_URI]"),
        config_option,
        click.option("--rows-per-second", type=click.FloatRange(0, min_open=True), default=1000, show_default=True,
                     help="Most rows a second sent to an endpoint."),
        click.option("--batch-rows", type=click.IntRange(1), default=32, show_default=True,
                     help="Most rows in one request to an endpoint."),
        click.option("--timeout-seconds", type=click.FloatRange(0, min_open=True), default=10, show_default=True,
                     help="Seconds within which an endpoint answers."),
        click.option("--token-file", type=click.Path(path_type=Path),
                     help="File with a bearer token for an endpoint, read each time."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


FILE = click.Path(path_type=Path, dir_okay=False)


def _picture_options(file: str) -> Callable[[Function], Function]:
    def decorate(command: Function) -> Function:
        command = click.option("--no-picture", is_flag=True, help="Draw no picture; then matplotlib is not needed.")(
            command
        )
        return click.option("--png", type=FILE, default=file, show_default=True, help="Picture to write.")(command)

    return decorate


def _outputs(name: str) -> Callable[[Function], Function]:
    def decorate(command: Function) -> Function:
        command = _picture_options(f"{name}.png")(command)
        return click.option(
            "--json", "json_file", type=FILE, default=f"{name}.json", show_default=True, help="JSON to write."
        )(command)

    return decorate


@main.command(cls=TargetsCommand)
@click.option("--model",
              help="MLflow model (models:/name@alias, models:/name/3, runs:/id/path), or an endpoint's URL "
              "(http://host/invocations, /v1/models/name:predict, /v2/models/name/infer).  "
              "[default: model.uri of the daemon's settings]")  # fmt: skip
@click.option("--target", multiple=True, metavar="COLUMN...",
              help="Column of the inputs that holds the labels, or several (--target y1 y2 y3), one an output in the "
              "model's order: the reference is then the label.")  # fmt: skip
@_assessment_options
@click.option(
    "--bound",
    type=click.Choice(BOUNDS),
    default=BOUNDS[0],
    show_default=True,
    help="Method of the bound.",
)
@click.option("--mse-limit", type=click.FloatRange(0, min_open=True),
              help="Largest acceptable bound, for the noise margin.")  # fmt: skip
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True),
              help="Time budget in seconds: where all takes longer, the first rows (at least 32) are assessed, and "
              f"then fewer trials.  [default: {ENDPOINT_MAX_SECONDS} at an endpoint, else none]")  # fmt: skip
@_outputs("assessment")
def assess(
    model: str | None, target: tuple[str, ...], json_file: Path, png: Path, no_picture: bool, **options: Any
) -> None:
    """Assess one model on one file of inputs: a table, a JSON file and a picture of the curve.

    Where a baseline is recorded beside the version, levels are multiples of its standard deviations, as in the daemon;
    else of those of the inputs.
    """
    from robmon.library import baselines
    from robmon.models.uri import mask
    from robmon.report.assessment import explanation, text

    daemon = _daemon_settings(options)
    _check_packages([model or _daemons_model(daemon)], options["inputs"], picture=not no_picture)
    picture = _files_to_write(json_file, png, no_picture)
    inputs, targets = _read(options, target)
    model, asked = _watched(options, model, daemon)
    if options["max_seconds"] is None and asked != model:
        options["max_seconds"] = ENDPOINT_MAX_SECONDS
    with _progress("assessing") as progress:
        result, baseline = baselines.assess(asked, inputs, targets, progress=progress, **_arguments(options))
    click.echo(text(result, baseline))
    click.echo(explanation(result))
    content = {"model": mask(model), "baseline_mse": baseline, **result.to_dict()}
    _write(json_file, content, picture, lambda: result.plot(baseline))


@main.command()
@click.argument("reference")
@click.argument("new")
@_assessment_options
@click.option("--alpha", type=float, default=0.01, show_default=True, help="Chance of a false alarm.")
@click.option("--tolerance", type=float, default=0.10, show_default=True, help="Relative worsening that is tolerated.")
@_outputs("comparison")
def compare(reference: str, new: str, json_file: Path, png: Path, no_picture: bool, **options: Any) -> None:
    """Compare the model NEW with the model REFERENCE; exit status 1 if NEW is worse: a release gate.

    Where a baseline is recorded beside REFERENCE, levels are multiples of its standard deviations, as in the daemon;
    else of those of the inputs.
    """
    from robmon.library import baselines
    from robmon.models.uri import mask

    _check_packages([reference, new], options["inputs"], picture=not no_picture)
    picture = _files_to_write(json_file, png, no_picture)
    _daemon_settings(options)
    inputs, _ = _read(options)
    asked = _asked(options, reference, new)
    judge = {"alpha": options.pop("alpha"), "tolerance": options.pop("tolerance")}
    with _progress("comparing") as progress:
        result, on_baseline = baselines.compare(
            asked[reference], asked[new], inputs, progress=progress, **judge, **_arguments(options)
        )
    reference, new = mask(reference), mask(new)
    click.echo(result.describe(reference, new))
    click.echo(_scale_used(result, reference, on_baseline))
    for note in dict.fromkeys(note for each in (result.a, result.b) if each is not None for note in each.notes):
        click.echo(note)
    content = {"reference": reference, "new": new, "recorded_baseline": on_baseline, **result.to_dict()}
    _write(json_file, content, picture, lambda: result.plot(reference, new))
    if result.worse:
        raise SystemExit(REGRESSION)


def _scale_used(result: Comparison, reference: str, on_baseline: bool) -> str:
    """What the levels count, and of which rows."""
    unit = "standard deviations" if result.a is None else result.a.level_unit
    if unit == "input units":
        return "Levels are in input units."
    source = f"the baseline recorded with {reference}" if on_baseline else "these inputs: no recorded baseline was used"
    return f"Levels count {unit}, as in {source}."


@main.command(cls=TargetsCommand)
@click.argument("models", nargs=-1, required=True)
@click.option("--target", required=True, multiple=True, metavar="COLUMN...",
              help="Column of the labels, or several, one an output (--target y1 y2 y3); classes as the models return "
              "them, or numbered from 0.")  # fmt: skip
@_assessment_options
@_outputs("ranking")
def rank(
    models: tuple[str, ...], target: tuple[str, ...], json_file: Path, png: Path, no_picture: bool, **options: Any
) -> None:
    """Rank MODELS by their score without noise and under noise: accuracy for classes, else the MSE.

    MODELS are versions (models:/name/3, models:/name@alias) or registered models (models:/name), of which every version
    is ranked. They are loaded one after the other and run in this environment, whatever packages they were made with;
    one that cannot be loaded or called is named and left out.
    """
    from robmon.library import rank as ranking
    from robmon.models.uri import mask

    _check_packages(models, options["inputs"], picture=not no_picture)
    picture = _files_to_write(json_file, png, no_picture)
    _daemon_settings(options)
    inputs, targets = _read(options, target)
    asked = _asked(options, *models)
    arguments = _arguments(options)
    entrants = ranking.entrants(models)
    with _progress(f"ranking {len(entrants)} models") as progress:
        named = {entrant.name: asked.get(entrant.uri, entrant.uri) for entrant in entrants}
        result = ranking.rank(named, inputs, targets, progress=progress, **arguments)
    click.echo(result)
    for entrant in entrants:
        if entrant.tags:
            click.echo(f"{entrant.name}: {', '.join(f'{key}={value}' for key, value in entrant.tags.items())}")
    told = [vars(entrant) | {"uri": mask(entrant.uri)} for entrant in entrants]
    content = {"entrants": told, **result.to_dict()}
    _write(json_file, content, picture, result.plot)


@main.command()
@click.option("--model", help="Version: models:/name/3, models:/name@alias, or an endpoint's URL.  "
              "[default: model.uri of the daemon's settings]")  # fmt: skip
@click.option("--name", help="Name of a model at an endpoint whose URL has none.")
@click.option("--accept", is_flag=True, help="Accept this version as the one that later versions are compared with.")
@click.option("--log", "log_artifact", is_flag=True, help="Log the baseline to MLflow beside the model.")
@click.option("--data-dir", type=click.Path(path_type=Path),
              help="Data folder of the daemon.  [default: data_dir of its settings, else robmon-data]")  # fmt: skip
@click.option("--scope", help="Scope of the daemon that is to know.  [default: history.scope of the daemon's settings]")
@_assessment_options
def baseline(
    model: str | None,
    name: str | None,
    accept: bool,
    log_artifact: bool,
    data_dir: Path | None,
    scope: str | None,
    **options: Any,
) -> None:
    """Record the baseline of a version from a file of inputs, or accept a version.

    Without --log the baseline is written to the daemon's data folder. --accept clears a standing regression of that
    version: it is written to the registry, in the tag that remembers verdicts, and to the data folder; of a model at an
    endpoint, whose URL must then name the version, to the data folder alone. Where the daemon's settings are in the
    environment, or in the file that ROBMON_CONFIG names, they say where all that is.
    """
    if not accept and options["inputs"] is None:
        raise click.UsageError("give --inputs to record a baseline, or --accept to accept the version")
    daemon = _daemon_settings(options, {"data_dir": data_dir, "history.scope": scope})
    settings = daemon.settings
    _check_packages([model or _daemons_model(daemon)], options["inputs"], picture=False)
    from robmon.cli import acceptance
    from robmon.history.folder import make_writable
    from robmon.library import baselines

    model, asked = _watched(options, model, daemon)
    if options["inputs"] is not None and not log_artifact:
        make_writable(settings.data_dir)
    if options["inputs"] is not None:
        inputs, _ = _read(options)
        with _progress("recording") as progress:
            recorded = baselines.record(
                asked,
                inputs,
                name=name or settings.model.name,
                data_dir=None if log_artifact else settings.data_dir,
                progress=progress,
                **_arguments(options),
            )
        click.echo(f"written: {recorded}")
    else:
        _use_tracking_uri(options)
    if accept:
        is_daemons = _is_daemons(daemon)
        click.echo(f"accepted: {acceptance.accept(model, settings, is_daemons=is_daemons, name=name)}")


@main.command()
@click.option("--keep", is_flag=True, help="Keep everything running until Ctrl-C.")
@_picture_options("robmon-demo.png")
def demo(keep: bool, png: Path, no_picture: bool) -> None:
    """Watch a fragile release being caught: registry, model server, traffic, daemon, all on this machine."""
    from robmon.demo import check_packages
    from robmon.demo import run as run_demo

    check_packages()
    run_demo(keep=keep, png=_picture(png, no_picture))


def _daemon_settings(options: dict[str, Any], flags: dict[str, Any] | None = None) -> Loaded:
    """The settings that a daemon has in this environment; those of its model are made up where it has none."""
    from robmon.settings import load

    flags = {"mlflow.tracking_uri": options["tracking_uri"], **(flags or {})}
    given = {name: str(value) for name, value in flags.items() if value is not None}
    daemon = load(given, options.pop("config"), otherwise={"model.uri": "models:/none/0"})
    options["tracking_uri"] = daemon.settings.mlflow.tracking_uri
    return daemon


def _is_daemons(daemon: Loaded) -> bool:
    """Whether a daemon's settings are there, rather than made up."""
    return daemon.sources["model.uri"] != "default"


def _daemons_model(daemon: Loaded) -> str | None:
    return daemon.settings.model.uri if _is_daemons(daemon) else None


def _check_packages(models: Iterable[str | None], inputs: Path | None, *, picture: bool) -> None:
    """Tell at once all that a command needs and that is not installed."""
    from robmon.models.uri import is_endpoint, mask

    loaded = [uri for uri in models if uri is not None and not is_endpoint(uri)]
    needs = [Need("mlflow", mask(uri)) for uri in loaded[:1]]
    if inputs is not None and inputs.suffix.lower() in (".csv", ".parquet"):
        needs.append(Need("pandas", str(inputs)))
    if inputs is not None and inputs.suffix.lower() == ".parquet":
        needs.append(Need("pyarrow", str(inputs)))
    if picture:
        needs.append(PICTURE)
    check_all_installed(needs)


def _watched(options: dict[str, Any], model: str | None, daemon: Loaded) -> tuple[str, str | RemoteModel]:
    """The model given, else the one that the daemon watches: its URI, and what is asked."""
    if model is not None:
        return model, _asked(options, model)[model]
    if not _is_daemons(daemon):
        raise click.UsageError("give --model, or run this where the daemon's settings are")
    uri = daemon.settings.model.uri
    options |= dict(daemon.settings.model.access)
    options.pop("token")
    return uri, _asked(options, uri)[uri]


def _read(options: dict[str, Any], target: tuple[str, ...] = ()) -> tuple[Any, Any]:
    from robmon.inputs.files import read_inputs

    path = options.pop("inputs")
    if path is None:
        raise click.UsageError("give --inputs: a parquet, csv, npy or jsonl file, with a row a line")
    return read_inputs(path, target, tell=lambda sentence: click.echo(sentence, err=True))


def _check_writable(file: Path) -> None:
    """Before the work is done, not after."""
    if not os.access(file.parent, os.W_OK | os.X_OK) or (file.exists() and not os.access(file, os.W_OK)):
        raise click.UsageError(f"{file} cannot be written")


def _files_to_write(json_file: Path, png: Path, no_picture: bool) -> Path | None:
    """The picture to write beside the JSON file, as `_picture`."""
    _check_writable(json_file)
    return _picture(png, no_picture)


def _picture(png: Path, no_picture: bool) -> Path | None:
    """The picture to write, of a kind that can be drawn; None where none is wanted."""
    if no_picture:
        return None
    check_all_installed([PICTURE])
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if png.suffix and png.suffix[1:].lower() not in kinds:
        raise click.UsageError(f"{png} is of no known kind of picture: end its name with one of .{', .'.join(kinds)}")
    _check_writable(png)
    return png


def _asked(options: dict[str, Any], *models: str) -> dict[str, str | RemoteModel]:
    """The models by what was given: a URI as it is, an endpoint with how it may be asked."""
    from robmon.library.endpoint import endpoint
    from robmon.models.uri import is_endpoint

    access = {name: options.pop(name) for name in ("rows_per_second", "batch_rows", "timeout_seconds", "token_file")}
    if access["token_file"] is not None and not any(map(is_endpoint, models)):
        raise click.UsageError("--token-file is for endpoints, and no model is one")
    return {model: endpoint(model, **access) if is_endpoint(model) else model for model in models}


def _use_tracking_uri(options: dict[str, Any]) -> None:
    """MLflow's own variable is how the library functions, and MLflow itself, learn where the registry is."""
    from robmon.models.loading import bound_waiting

    bound_waiting()
    tracking_uri = options.pop("tracking_uri")
    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The command's options as `robmon.assess` takes them."""
    _use_tracking_uri(options)
    try:
        levels = [float(word) for word in re.split(r"[\s,]+", options.pop("levels").strip(" []"))]
    except ValueError:
        raise click.BadParameter("levels are numbers separated by spaces or commas", param_hint="--levels") from None
    scale = 1.0 if options.pop("absolute") else None
    integers = [name for word in options.pop("integers") for name in _names(word)]
    return {**options, "levels": levels, "scale": scale, "integers": integers or None}


def _names(words: str) -> list[str]:
    """Names separated by spaces or commas, or as JSON."""
    if not words.lstrip().startswith("["):
        return [name for name in re.split(r"[\s,]+", words) if name]
    try:
        return [str(name) for name in json.loads(words)]
    except json.JSONDecodeError:
        raise click.BadParameter("names are JSON, or separated by spaces or commas", param_hint="--integers") from None


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """How far it is, on standard error: a bar on a terminal, else a line every few seconds."""
    if not sys.stderr.isatty():
        with _progress_lines(what) as progress:
            yield progress
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def _progress_lines(what: str) -> Iterator[Callable[[int, int], None]]:
    progress = (0, 0)

    def tell(seconds: float) -> None:
        done, total = progress
        trials = f"{done} of {total} trials" if total else "getting ready"
        click.echo(f"{what}: {trials}, {seconds:.0f} s", err=True)

    def update(done: int, total: int) -> None:
        nonlocal progress
        progress = (done, total)

    with tell_regularly(tell):
        yield update


def _print(what: Table | str) -> None:
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(what)


def _write(json_file: Path, content: dict[str, Any], picture: Path | None, draw: Callable[[], Figure]) -> None:
    """Write the JSON file and, beside it, the picture, if there is to be one."""
    json_file.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if picture is not None:
        draw().savefig(picture, dpi=150)
    _print(f"written: {json_file}" + (f", {picture}" if picture is not None else ""))
