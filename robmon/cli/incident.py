"""`robmon incident`, and `robmon assess --incident`, which computes its numbers again."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from robmon.cli.files import check_writable, write_whole
from robmon.cli.models import daemon_settings, has_daemon
from robmon.cli.options import FILE, config_option
from robmon.errors import InvalidInputError, RobmonError, SettingsError
from robmon.wording import printable

if TYPE_CHECKING:
    from robmon.incident.reproduction import Again
    from robmon.settings import Loaded

ANSWER_SECONDS: Final = 30.0
MAX_BUNDLE_BYTES: Final = 256 * 2**20
WARNING: Final = "this bundle holds production inputs: keep it as you keep those, and delete it when it is done with"
SHOWN_DIFFERENCES: Final = 20


class NoAnswerError(RobmonError):
    """A robmon gave no bundle."""


@click.command(short_help="Gather the evidence of an alert into one archive.")
@click.argument("source", metavar="[URL|DATA_DIR]", required=False)
@click.option("-o", "--output", type=FILE, default="incident.tar.gz", show_default=True, help="Archive to write.")
@click.option("--with-inputs", is_flag=True, help="Include the requests of the sample, so that its numbers can be "
                                                  "computed again; only the owner may then read the file.")  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=Path), help="File with the token for robmon's http port.  "
              "[default: http.token_file of the daemon's settings, for the robmon that runs by them]")  # fmt: skip
@config_option
def incident(source: str | None, output: Path, with_inputs: bool, token_file: Path | None, config: Path | None) -> None:
    """Gather what is known of an alert into one archive.

    The archive holds verdict, versions, curves, drift, causes, settings without secrets, events and REPRODUCE.md, but
    no production input. It is made by a running robmon, given its URL (http://127.0.0.1:9877), or, with less in it,
    from a robmon's data folder. Without either: by the robmon that runs here by these settings, else from its data
    folder.
    """
    from robmon.incident import archive
    from robmon.incident.markdown import headline

    check_writable(output)
    daemon = daemon_settings({"tracking_uri": None, "config": config})
    if source is not None and source.startswith(("http://", "https://")):
        content = _ask(source, token_file, with_inputs)
    elif source is not None:
        content = _read(Path(source), daemon, with_inputs)
    else:
        content = _found_here(daemon, token_file, with_inputs)
    facts, files = archive.facts_in(content)
    write_whole(output, content, is_secret=facts["with_inputs"])
    if facts["with_inputs"]:
        click.echo(f"robmon: {WARNING}", err=True)
    elif with_inputs:
        click.echo(f"robmon: it holds no inputs: {facts['missing'][0]}", err=True)
    click.echo(f"{printable(facts['model']['name'])}: {headline(facts)}.")
    click.echo(f"written: {output} ({len(files)} files: INCIDENT.md says what is in it)")


def _found_here(daemon: Loaded, token_file: Path | None, with_inputs: bool) -> bytes:
    """The bundle of the robmon of these settings: of the running one, else of what it has left."""
    http = daemon.settings.http
    host = "127.0.0.1" if http.host in ("0.0.0.0", "::", "") else http.host  # noqa: S104 - where all are listened on
    scheme = "http" if http.tls_cert_file is None else "https"
    try:
        return _ask(f"{scheme}://{host}:{http.port}", token_file or http.token_file, with_inputs)
    except NoAnswerError as error:
        if with_inputs:
            raise
        click.echo(f"robmon: {error}: what its data folder has is taken", err=True)
        return _read(daemon.settings.data_dir, daemon, with_inputs)


def _ask(url: str, token_file: Path | None, with_inputs: bool) -> bytes:
    """The bundle of a running robmon.

    Raises:
        NoAnswerError: it gives none.
    """
    import httpx

    from robmon.models.uri import mask

    headers = {} if token_file is None else {"Authorization": f"Bearer {_token(token_file)}"}
    place, asked = mask(url.rstrip("/")), {"inputs": "true"} if with_inputs else {}
    content = bytearray()
    try:
        with (
            httpx.Client(timeout=ANSWER_SECONDS, headers=headers) as client,
            client.stream("GET", f"{url.rstrip('/')}/incident", params=asked) as got,
        ):
            for piece in got.iter_raw():
                content += piece
                if len(content) > MAX_BUNDLE_BYTES:
                    raise NoAnswerError(f"{place} sent more than a bundle can hold")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoAnswerError(
            f"{place} did not answer ({type(error).__name__}): give the address of a robmon that runs, with http.port, "
            "or a robmon's data folder"
        ) from None
    if got.status_code != 200:
        advice = {
            401: "it wants a token: give --token-file",
            403: "it gives inputs on its own machine alone, or with its token",
            404: "there is no robmon, or an older one",
        }.get(got.status_code, "try again")
        raise NoAnswerError(f"{place} answered {got.status_code}: {advice}")
    return bytes(content)


def _token(file: Path) -> str:
    """The first one of those that a port's file holds."""
    from robmon.models.secret_file import read_secret
    from robmon.ports.tokens import tokens_of

    try:
        return tokens_of({"--token-file": file}, [read_secret(file)])[0].decode()
    except OSError as error:
        raise SettingsError(f"--token-file = {str(file)!r} cannot be read: {error.strerror}") from None


def _read(data_dir: Path, daemon: Loaded, with_inputs: bool) -> bytes:
    """The bundle of what a data folder holds."""
    from robmon.history.reading import HistoryError, HistoryReader, models_in
    from robmon.incident.history_facts import bundle_of
    from robmon.models.uri import history_key, parse

    if with_inputs:
        raise SettingsError("a data folder holds no inputs: ask the running robmon by its URL")
    settings = daemon.settings if has_daemon(daemon) else None
    found = models_in(data_dir) if data_dir.is_dir() else []
    key = found[0] if len(found) == 1 else "any model"
    if settings is not None:
        uri = parse(settings.model.uri)
        key = history_key(uri, settings.model.name or uri.name)
    elif len(found) > 1:
        raise HistoryError(f"{data_dir} holds the history of {', '.join(found)}: set ROBMON_MODEL__URI to choose one")
    return bundle_of(HistoryReader(data_dir, key), None if settings is None else settings.scope)


# --- robmon assess --incident ----------------------------------------------------------------------------------------


def assess_again(bundle: Path, daemon: Loaded) -> None:
    """Compute the numbers of a bundle again, and end with status 1 where one is another.

    Raises:
        RobmonError: it cannot be done.
    """
    from robmon.incident import archive
    from robmon.incident.replay import read_replay
    from robmon.incident.reproduction import Place, compute_again

    files = archive.read(bundle)
    replay, bodies = read_replay(files)
    settings = daemon.settings
    with tempfile.TemporaryDirectory(prefix="robmon-incident-") as folder:
        place = Place(
            folder=Path(folder),
            tracking_uri=settings.mlflow.tracking_uri,
            python=settings.worker.python,
            allowed_flavors=settings.model.allowed_flavors,
            access=settings.model.access,
            tell=lambda sentence: click.echo(f"robmon: {sentence}", err=True),
        )
        found = asyncio.run(compute_again(replay, bodies, place))
    alike = [_print_compared(each) for each in found]
    if not all(alike):
        _print_why(found[-1], archive.parsed(files, bundle))
        raise click.exceptions.Exit(1)
    last = found[-1]
    click.echo(
        f"All numbers are identical to the last bit: {last.numbers['rows']} rows with the SHA-256 "
        f"{last.numbers['sample_sha256']}, {last.numbers['trials']} trials."
    )


def _print_compared(again: Again) -> bool:
    """Recorded and computed side by side; whether all is the same."""
    from robmon.incident.numbers import differences
    from robmon.report.event_sentences import figure
    from robmon.report.words import aligned

    rows: list[tuple[str, ...]] = [("level", "mean MSE recorded", "again", "bound recorded", "again")]
    for one, other in zip(again.recorded.get("levels", []), again.numbers["levels"], strict=False):
        names = [(one, "mean_mse"), (other, "mean_mse"), (one, "bound"), (other, "bound")]
        rows.append((f"{one['level']:g}", *(figure(level.get(name), 6) for level, name in names)))
    click.echo(f"version {printable(again.version)}")
    click.echo("\n".join(aligned(rows)))
    found = list(differences(again.recorded, again.numbers))
    for place, recorded, now in found[:SHOWN_DIFFERENCES]:
        click.echo(f"differs: {place}: recorded {recorded!r}, now {now!r}")
    if len(found) > SHOWN_DIFFERENCES:
        click.echo(f"and {len(found) - SHOWN_DIFFERENCES} more")
    return not found


def _print_why(again: Again, facts: dict[str, Any]) -> None:
    """What of the place is another, which may be why."""
    computed = facts.get("computed_by") or {}
    before = {**(computed.get("libraries") or {}), **{name: computed.get(name) for name in ("device", "processor")}}
    before["compiled"] = bool(computed.get("compiled"))
    now = again.loaded.libraries | again.loaded.model_dump(include={"device", "processor", "compiled"})
    others = [f"{name} {then} then, {now.get(name)} here" for name, then in before.items() if then != now.get(name)]
    is_other_sample = again.recorded.get("sample_sha256") != again.numbers["sample_sha256"]
    why = "the sample is another one" if is_other_sample else "; ".join(others) or "nothing that is recorded differs"
    click.echo(f"Not identical; what else differs: {why}.")


def check_alone(given: dict[str, Any]) -> None:
    """Refuse options beside --incident that say otherwise what is done."""
    if wrong := [name for name, value in given.items() if value is not None and value != ()]:
        raise InvalidInputError(f"--incident says all that is done: leave out {', '.join(wrong)}")
