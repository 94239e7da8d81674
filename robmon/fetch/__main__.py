"""The short process that gets a model version: `python -m robmon.fetch --fd N`.

It alone has the registry's credentials, and so it also writes there what is remembered of a model's versions. Of a
model at an endpoint it asks the version, and nothing more. It reads one `Fetch` or `Remember` from the socket at
descriptor N, answers with `Fetched`, `Remembered` or `Failure`, and ends; it also ends, whatever it is doing, when the
other side closes the socket, and, even where it is stopped, when the daemon ends.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robmon.errors import (
    ModelError,
    ModelNotFoundError,
    ModelRefusedError,
    PredictionError,
    RegistryError,
    RobmonError,
)
from robmon.history.baseline.inheritance import hours_in, inherits_from, spans_a_day
from robmon.history.memory import Entries, from_json, to_json, understood
from robmon.history.shared import remember
from robmon.models.uri import UNKNOWN_VERSION, Endpoint, parse
from robmon.processes.channel import Channel
from robmon.processes.guest import be_expendable
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.every_process import Failure, Hello
from robmon.processes.messages.fetch import (
    BaselineShared,
    Fetch,
    Fetched,
    LogResults,
    Remember,
    Remembered,
    ResultsLogged,
    ShareBaseline,
)
from robmon.processes.messages.model import ModelVersion
from robmon.processes.temporary import temporary_home

if TYPE_CHECKING:
    from robmon.models.registry.registry import Registry
    from robmon.models.registry.resolved import Resolved

_TEMPORARY = "robmon-fetch-"
CURVE_ARTIFACT = "robmon/curve.json"
MAX_TAGS = 32
MAX_TAG_CHARACTERS = 256
_REASONS: tuple[tuple[type[RobmonError], str], ...] = (
    (RegistryError, "registry_unreachable"),
    (ModelNotFoundError, "not_found"),
    (ModelRefusedError, "refused"),
    (ModelError, "unsupported"),
)


def main(fd: int) -> None:
    """Answer one question on the socket at descriptor `fd`."""
    channel = Channel.from_fd(fd)
    be_expendable()
    gc.disable()  # it lives for seconds, and most of what there is to look through are MLflow's modules
    _be_silent()
    channel.send(Hello(pid=os.getpid()))
    try:
        question, _ = channel.receive()
    except EOFError:
        return
    threading.Thread(target=_end_with_peer, args=(fd,), daemon=True).start()
    with temporary_home(_TEMPORARY):
        told = answer(question)
    channel.send(told)


def answer(question: AnyMessage) -> Fetched | Remembered | BaselineShared | ResultsLogged | Failure:
    """Resolve, check and download what is asked for, or write what is to be remembered."""
    if not isinstance(question, Fetch | Remember | ShareBaseline | LogResults):
        return Failure(reason="error", error="ProtocolError")
    try:
        if isinstance(question, ShareBaseline):
            return _share(question)
        if isinstance(question, LogResults):
            return _log(question)
        return _remember(question) if isinstance(question, Remember) else _fetch(question)
    except PredictionError as error:
        return Failure(reason=error.reason, error=type(error).__name__, message=str(error))
    except RobmonError as error:
        reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), "error")
        return Failure(reason=reason, error=type(error).__name__, message=str(error))
    except Exception as error:  # whatever MLflow, its stores or this code did wrong is told, not lost
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where, message = f"{Path(frame.filename).stem}:{frame.lineno}", ""
        if isinstance(error, OSError) and error.errno is not None and error.strerror:
            message = f"{error.strerror} ({type(error).__name__} at {where})"  # without the path, which others name
        return Failure(reason="error", error=type(error).__name__, where=where, message=message)


def _fetch(question: Fetch) -> Fetched:
    uri = parse(question.uri)
    return _look_up(uri, question) if isinstance(uri, Endpoint) else _download(question)


def _look_up(endpoint: Endpoint, question: Fetch) -> Fetched:
    """Which version an endpoint serves: the one that its URL names, or else the highest that its server tells."""
    from robmon.models import remote

    versions = remote.served_versions(endpoint, question.access)
    version = endpoint.version or (versions[-1] if versions else UNKNOWN_VERSION)
    model = ModelVersion(name=endpoint.name, version=version, endpoint=endpoint.text)
    return Fetched(version=version, model=None if version == question.known_version else model)


def _download(question: Fetch) -> Fetched:
    # MLflow reads its variables when it is imported, and takes seconds to import: after `_be_silent` and `Hello`.
    from robmon.models import mlmodel
    from robmon.models.loading import bound_waiting
    from robmon.models.registry.baseline_artifact import read_baseline, read_learnt
    from robmon.models.registry.download import Requirements, check_version, download_version
    from robmon.models.registry.registry import Registry

    bound_waiting()
    source = Registry(question.tracking_uri)
    model = source.resolve(question.uri)
    fetched = Fetched(
        version=model.version,
        model=None,
        memory=model.model_tags.get(question.memory_tag) if question.memory_tag is not None else None,
        aliases=model.aliases,
    )
    if question.memory_tag is not None:
        fetched.run_ids = source.run_ids(model.name, {*question.remembered_versions, *_versions(fetched.memory)})
    if model.version == question.known_version:
        return fetched
    requirements = Requirements(question.allowed_flavors, question.require_tags)
    check_version(source, model, requirements)  # before much is downloaded
    path = download_version(source, model, Path(question.data_dir), question.keep_versions, requirements)
    fetched.model = ModelVersion(
        name=model.name,
        version=model.version,
        run_id=model.run_id,
        path=str(path),
        flavors=list(mlmodel.read(path).flavors),
        tags=told_tags(model.tags or {}),
        commit=source.commit(model.run_id),
        baseline=read_baseline(source, model),
        learnt=read_learnt(source, model),
        learnt_before=_learnt_before(source, model, understood(fetched.memory) or ()),
    )
    return fetched


def told_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """What of a version's tags is kept: the first by name, each cut where it is long."""
    return {name[:MAX_TAG_CHARACTERS]: tags[name][:MAX_TAG_CHARACTERS] for name in sorted(tags)[:MAX_TAGS]}


