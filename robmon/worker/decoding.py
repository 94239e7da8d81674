"""From the raw requests of the sample to rows as the model takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robmon.errors import CodecError, TooFewRowsError
from robmon.inputs.codecs import Row, choose_rows, decode
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.signature.collected import Misfits
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.question import SampledRequest
from robmon.robustness.arrays import Float64
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.extreme_rows import extreme_rows
from robmon.worker.context import Evaluation


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

    def select(self, rows: Sequence[int]) -> DecodedSample:
        """These rows only, in this order."""
        return replace(
            self,
            inputs=self.inputs.take(rows),
            origins=[self.origins[row] for row in rows],
            places=[self.places[row] for row in rows],
        )


def first_rows(requests: NDArray[np.int64]) -> NDArray[np.intp]:
    """The first row of each request, of rows whose requests these are.

    >>> first_rows(np.array([0, 0, 3, 4, 4])).tolist()
    [0, 2, 3]
    """
    return np.sort(np.unique(requests, return_index=True)[1])


def decode_sample(evaluation: Evaluation) -> DecodedSample:
    """Decode the requests, draw their rows, and give them the form that the model takes.

    Raises:
        TooFewRowsError: too few rows are left.
    """
    question, requests, rejections = evaluation.question, evaluation.question.requests, evaluation.rejections
    rejected: dict[str, dict[str, int]] = {}
    rows: list[Row] = []
    origins: list[int] = []
    places: list[tuple[int, int]] = []

    def reject(index: int, reason: str) -> None:
        counts = rejected.setdefault(requests[index].format, {})
        counts[reason] = counts.get(reason, 0) + 1

    for index, (request, body) in enumerate(zip(requests, evaluation.blobs, strict=False)):
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
    integers = question.specification.perturbed_integers
    inputs, kept, misfits = evaluation.model.collect(rows, integers) if rows else (None, [], Misfits({}))
    undecodable = Counter[str]()
    for counts in rejected.values():
        undecodable.update(counts)
    for row in sorted(set(range(len(rows))) - set(kept)):
        reason = misfits.by_row[row].split()[0]
        reject(origins[row], reason if reason == "other_shape" else "does_not_fit_model")
    used = [origins[index] for index in kept]
    _note(rejections, rejected, requests, used)
    if inputs is None or inputs.rows < evaluation.min_usable_rows:
        worst = (undecodable + Counter(misfits)).most_common(3)
        why = ", ".join(f"{reason} ({count})" for reason, count in worst)
        raise TooFewRowsError(len(kept), evaluation.min_usable_rows, why)
    return DecodedSample(inputs, used, [places[index] for index in kept], rejections)


def _note(
    rejections: Rejections, counts: dict[str, dict[str, int]], requests: Sequence[SampledRequest], used: Sequence[int]
) -> None:
    """Note what cannot be used, and of which requests rows are left."""
    rejections.counts = counts
    rejections.unusable = sorted(set(range(len(requests))) - set(used))
    rejections.rows = len(used)


def without_rows(evaluation: Evaluation, sample: DecodedSample, rows: Sequence[int], reason: str) -> DecodedSample:
    """The sample without these rows, which are counted under the reason; itself where there are none.

    Raises:
        TooFewRowsError: too few rows are left.
    """
    if not rows:
        return sample
    requests = evaluation.question.requests
    rejected = {name: dict(reasons) for name, reasons in sample.rejections.counts.items()}
    for row in rows:
        counts = rejected.setdefault(requests[sample.origins[row]].format, {})
        counts[reason] = counts.get(reason, 0) + 1
    rest = sample.select(sorted(set(range(sample.inputs.rows)) - set(rows)))
    _note(sample.rejections, rejected, requests, rest.origins)
    if rest.inputs.rows < evaluation.min_usable_rows:
        raise TooFewRowsError(rest.inputs.rows, evaluation.min_usable_rows, f"{reason} ({len(rows)})")
    return rest


def without_extreme_rows(
    evaluation: Evaluation, sample: DecodedSample, codes: Float64 | None, axis: FeatureAxis
) -> DecodedSample:
    """The sample without rows from which nothing can be learnt.

    Args:
        evaluation: of these rows.
        sample: of its requests.
        codes: those known for what is missing, one column a feature; None: they are looked for.
        axis: which axis of the inputs counts features.

    Raises:
        TooFewRowsError: too few rows are left.
    """
    rows = np.flatnonzero(extreme_rows(sample.inputs.array, codes, axis))
    return without_rows(evaluation, sample, rows.tolist(), "extreme_value")
