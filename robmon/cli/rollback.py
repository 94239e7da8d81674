"""`robmon rollback`."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from robmon import clock
from robmon.cli.files import check_packages
from robmon.cli.models import daemon_settings, has_daemon, use_tracking_uri
from robmon.cli.options import data_dir_option, some_options
from robmon.errors import ModelError, RobmonError
from robmon.report.words import aligned, chance, interval, number
from robmon.wording import printable

if TYPE_CHECKING:
    from robmon.library.rollback import Rollback
    from robmon.settings import Loaded


@click.command(short_help="Move an alias back to the accepted version.")
@click.argument("alias", metavar="NAME@ALIAS")
@click.option("--to", metavar="VERSION", help="Version to move the alias to.  [default: the last accepted one]")
@click.option("--yes", is_flag=True, help="Move the alias; without it the command only prints what it would do.")
@click.option(
    "--force", is_flag=True, help="Move it even if no regression stands, and even to a version that was rejected."
)
@click.option("--scope", help="Scope in which verdicts are remembered.  [default: history.scope of the daemon's "
              "settings, else that of the alias]")  # fmt: skip
@data_dir_option
@some_options("--tracking-uri", "--config")
def rollback(alias: str, to: str | None, yes: bool, force: bool, scope: str | None, **options: Any) -> None:
    """Move an alias of the registry back to the accepted version, while a regression stands.

    Without --yes nothing is written. The alias is moved with your own credentials: the daemon never moves one. Which
    regression stands, and which version was accepted, is read from the registry's tag and, where there is one, from the
    daemon's data folder. A robmon that follows the alias to an accepted version clears the regression by itself.
    Without @ALIAS the alias is the one that the daemon's settings name, else the model's only one.
    """
    given = {name: options[name] for name in ("tracking_uri", "data_dir", "config")}
    daemon = daemon_settings(options, {"data_dir": options.pop("data_dir"), "history.scope": scope})
    check_packages(["models:/registered/1"], None, picture=False)
    use_tracking_uri(options)
    from robmon.library.rollback import move, only_alias, parse_alias, plan_rollback
    from robmon.models.registry.registry import Registry

    name, target = parse_alias(alias)
    registry = Registry(daemon.settings.mlflow.tracking_uri)
    chosen = target or _watched_alias(daemon, name) or only_alias(registry, name)
    planned = plan_rollback(
        registry,
        name,
        chosen,
        scope=_scope(daemon, name, chosen),
        data_dir=daemon.settings.data_dir,
        to=to,
        force=force,
    )
    command = _command(planned, scope, given)
    _print_plan(planned)
    if not yes:
        words = [*command, *(["--to", to] if to else []), *(["--force"] if force else []), "--yes"]
        click.echo(f"Nothing was written. To move {planned.alias} to version {planned.target}:\n{shlex.join(words)}")
        return
    move(registry, planned)
    click.echo(f"{planned.alias} of {name} was moved from version {planned.served} to version {planned.target}.")
    undo = shlex.join([*command, "--to", planned.served, "--force", "--yes"])
    click.echo(f"To undo it:\n{undo}")
    _tag(registry, planned)
    click.echo(
        f"{_what_follows(planned)}; whatever looks the alias up only when it starts serves version {planned.target} "
        "after a restart."
    )


def _what_follows(planned: Rollback) -> str:
    """What a robmon that follows the alias says of the target."""
    entry, standing, target = planned.remembered, planned.standing, planned.target
    if entry is not None and not entry.accepted:
        return (
            f"Version {target} was rejected, against version {entry.against}: a robmon that follows the alias alerts "
            "on that regression as long as it is served"
        )
    is_reference = standing is not None and standing.entry is not None and standing.entry.against == target
    if entry is None and not is_reference:
        return f"Version {target} has no verdict yet: a robmon that follows the alias judges it first"
    if standing is None:
        return f"A robmon that follows the alias takes version {target} as accepted"
    return "A robmon that follows the alias clears the regression by itself"


def _watched_alias(daemon: Loaded, name: str) -> str | None:
    """The alias that the daemon's settings name; None where they name no model, or another."""
    from robmon.models.uri import ModelUri, parse

    watched = parse(daemon.settings.model.uri) if has_daemon(daemon) else None
    if watched is None or (isinstance(watched, ModelUri) and watched.name != name):
        return None
    if isinstance(watched, ModelUri) and watched.kind == "alias":
        return watched.target
    raise ModelError(
        "what is served was not found by an alias, by the daemon's model.uri: serve another version there, or give "
        "NAME@ALIAS"
    )


