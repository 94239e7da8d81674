"""The numbers of a bundle computed again: its versions fetched, loaded and asked as the daemon did, one by one.

It is the daemon's own worker that computes them, in a process of its own with as many threads. Loading a model runs its
code: this is crash isolation, not a security boundary.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from robmon.errors import InvalidInputError, ModelError, RobmonError
from robmon.incident.numbers import numbers_of
from robmon.incident.replay import Replay, Step
from robmon.models.access import EndpointAccess
from robmon.processes.command import Command, fetch_environment, worker_environment
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.every_process import Failure
from robmon.processes.messages.fetch import Fetch, Fetched
from robmon.processes.messages.model import Load, LoadedModel, ModelVersion
from robmon.processes.messages.question import Assess
from robmon.processes.supervisor import Child

TIMEOUT_SECONDS: Final = 86_400.0


@dataclass(frozen=True)
class Place:
    """Where it is computed again.

    Attributes:
        folder: into which the versions are fetched.
        tracking_uri: of the registry that has them; None: as MLflow finds it.
        python: the interpreter that loads them.
        allowed_flavors: none but models of these are loaded; empty: all.
        access: how a model at an endpoint is asked.
        tell: told in words how far it is.
    """

    folder: Path
    tracking_uri: str | None = None
    python: str = sys.executable
    allowed_flavors: Sequence[str] = ()
    access: EndpointAccess = field(default_factory=EndpointAccess)
    tell: Callable[[str], None] = lambda sentence: None


@dataclass(frozen=True)
class Again:
    """One assessment made again.

    Attributes:
        version: of the model.
        recorded: its numbers as the bundle has them.
        numbers: as they came now.
        loaded: what computed them.
    """

    version: str
    recorded: dict[str, Any]
    numbers: dict[str, Any]
    loaded: LoadedModel


async def compute_again(replay: Replay, bodies: Sequence[bytes], place: Place) -> list[Again]:
    """Every assessment of the bundle: that of the reference first, by what it leaves for the comparison with it.

    Raises:
        RobmonError: a version cannot be had or loaded, or the assessment not be made.
    """
    found: list[Again] = []
    before: tuple[Assessed, bytes] | None = None
    for step in replay.steps:
        model = await _fetch(step, place)
        place.tell(f"assessing version {model.version} of {model.name}")
        question, blobs = step.question, list(bodies)
        if question.comparison is not None:
            if before is None:
                raise InvalidInputError("this bundle lacks the assessment of the version that it was compared with")
            question, blobs = _against(question, before[0]), [*blobs, before[1]]
        loaded, result, blob = await _ask(step.load.model_copy(update={"model": model}), question, blobs, place)
        numbers = numbers_of(result, hashlib.sha256(blob).hexdigest())
        found.append(Again(model.version, step.numbers, json.loads(json.dumps(numbers)), loaded))
        before = result, blob
    return found


def _against(question: Assess, reference: Assessed) -> Assess:
    """The question, of which all that speaks of the reference comes from the assessment just made."""
    terms = question.comparison
    if terms is None:
        return question
    made = {
        "output": reference.output,
        "clean_variance": reference.clean_variance,
        "nonfinite_rows": reference.nonfinite_rows,
        "classes": reference.kept_classes,
        "curves": dict(reference.kept_curves),
    }
    return question.model_copy(update={"comparison": terms.model_copy(update=made)})


async def _fetch(step: Step, place: Place) -> ModelVersion:
    place.tell(f"fetching {step.uri}")
    question = Fetch(
        uri=step.uri,
        tracking_uri=place.tracking_uri,
        data_dir=str(place.folder),
        allowed_flavors=list(place.allowed_flavors),
        access=place.access,
    )
    child = await Child.start(Command(sys.executable, "robmon.fetch", fetch_environment()))
    try:
        answer, _ = await child.ask(question, timeout_seconds=TIMEOUT_SECONDS)
    finally:
        await child.kill("crash")
    if not isinstance(answer, Fetched) or answer.model is None:
        raise ModelError(_failure_text(answer))
    if step.run_id is not None and answer.model.run_id != step.run_id:
        raise ModelError(
            f"{step.uri} is another model by now: it was made by run {answer.model.run_id}, and that of the bundle by "
            f"run {step.run_id}"
        )
    return answer.model


async def _ask(
    load: Load, question: Assess, blobs: Sequence[bytes], place: Place
) -> tuple[LoadedModel, Assessed, bytes]:
    question_of_load = load.model_copy(update={"access": place.access})
    child = await Child.start(Command(place.python, "robmon.worker", worker_environment(load.threads)))
    try:
        loaded, _ = await child.ask(question_of_load, timeout_seconds=TIMEOUT_SECONDS)
        if not isinstance(loaded, LoadedModel):
            raise ModelError(_failure_text(loaded))
        result, kept = await child.ask(question, blobs, timeout_seconds=TIMEOUT_SECONDS)
    finally:
        await child.stop()
    if not isinstance(result, Assessed) or len(kept) != 1:
        raise _FailedError(_failure_text(result))
    return loaded, result, kept[0]


class _FailedError(RobmonError):
    """The assessment could not be made again."""


def _failure_text(answer: AnyMessage) -> str:
    if not isinstance(answer, Failure):
        return "the process gave no answer that fits"
    return answer.message or " at ".join(filter(None, (answer.error, answer.where))) or answer.reason
