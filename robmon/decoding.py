"""From the raw requests of the sample to rows as the model takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robmon.errors import CodecError, PredictionError, RobmonError
from robmon.inputs.codecs import Row, choose_rows, decode
from robmon.messages import Assess
from robmon.models.inputs import ModelInputs
from robmon.models.loading import ServedModel

Rejected = dict[str, dict[str, int]]
"""How many requests, or rows of them, could not be used: by format, then by reason."""


class TooFewRowsError(RobmonError):
    """Too few rows of the sample can be used.

    Attributes:
        rejected: what cannot.
        unusable: indices of the requests of which nothing can.
    """

    def __init__(self, rows: int, needed: int, rejected: Rejected, unusable: list[int], why: str) -> None:
        self.rejected = rejected
        self.unusable = unusable
        super().__init__(f"{rows} of the rows drawn can be used, {needed} are needed{why and f'; refused: {why}'}")


@dataclass(frozen=True)
class DecodedSample:
    """The sample as the model takes it.

    Attributes:
        inputs: n rows.
        origins: for each row the index of the request it came from.
        rejected: what could not be used.
        unusable: indices of the requests of which nothing could be used.
    """

    inputs: ModelInputs
    origins: list[int]
    rejected: Rejected
    unusable: list[int]


def decode_sample(model: ServedModel, question: Assess, blobs: Sequence[bytes]) -> DecodedSample:
    """Decode the requests, draw the rows, and give them the form that the model takes.

    Raises:
        TooFewRowsError: too few rows are left.
    """
    rejected: Rejected = {}
    rows: list[Row] = []
    origins: list[int] = []

    def reject(index: int, reason: str) -> None:
        counts = rejected.setdefault(question.requests[index].format, {})
        counts[reason] = counts.get(reason, 0) + 1

    for index, (request, body) in enumerate(zip(question.requests, blobs, strict=False)):
        try:
            decoded = decode(request.format, request.headers, body)
            drawn = choose_rows(decoded, question.rows_per_request, request.seed)
        except CodecError as error:
            reject(index, error.reason)
            continue
        rows += drawn
        origins += [index] * len(drawn)
    inputs, kept, misfits = model.collect(rows) if rows else (None, [], {})
    undecodable = Counter[str]()
    for counts in rejected.values():
        undecodable.update(counts)
    for row in sorted(set(range(len(rows))) - set(kept)):
        reject(origins[row], "does_not_fit_model")
    used = [origins[index] for index in kept]
    unusable = sorted(set(range(len(question.requests))) - set(used))
    if inputs is None or inputs.rows < question.min_rows:
        worst = (undecodable + Counter(misfits)).most_common(3)
        why = ", ".join(f"{reason} ({count})" for reason, count in worst)
        raise TooFewRowsError(len(kept), question.min_rows, rejected, unusable, why)
    return _without_refused(model, question, DecodedSample(inputs, used, rejected, unusable))


def _without_refused(model: ServedModel, question: Assess, sample: DecodedSample) -> DecodedSample:
    """Without the rows that hold NaN or infinity, where the model refuses those.

    Many models do; their server answers such requests with an error, and one such row must not cost the assessment.
    """
    array = sample.inputs.array
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if finite.all():
        return sample
    try:
        model.predict(sample.inputs.assemble(model.put(array), slice(0, len(array))))
    except PredictionError:
        kept = np.flatnonzero(finite)
        if len(kept) < question.min_rows:
            raise
        origins = [sample.origins[row] for row in kept]
        return DecodedSample(sample.inputs.take(kept), origins, sample.rejected, sample.unusable)
    return sample
