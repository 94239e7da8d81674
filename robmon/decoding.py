"""From the raw requests of the sample to rows as the model takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robmon.errors import CodecError, PredictionError, RobmonError
from robmon.inputs.codecs import Row, choose_rows, decode
from robmon.messages import Assess, SampledRequest
from robmon.models.inputs import ModelInputs
from robmon.models.loading import ServedModel

Rejected = dict[str, dict[str, int]]
"""How many requests, or rows of them, could not be used: by format, then by reason."""


class TooFewRowsError(RobmonError):
    """Too few rows of the sample can be used.

    Attributes:
        rows: how many can.
        rejected: what cannot.
        unusable: indices of the requests of which nothing can.
    """

    def __init__(self, rows: int, needed: int, rejected: Rejected, unusable: list[int], why: str) -> None:
        self.rows = rows
        self.rejected = rejected
        self.unusable = unusable
        super().__init__(f"{rows} of the rows drawn can be used, {needed} are needed{why and f'; refused: {why}'}")


@dataclass(frozen=True)
class DecodedSample:
    """The sample as the model takes it.

    Attributes:
        inputs: n rows.
        origins: for each row the index of the request it came from.
        places: for each row its index within its request, and the number of rows there.
        rejected: what could not be used.
        unusable: indices of the requests of which nothing could be used.
    """

    inputs: ModelInputs
    origins: list[int]
    places: list[tuple[int, int]]
    rejected: Rejected
    unusable: list[int]

    def take(self, rows: Sequence[int]) -> DecodedSample:
        """These rows only, in this order."""
        return replace(
            self,
            inputs=self.inputs.take(rows),
            origins=[self.origins[row] for row in rows],
            places=[self.places[row] for row in rows],
        )


def decode_sample(
    model: ServedModel, requests: Sequence[SampledRequest], blobs: Sequence[bytes], question: Assess
) -> DecodedSample:
    """Decode requests, draw the rows, and give them the form that the model takes.

    Args:
        model: what is to take them.
        requests: those of the sample, or those with a label.
        blobs: their bodies, first of all.
        question: how many rows are drawn and needed.

    Raises:
        TooFewRowsError: too few rows are left.
    """
    rejected: Rejected = {}
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
    inputs, kept, misfits = model.collect(rows) if rows else (None, [], {})
    undecodable = Counter[str]()
    for counts in rejected.values():
        undecodable.update(counts)
    for row in sorted(set(range(len(rows))) - set(kept)):
        reject(origins[row], "does_not_fit_model")
    used = [origins[index] for index in kept]
    unusable = sorted(set(range(len(requests))) - set(used))
    if inputs is None or inputs.rows < question.min_rows:
        worst = (undecodable + Counter(misfits)).most_common(3)
        why = ", ".join(f"{reason} ({count})" for reason, count in worst)
        raise TooFewRowsError(len(kept), question.min_rows, rejected, unusable, why)
    return _without_refused(
        model, question, DecodedSample(inputs, used, [places[index] for index in kept], rejected, unusable)
    )


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
        kept = np.flatnonzero(finite).tolist()
        if len(kept) < question.min_rows:
            raise
        return sample.take(kept)
    return sample
