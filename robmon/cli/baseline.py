"""`robmon baseline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robmon.cli.files import check_packages, read_rows
from robmon.cli.models import daemon_settings, daemons_model, has_daemon, use_tracking_uri, watched_model
from robmon.cli.options import assessment_options, data_dir_option, library_options, name_option
from robmon.cli.progress import pace_of


@click.command(short_help="Record the baseline of a version, or accept a version.")
@click.option("--model", help="Version: models:/name/3, models:/name@alias, or an endpoint's URL.  "
              "[default: model.uri of the daemon's settings]")  # fmt: skip
@name_option
@click.option("--accept", is_flag=True, help="Accept this version as the one that later versions are compared with.")
@click.option("--without-hour", metavar="HOUR",
              help="Leave an hour, such as 2026-11-26T19 (UTC), out of the limit over time.")  # fmt: skip
@click.option("--log", "log_artifact", is_flag=True, help="Log the baseline to MLflow beside the model.")
@click.option("--hash-names", is_flag=True,
              help="Keep salted hashes instead of the names of categories.  [default: baseline.hash_names of the "
              "daemon's settings]")  # fmt: skip
@data_dir_option
@click.option("--scope", help="Scope of the daemon to tell.  [default: history.scope of the daemon's settings]")
@assessment_options
def baseline(
    model: str | None,
    name: str | None,
    accept: bool,
    without_hour: str | None,
    log_artifact: bool,
    hash_names: bool,
    data_dir: Path | None,
    scope: str | None,
    **options: Any,
) -> None:
    """Record the baseline of a version from a file of inputs, or accept a version.

    Without --log the baseline is written to the daemon's data folder. --accept clears a standing regression of that
    version: the acceptance is written to the registry, in the tag that remembers verdicts, and to the data folder; for
    a model at an endpoint, whose URL must then name the version, to the data folder only. --without-hour leaves an
    abnormal hour out of the limit of the detector over time, which the daemon rebuilds at its next assessment. Registry
    and data folder are found by the daemon's settings, where they are in the environment or in the file that
    ROBMON_CONFIG names.
    """
    if not accept and without_hour is None and options["inputs"] is None:
        raise click.UsageError("give --inputs to record a baseline, --accept to accept the version, or --without-hour")
    hour = None if without_hour is None else _hour(without_hour)
    daemon = daemon_settings(options, {"data_dir": data_dir, "history.scope": scope})
    settings = daemon.settings
    from robmon.cli import acceptance

    is_daemons = has_daemon(daemon)
    needed = model or daemons_model(daemon)
    if needed and hour is None and options["inputs"] is None:  # nothing is done but to accept the version
        needed = needed if acceptance.needs_registry(needed, settings, is_daemons=is_daemons) else None
    check_packages([needed], options["inputs"], picture=False)
    from robmon.history.folder import make_writable
    from robmon.library import baselines
    from robmon.library.left_out_hours import leave_out_hour

    model, asked = watched_model(options, model, daemon)
    if options["inputs"] is not None and not log_artifact:
        make_writable(settings.data_dir)
    if options["inputs"] is not None:
        inputs, _ = read_rows(options)
        with pace_of("recording") as pace:
            recorded = baselines.record(
                asked,
                inputs,
                name=name or settings.model.name,
                data_dir=None if log_artifact else settings.data_dir,
                hashes_names=hash_names or settings.baseline.hash_names,
                progress=pace.update,
                expect=pace.expect,
                **library_options(options),
            )
        click.echo(f"written: {recorded}")
    else:
        use_tracking_uri(options)
    if hour is not None:
        places = leave_out_hour(
            asked,
            hour,
            name=name or settings.model.name,
            data_dir=settings.data_dir,
            is_shared=settings.history.store != "folder",
        )
        click.echo(f"left out: {without_hour} (in {' and '.join(places)})")
    if accept:
        click.echo(f"accepted: {acceptance.accept(model, settings, is_daemons=is_daemons, name=name)}")


def _hour(text: str) -> int:
    from robmon.clock import hour_of

    try:
        return hour_of(text)
    except ValueError:
        raise click.UsageError(f"--without-hour {text} is no hour such as 2026-11-26T19 (UTC)") from None
