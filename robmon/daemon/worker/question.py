"""What the worker is asked: to load a version, and to assess requests of the sample, as messages and blobs. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from robmon.daemon.memory.detection import Asked
from robmon.daemon.results.kept import Kept
from robmon.inputs.sample import Item
from robmon.processes.messages.model import Load, ModelVersion
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.settings import Settings


def load_question(settings: Settings, model: ModelVersion, enough_bytes: int | None = None) -> Load:
    """What a worker is told to load; and with how much of a device's memory it was assessed before, if it was."""
    shape = settings.model.input_shape
    return Load(
        model=model.model_copy(update={"baseline": None, "tags": {}}),
        access=settings.model.access,
        device=settings.device.use,
        enough_bytes=enough_bytes,
        threads=settings.device.threads,
        input_dtype=settings.model.input_dtype,
        input_shape=list(shape) if shape is not None else None,
        integers=list(settings.specification.perturbed_integers),
    )


def assessment_question(
    settings: Settings,
    items: Sequence[Item],
    *,
    number: int,
    seed: int,
    baseline: dict[str, Any] | None,
    has_answer: Callable[[Item], bool],
    labelled: Sequence[Item] = (),
    asked: Asked | None = None,
) -> tuple[Assess, list[bytes]]:
    """The question, and its blobs: bodies of the requests and of the labelled ones, then answers.

    Args:
        settings: how to assess.
        items: requests of the sample.
        number: of the assessment.
        seed: of its noise.
        baseline: of the version, where there is one.
        has_answer: whether what was served for that request is to be compared.
        labelled: requests whose label is known.
        asked: a step of the detector over time, where it makes one.
    """
    blobs = [item.body for item in (*items, *labelled)]
    requests = [_request(item) for item in items]
    for request, item in zip(requests, items, strict=True):
        if item.feedback.answer is not None and has_answer(item):
            request.answer = len(blobs)
            blobs.append(item.feedback.answer)
    for request, hour in zip(requests, asked.fresh.hours if asked is not None else (), strict=False):
        request.hour = hour
    question = Assess(
        number=number,
        seed=seed,
        requests=requests,
        labelled=[_request(item) for item in labelled],
        rows_per_request=settings.inputs.rows_per_request,
        sample_rows=settings.inputs.sample_rows,
        specification=settings.specification,
        min_rows=settings.assess.min_rows,
        max_seconds=settings.assess.max_seconds,
        max_features=settings.drift.max_features,
        drift_q=settings.drift.q,
        novelty_alpha=settings.detect.novelty_alpha,
        baseline=baseline,
        baseline_min_rows=settings.baseline.min_rows,
        hashes_names=settings.baseline.hash_names,
        detection=asked.question if asked is not None else None,
    )
    return question, blobs


def comparison_question(
    settings: Settings,
    kept: Kept,
    *,
    number: int,
    baseline: dict[str, Any] | None,
    has_answer: Callable[[Item], bool],
) -> tuple[Assess, list[bytes]]:
    """The question to assess on the rows and the seed of what is kept, and to compare with it; the last blob is it."""
    question, blobs = assessment_question(
        settings, kept.items, number=number, seed=kept.seed, baseline=baseline, has_answer=has_answer
    )
    comparison = kept.comparison(settings.compare.alpha, settings.compare.tolerance)
    return question.model_copy(update={"plan": kept.plan, "comparison": comparison}), [*blobs, kept.blob]


def assessment_seed(name: str, version: str, number: int) -> int:
    """The seed of one assessment: another for each, and the same for the same.

    One fixed seed would make the bound right or wrong together all month.
    """
    return int.from_bytes(hashlib.blake2b(f"{name}/{version}/{number}".encode(), digest_size=8).digest()) >> 1


def _request(item: Item) -> SampledRequest:
    target = item.feedback.target
    return SampledRequest(
        format=item.format,
        headers=dict(item.headers),
        seed=item.seed,
        topped_up=item.topped_up,
        target=target.decode() if target is not None else None,
    )
