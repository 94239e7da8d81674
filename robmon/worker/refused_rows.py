"""Rows that the model refuses even without noise: found by halving, and left out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from robmon.errors import PredictionError
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.predictor import predictor_of
from robmon.robustness.engine.device_memory import release_memory
from robmon.worker.context import Evaluation
from robmon.worker.decoding import DecodedSample, without_rows

Result = TypeVar("Result")
REFUSALS = frozenset({"model_raised", "endpoint_status"})
"""Reasons of a failed prediction that may lie in a row, not in the model."""


def retry_without_refused_rows(
    evaluation: Evaluation, sample: DecodedSample, use: Callable[[DecodedSample], Result]
) -> Result:
    """Use the sample; where the model raises, without the rows that it refuses even without noise.

    An unknown category or a NaN is everyday traffic: the model's server answers it with an error, and one such request
    must not cost the assessments of an hour. The rows are looked for only then, by halving, until the deadline.

    Raises:
        TooFewRowsError: too few rows are left.
        PredictionError: the model raises on whatever it is given, or on noisy rows only.
    """
    try:
        return use(sample)
    except PredictionError as error:
        if not _may_lie_in_a_row(error):
            raise
        accepted = _accepted_rows(evaluation, sample)
        if accepted is None or len(accepted) == sample.inputs.rows:
            raise
    refused = sorted(set(range(sample.inputs.rows)) - set(accepted))
    return use(without_rows(evaluation, sample, refused, "refused_by_model"))


def _may_lie_in_a_row(error: PredictionError) -> bool:
    return error.reason in REFUSALS and not error.is_unavailable


def _accepted_rows(evaluation: Evaluation, sample: DecodedSample) -> list[int] | None:
    """The rows that the model takes as they are; None where it takes none, or the time is up."""
    model, output_column = evaluation.model, evaluation.question.specification.output_column

    def accepted(start: int, stop: int) -> list[int]:
        if time.perf_counter() > evaluation.deadline:
            raise TimeoutError
        # A single row stands beside itself: what a model says of a batch of 1 is nothing that production asks.
        is_alone = stop - start == 1 and model.max_batch_rows != 1
        rows = sample.inputs.take([start, start] if is_alone else range(start, stop))
        try:
            predictor = predictor_of(model, rows, OutputReader(output_column))
            predictor.predict(model.put(rows.array), slice(0, rows.rows))
        except PredictionError as error:
            is_row, is_full = stop - start == 1, error.reason == "out_of_memory"
            if is_full and not is_row:
                release_memory(error)  # fewer rows may find room
            elif not _may_lie_in_a_row(error):
                raise
            middle = (start + stop) // 2
            return [] if is_row else accepted(start, middle) + accepted(middle, stop)
        return list(range(start, stop))

    try:
        return accepted(0, sample.inputs.rows) or None
    except TimeoutError:
        return None
