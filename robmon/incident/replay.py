"""The part of a bundle that holds inputs: the sample and what was asked about it, so that it can be asked again.

It is what the worker was sent, so that the numbers come out of the same code; labels and served answers are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from robmon.errors import InvalidInputError
from robmon.processes.messages.model import Load
from robmon.processes.messages.question import Assess, Plan

REPLAY_FILE: Final = "replay.json"
ID_HEADERS: Final = {"x-request-id", "ce-id", "x-amzn-sagemaker-inference-id", "traceparent"}
"""They name a request elsewhere, as in the clients' own logs."""
PATIENT_SECONDS: Final = 86_400.0
"""The time budget when it is made again: what is to be done is known."""


class Step(BaseModel):
    """One assessment, as it can be made again."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    uri: str
    """URI of the very version."""
    run_id: str | None
    load: Load
    question: Assess
    numbers: dict[str, Any]
    """What came of it, see `numbers.numbers_of`."""


class Replay(BaseModel):
    """The reference's assessment where there is one, then that of the version."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    steps: list[Step]
    requests: int


@dataclass(frozen=True)
class Sample:
    """The requests' bodies, in their order."""

    bodies: Sequence[bytes]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """As they lie in the bundle."""
        for index, body in enumerate(self.bodies):
            yield f"requests/{index:06d}", body


def to_ask_again(question: Assess, plan: Plan) -> Assess:
    """The question, of which nothing is left to chance, time or memory: what was planned is done.

    Labels, answers, ids in headers, further noises and the detector over time are left out: they change none of the
    numbers.
    """
    specification = replace(question.specification, max_batch_rows=plan.batch_rows)
    requests = [
        request.model_copy(update={"answer": None, "target": None, "hour": None, "headers": _to_read(request.headers)})
        for request in question.requests
    ]
    return question.model_copy(
        update={
            "requests": requests,
            "labelled": [],
            "detection": None,
            "attribution": None,
            "further": None,
            "specification": specification,
            "max_seconds": PATIENT_SECONDS,
            "plan": plan,
        }
    )


def _to_read(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers by which a body is read."""
    return {name: value for name, value in headers.items() if name not in ID_HEADERS}


def files_of(replay: Replay, sample: Sample) -> dict[str, bytes]:
    """What a bundle that holds inputs has besides."""
    return {REPLAY_FILE: replay.model_dump_json().encode(), **dict(sample.files())}


def read_replay(files: Mapping[str, bytes]) -> tuple[Replay, list[bytes]]:
    """Inverse of `files_of`.

    Raises:
        InvalidInputError: it holds no inputs, or is damaged, or of another robmon.
    """
    if REPLAY_FILE not in files:
        raise InvalidInputError(
            "this bundle holds no inputs, without which nothing can be computed again: get one that does from the "
            "running robmon, with robmon incident --with-inputs"
        )
    try:
        replay = Replay.model_validate_json(files[REPLAY_FILE])
        bodies = [files[f"requests/{index:06d}"] for index in range(replay.requests)]
    except (ValidationError, KeyError):
        raise InvalidInputError(
            "the sample in this bundle cannot be read: the bundle is damaged, or of another version of robmon"
        ) from None
    return replay, bodies