def _scope(daemon: Loaded, name: str, alias: str) -> str | None:
    """The scope that the settings name for that alias; None where they name none."""
    from robmon.models.uri import ModelUri, parse

    settings = daemon.settings
    watched = parse(settings.model.uri) if has_daemon(daemon) else None
    is_watched = isinstance(watched, ModelUri) and watched.is_registered and watched.name == name
    if settings.history.scope is None and not is_watched:
        return None
    is_other = isinstance(watched, ModelUri) and watched.kind == "alias" and watched.target != alias
    return settings.history.scope or (None if is_other else settings.scope)


def _command(planned: Rollback, scope: str | None, given: dict[str, Any]) -> list[str]:
    """The words that repeat the command, with the places that it was given, but no credential of a URL."""
    from robmon.models.uri import mask

    flags = {"--scope": scope, **{f"--{name.replace('_', '-')}": value for name, value in given.items()}}
    words = ["robmon", "rollback", f"{planned.name}@{planned.alias}"]
    for flag, value in flags.items():
        if value is not None and mask(str(value)) == str(value):
            words += [flag, str(value)]
    return words


def _tag(registry: Any, planned: Rollback) -> None:
    from robmon.library.rollback import write_tags

    try:
        tag = write_tags(registry, planned, time.time())
    except RobmonError as error:
        click.echo(f"robmon: the alias was moved, and the versions could not be tagged: {error}", err=True)
    else:
        click.echo(f"Both versions have the tag {tag}.")


def _print_plan(planned: Rollback) -> None:
    """What stands, and the curves of both versions side by side."""
    served, target = f"version {planned.served}", f"version {planned.target}"
    lines = [f"{printable(planned.alias)} of {printable(planned.name)} stands for {served}.", _why(planned, served)]
    if planned.curves is not None:
        rows = [[f"{level:g}", number(to), number(now)] for level, to, now in planned.curves.rows]
        lines += [*aligned([["level", target, served], *rows]), f"Mean noise error of either, {planned.curves.of}."]
    elif planned.standing is not None:
        lines.append("Their curves are in the data folder of the robmon that judged it: run this there to see them.")
    click.echo("\n".join([*filter(None, lines), *(f"{note[:1].upper()}{note[1:]}." for note in planned.notes)]) + "\n")


def _why(planned: Rollback, served: str) -> str:
    """What speaks against the version that is served."""
    standing = planned.standing
    if standing is None:
        return "No regression stands: the move is forced."
    since = f"since {clock.utc(standing.since)}"
    if standing.entry is None:
        return (
            f"A regression over time stands {since}: {served} reacts more to noise than in its baseline's worst hour."
        )
    entry, verdict = standing.entry, standing.verdict
    # What another pod remembers does not lie between the limits of the verdict that this one has found.
    pooled = entry.pooled_ratio if verdict is None else verdict.pooled_ratio
    ratio = "" if pooled is None else f": {pooled:.3g} times its noise error"
    if verdict is not None:
        limits = interval(verdict.confidence, verdict.pooled_low, verdict.pooled_high, digits=3)
        levels = zip(verdict.levels, verdict.ratio, strict=True)
        by_level = ", ".join(f"{value:.3g} at {level:g}" for level, value in levels)
        ratio += f" ({limits}, {chance(verdict.pvalue)}); by level {by_level}"
    return f"A regression stands {since}: {served} against version {entry.against}{ratio}."
