"""`robmon audit`."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robmon.cli.files import check_writable, write_whole
from robmon.cli.interruption import ended_by_signals
from robmon.cli.models import daemon_settings, use_tracking_uri
from robmon.cli.options import FILE, some_options
from robmon.cli.progress import pace_of
from robmon.errors import RobmonError
from robmon.extras import Need, check_all_installed
from robmon.models.devices.threads import default_threads

if TYPE_CHECKING:
    from robmon.audit.audit import Engine, Plan
    from robmon.audit.store import Place
    from robmon.audit.summary import Audit
    from robmon.audit.task import Limits

NOT_ALL = 1
TO_GO_ON = "the same command goes on where it was"
SHARE_OF_MEMORY = 0.85


@click.command(short_help="Assess every version in a registry.")
@click.argument("models", nargs=-1, required=True)
@click.option("--inputs", "inputs_map", type=click.Path(path_type=Path), required=True, metavar="MAP.yaml",
              help="Which inputs to audit models on: name patterns, each with a file or settings.")  # fmt: skip
@click.option("--out", required=True, metavar="DIR",
              help="Folder for the results, or a URL that fsspec knows. What is already there is not done "
              "again.")  # fmt: skip
@click.option("--versions", default="all", show_default=True,
              help="Which versions of each model: all, latest:3 (the last three) or alias:champion.")  # fmt: skip
@click.option("--filter", "condition", default="", metavar="TEXT",
              help="MLflow filter for versions, such as \"tags.stage = 'prod'\".")  # fmt: skip
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="local: processes on this machine; ray: tasks of a Ray cluster.")  # fmt: skip
@click.option("--address", default=None,
              help="Address of the Ray cluster; auto: the one on this machine.  [default: start one here]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=None,
              help="Versions examined at a time.  [default: the number of processors divided by "
              "--threads]")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
              help="Threads that each version computes with.")  # fmt: skip
@click.option("--gpus", type=click.IntRange(0), default=0, show_default=True,
              help="GPUs that each version has to itself; 0: it computes on the processor.")  # fmt: skip
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True,
              help="Seconds for one version; what takes longer is killed, and has no result.")  # fmt: skip
@click.option("--memory-bytes", type=click.IntRange(1), default=None,
              help="Most memory for one version.  [default: 85 % of what there is, shared by the workers]")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Examine versions again that have a reason instead of a result.")
@click.option("--json", "json_file", type=FILE, default=None, help="Also write the audit.json of --out here.")
@some_options("--tracking-uri", "--config")
def audit(
    models: tuple[str, ...],
    inputs_map: Path,
    out: str,
    versions: str,
    condition: str,
    engine: str,
    address: str | None,
    workers: int | None,
    retry_failed: bool,
    json_file: Path | None,
    **options: Any,
) -> None:
    """Assess every version of MODELS under noise, each in a process of its own; exit status 1 if some has no result.

    MODELS are registered models, models:/name, or patterns such as 'models:/*'. Versions on the same inputs are ranked.
    A version that raises, dies, hangs or takes too much memory has a reason instead of a result. Each result is kept
    in --out as soon as it is there: the same command continues where an interrupted one stopped.
    """
    from robmon.audit.inputs_map import read_map
    from robmon.audit.local import check_gpus
    from robmon.audit.selection import check_rule
    from robmon.audit.task import Limits

    check_rule(versions)
    entries = read_map(inputs_map)
    if json_file is not None:
        check_writable(json_file)
    limits = Limits(
        options.pop("max_seconds"), options.pop("memory_bytes"), options.pop("threads"), options.pop("gpus")
    )
    check_all_installed([Need("mlflow", "an audit"), Need("jinja2", "its page")])
    if engine == "local" and address is not None:
        raise click.UsageError("--address is of --engine ray")
    at_once = workers or max(default_threads() // limits.threads, 1)
    if address is None and (devices := check_gpus(limits)):
        at_once = min(at_once, devices)
    daemon_settings(options)
    tracking_uri = options["tracking_uri"]
    use_tracking_uri(options)
    from robmon.audit.audit import plan
    from robmon.audit.selection import pick
    from robmon.audit.store import open_place
    from robmon.models.registry.listing import list_versions
    from robmon.models.registry.registry import Registry
    from robmon.processes.temporary import temporary_home

    with ended_by_signals(TO_GO_ON), temporary_home("robmon-audit-") as scratch, ExitStack() as opened:
        if address is not None:  # which tells at once what the cluster has not
            opened.enter_context(_ray(address, limits, tracking_uri, scratch))
        place = open_place(out)
        registry = Registry(tracking_uri)
        picked = pick(list_versions(registry, condition), models, versions)
        made = plan(picked, entries, place, scratch, retry_failed=retry_failed)
        for sentence in made.told:
            click.echo(sentence, err=True)
        if engine == "local":
            run = _local(made, _with_memory(limits, at_once), at_once, tracking_uri)
        else:
            if address is None and made.missing:  # to start one takes long
                opened.enter_context(_ray(address, limits, tracking_uri, scratch))
            run = _on_ray(limits, workers, tracking_uri)
        found = _run(made, place, run, at_once)
        _write(found, place, " ".join(models), registry.place, json_file)
    if found.failures:
        raise SystemExit(NOT_ALL)


def _with_memory(limits: Limits, workers: int) -> Limits:
    """A limit where none is given: one version must not take the memory of the others."""
    import dataclasses

    import psutil

    from robmon.processes.memory_limit import cgroup_limit_bytes

    if limits.memory_bytes is not None:
        return limits
    there = min(cgroup_limit_bytes() or psutil.virtual_memory().total, psutil.virtual_memory().total)
    return dataclasses.replace(limits, memory_bytes=int(SHARE_OF_MEMORY * there / workers))


def _local(made: Plan, limits: Limits, workers: int, tracking_uri: str | None) -> Engine:
    from robmon.audit import local
    from robmon.audit.map_checks import check_python
    from robmon.processes.strays import strays

    for entry in made.missing_entries:
        check_python(entry)
    strays.adopt()
    return lambda tasks, inputs, tell: local.run(tasks, inputs, limits, workers, tracking_uri, tell)


def _ray(address: str | None, limits: Limits, tracking_uri: str | None, scratch: Path) -> AbstractContextManager[None]:
    from robmon.audit import on_ray

    return on_ray.connected(address, limits, tracking_uri, scratch)


def _on_ray(limits: Limits, workers: int | None, tracking_uri: str | None) -> Engine:
    from robmon.audit import on_ray

    return lambda tasks, inputs, tell: on_ray.run(tasks, inputs, limits, workers, tracking_uri, tell)


def _run(made: Plan, place: Place, run: Engine, workers: int) -> Audit:
    from robmon.audit.audit import audit

    done, missing = len(made.tasks) - len(made.missing), len(made.missing)
    if done:
        click.echo(f"{done} of {len(made.tasks)} versions have their result already", err=True)
    finished = 0
    with pace_of("auditing", "versions") as pace:
        pace.update(0, missing)

        def tell(seconds: float) -> None:
            nonlocal finished
            if not finished:
                pace.expect(seconds * max(missing - workers, 0) / workers)
            finished += 1
            pace.update(finished, missing)

        try:
            return audit(made, place, run, tell)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{len(made.found)} of {len(made.tasks)} versions have their result") from None


def _write(found: Audit, place: Place, models: str, registry: str, json_file: Path | None) -> None:
    """JSON and page, and what a terminal shows."""
    from robmon.audit.store import keep
    from robmon.report.audit import text
    from robmon.report.html.audit import audit_page

    content = {"models": models, "registry": registry, **found.to_dict()}
    rankings = [group.ranking for group in found.groups]
    written = (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
    keep(place, "audit.json", written)
    keep(place, "audit.html", audit_page(content, rankings, models, f"In the registry at {registry}.").encode())
    if json_file is not None:
        _write_copy(json_file, written)
    click.echo(text(content, rankings))
    click.echo(f"written: {place.url.rstrip('/')}/audit.json, audit.html")


def _write_copy(file: Path, content: bytes) -> None:
    try:
        write_whole(file, content)
    except OSError as error:
        raise RobmonError(f"{file} cannot be written: {error.strerror}; all of it is in --out") from None