def _learnt_before(source: Registry, model: Resolved, entries: Entries) -> dict[str, dict[str, Any]]:
    """What was learnt of the versions that this one inherits from, until their hours span a day."""
    from robmon.models.registry.baseline_artifact import read_learnt

    found, hours = dict[str, dict[str, Any]](), set[int]()
    for version in inherits_from(entries, model.version, model.run_id):
        if spans_a_day(hours):
            break
        with contextlib.suppress(ModelNotFoundError):
            learnt = read_learnt(source, source.resolve(model.uri.with_version(version)))
            if learnt is not None:
                found[version] = learnt
                hours |= hours_in(learnt)
    return found


def _share(question: ShareBaseline) -> BaselineShared:
    from robmon.history.baseline.sharing import share
    from robmon.models.loading import bound_waiting
    from robmon.models.registry.baseline_artifact import read_learnt, write_learnt
    from robmon.models.registry.registry import Registry

    bound_waiting()
    source = Registry(question.tracking_uri)
    model = source.resolve(f"models:/{question.name}/{question.version}")
    shared = share(
        lambda: read_learnt(source, model),
        lambda baseline: write_learnt(source, model, baseline),
        question.baseline,
        question.new_hours,
    )
    return BaselineShared(baseline=shared)


def _log(question: LogResults) -> ResultsLogged:
    from robmon.models.loading import bound_waiting
    from robmon.models.registry.registry import Registry

    bound_waiting()
    source = Registry(question.tracking_uri)
    source.log(question.run_id, question.metrics, question.tags)
    source.write_artifact(question.run_id, CURVE_ARTIFACT, question.curve)
    return ResultsLogged()


def _versions(memory: str | None) -> set[str]:
    """The versions that a tag speaks of; none where it cannot be understood, which the daemon tells."""
    return {entry.version for entry in understood(memory) or ()}


def _remember(question: Remember) -> Remembered:
    from robmon.models.loading import bound_waiting
    from robmon.models.registry.registry import Registry

    bound_waiting()
    source = Registry(question.tracking_uri)
    entries = remember(
        lambda: source.read_tag(question.name, question.tag),
        lambda text: source.write_tag(question.name, question.tag, text),
        from_json(question.entries),
        question.without,
    )
    return Remembered(memory=to_json(entries))


def _be_silent() -> None:
    """MLflow reports to nobody, and prints nothing: what is to be told goes through the socket."""
    os.environ.update(
        MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false"
    )
    logging.disable(logging.CRITICAL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


def _end_with_peer(fd: int) -> None:
    """Wait until the other side of the socket is gone, then end at once."""
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)
    poll.poll()
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--fd") + 1]))
