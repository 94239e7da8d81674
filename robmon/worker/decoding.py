"""From the raw requests of the sample to rows as the model takes them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from robmon.errors import CodecError, PredictionError, TooFewRowsError
from robmon.inputs.codecs import Row, choose_rows, decode
from robmon.models.collected import Misfits
from robmon.models.inputs import ModelInputs
from robmon.models.outputs import OutputColumn, OutputReader
from robmon.models.predictor import predictor_of
from robmon.models.served import ServedModel
from robmon.processes.messages import Assess, Rejections, SampledRequest

Result = TypeVar("Result")
REFUSALS = frozenset({"model_raised", "endpoint_status"})
"""Reasons of a failed prediction that may lie in a row, not in the model."""


@dataclass(frozen=True)
class DecodedSample:
    """The sample as the model takes it.

    Attributes:
        inputs: n rows.
        origins: for each row the index of the request it came from.
        places: for each row its index within its request, and the number of rows there.
        rejections: what could not be used, as far as it has been found out.
    """

    inputs: ModelInputs
    origins: list[int]
    places: list[tuple[int, int]]
    rejections: Rejections

    def take(self, rows: Sequence[int]) -> DecodedSample:
        """These rows only, in this order."""
        return replace(
            self,
            inputs=self.inputs.take(rows),
            origins=[self.origins[row] for row in rows],
            places=[self.places[row] for row in rows],
        )


def decode_sample(
    model: ServedModel,
    requests: Sequence[SampledRequest],
    blobs: Sequence[bytes],
    question: Assess,
    rejections: Rejections,
) -> DecodedSample:
    """Decode requests, draw the rows, and give them the form that the model takes.

    Args:
        model: what is to take them.
        requests: those of the sample, or those with a label.
        blobs: their bodies, first of all.
        question: how many rows are drawn and needed.
        rejections: takes what cannot be used, now and later.

    Raises:
        TooFewRowsError: too few rows are left.
    """
    rejected: dict[str, dict[str, int]] = {}
    rows: list[Row] = []
    origins: list[int] = []
    places: list[tuple[int, int]] = []

    def reject(index: int, reason: str) -> None:
        counts = rejected.setdefault(requests[index].format, {})
        counts[reason] = counts.get(reason, 0) + 1

    for index, (request, body) in enumerate(zip(requests, blobs, strict=False)):
        try:
            decoded = decode(request.format, request.headers, body)
            drawn = choose_rows(range(len(decoded)), question.rows_per_request, request.seed)
            found = [decoded[place] for place in drawn]
        except CodecError as error:
            reject(index, error.reason)
            continue
        rows += found
        places += [(place, len(decoded)) for place in drawn]
        origins += [index] * len(drawn)
    inputs, kept, misfits = model.collect(rows, question.specification.integers) if rows else (None, [], Misfits({}))
    undecodable = Counter[str]()
    for counts in rejected.values():
        undecodable.update(counts)
    for row in sorted(set(range(len(rows))) - set(kept)):
        reason = misfits.by_row[row].split()[0]
        reject(origins[row], reason if reason == "other_shape" else "does_not_fit_model")
    used = [origins[index] for index in kept]
    _note(rejections, rejected, requests, used)
    if inputs is None or inputs.rows < question.min_rows:
        worst = (undecodable + Counter(misfits)).most_common(3)
        why = ", ".join(f"{reason} ({count})" for reason, count in worst)
        raise TooFewRowsError(len(kept), question.min_rows, why)
    return DecodedSample(inputs, used, [places[index] for index in kept], rejections)


def _note(
    rejections: Rejections, counts: dict[str, dict[str, int]], requests: Sequence[SampledRequest], used: Sequence[int]
) -> None:
    """Note what cannot be used, and of which requests rows are left."""
    rejections.counts = counts
    rejections.unusable = sorted(set(range(len(requests))) - set(used))
    rejections.rows = len(used)


def leave_out(
    sample: DecodedSample, requests: Sequence[SampledRequest], rows: Sequence[int], reason: str, min_rows: int
) -> DecodedSample:
    """The sample without these rows, which are counted under the reason.

    Args:
        sample: of these requests.
        requests: those of the sample, or those with a label.
        rows: indices of rows; where there are none, the sample is returned as it is.
        reason: why they cannot be used.
        min_rows: how many are needed.

    Raises:
        TooFewRowsError: too few rows are left.
    """
    if not rows:
        return sample
    rejected = {name: dict(reasons) for name, reasons in sample.rejections.counts.items()}
    for row in rows:
        counts = rejected.setdefault(requests[sample.origins[row]].format, {})
        counts[reason] = counts.get(reason, 0) + 1
    rest = sample.take(sorted(set(range(sample.inputs.rows)) - set(rows)))
    _note(sample.rejections, rejected, requests, rest.origins)
    if rest.inputs.rows < min_rows:
        raise TooFewRowsError(rest.inputs.rows, min_rows, f"{reason} ({len(rows)})")
    return rest


def use_accepted(
    model: ServedModel,
    question: Assess,
    requests: Sequence[SampledRequest],
    sample: DecodedSample,
    use: Callable[[DecodedSample], Result],
    deadline: float,
) -> Result:
    """Use the sample; where the model raises, without the rows that it refuses even without noise.

    An unknown category or a NaN is everyday traffic: the model's server answers it with an error, and one such request
    must not cost the assessments of an hour. The rows are looked for only then, by halving, until the deadline (by
    `time.perf_counter`).

    Raises:
        TooFewRowsError: too few rows are left.
        PredictionError: the model raises on whatever it is given, or on noisy rows only.
    """
    try:
        return use(sample)
    except PredictionError as error:
        if not _may_lie_in_a_row(error):
            raise
        kept = _accepted(model, sample, question.specification.output_column, deadline)
        if kept is None or len(kept) == sample.inputs.rows:
            raise
    refused = sorted(set(range(sample.inputs.rows)) - set(kept))
    return use(leave_out(sample, requests, refused, "refused_by_model", question.min_rows))


def _may_lie_in_a_row(error: PredictionError) -> bool:
    return error.reason in REFUSALS and not error.is_unavailable


def _accepted(
    model: ServedModel, sample: DecodedSample, output_column: OutputColumn | None, deadline: float
) -> list[int] | None:
    """The rows that the model takes as they are; None where it takes none, or the time is up."""

    def accepted(start: int, stop: int) -> list[int]:
        if time.perf_counter() > deadline:
            raise TimeoutError
        # A single row stands beside itself: what a model says of a batch of 1 is nothing that production asks.
        is_alone = stop - start == 1 and model.max_batch_rows != 1
        rows = sample.inputs.take([start, start] if is_alone else range(start, stop))
        try:
            predictor = predictor_of(model, rows, OutputReader(output_column))
            predictor.predict(model.put(rows.array), slice(0, rows.rows))
        except PredictionError as error:
            if not _may_lie_in_a_row(error):
                raise
            middle = (start + stop) // 2
            return [] if stop - start == 1 else accepted(start, middle) + accepted(middle, stop)
        return list(range(start, stop))

    try:
        return accepted(0, sample.inputs.rows) or None
    except TimeoutError:
        return None
