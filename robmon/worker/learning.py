"""What the baseline learns of one evaluation, and the baseline so far."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np

from robmon.errors import InvalidInputError
from robmon.history.baseline.baseline import Baseline
from robmon.history.baseline.format import baseline_from_dict
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.served.watched import watched
from robmon.processes.messages.question import Assess
from robmon.robustness.arrays import Float64
from robmon.robustness.false_matches import pairs_of
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.features import Features
from robmon.robustness.noise.by_name import noise_model
from robmon.robustness.result import Assessment
from robmon.robustness.statistics.clusters import cluster_means
from robmon.worker.context import Evaluation
from robmon.worker.decoding import DecodedSample, decode_sample, first_rows, without_extreme_rows


def usable_sample(evaluation: Evaluation) -> DecodedSample:
    """The sample, decoded, but for rows that are extreme beside the others and no code for what is missing.

    Raises:
        TooFewRowsError: too few rows are left.
    """
    sample = decode_sample(evaluation)
    axis = feature_axis(evaluation, sample.inputs, refuses=False)
    return without_extreme_rows(evaluation, sample, _known_codes(evaluation.question), axis)


def _known_codes(question: Assess) -> Float64 | None:
    """Codes for what is missing that the baseline has seen, one column a feature; None where there is no baseline."""
    known = None if question.baseline is None else baseline_from_dict(question.baseline)
    return known.inputs.sentinels if known is not None and _is_usable(known, question) else None


def feature_axis(evaluation: Evaluation, inputs: ModelInputs, refuses: bool = True) -> FeatureAxis:
    """Which axis of the inputs counts features: the one that is set, else what the model says.

    Raises:
        InvalidInputError: nothing decides, and that is refused.
    """
    model, setting = evaluation.model, evaluation.question.specification.feature_axis
    return inputs.axis(setting, lambda: model.axes_read(inputs), refuses=refuses)


def learn_inputs(evaluation: Evaluation, sample: DecodedSample, lost: Set[int] = frozenset()) -> Baseline:
    """Give the baseline so far the inputs that are new to it, if it is still learning, but for rows lost."""
    array = sample.inputs.array
    baseline = _baseline_so_far(evaluation, sample.inputs)
    if not baseline.is_settled:
        rows = _new_rows(baseline, evaluation.question, sample, lost)
        # Sums depend on the order of the memory in their last bit, and a copy has another one.
        inputs = sample.inputs if len(rows) == len(array) else sample.inputs.take(rows)
        alone = first_rows(np.array(sample.origins)[rows])
        baseline.learn_inputs(inputs.array, watched(inputs, baseline.axis_of(array.shape), baseline.salt), alone)
    return baseline


def learn_results(evaluation: Evaluation, baseline: Baseline, sample: DecodedSample, result: Assessment) -> Baseline:
    """Give a baseline that is still learning the results of its new rows, without those that are not finite."""
    if baseline.is_settled:
        return baseline
    question, assessed = evaluation.question, len(result.finite)
    lost = set(np.flatnonzero(~result.finite).tolist())
    if lost:
        baseline = learn_inputs(evaluation, sample, lost)
    before = _baseline_so_far(evaluation, sample.inputs)
    rows = [row for row in _new_rows(before, question, sample, lost) if row < assessed]
    if rows:
        errors = cluster_means(result.row_errors[rows], result.clusters[rows])
        baseline.learn_results(result.output, result.clean_outputs[rows], errors)
        if result.distance is not None:
            array, every = sample.inputs.array[rows], np.ones(len(rows), dtype=np.bool_)
            baseline.learn_pairs(pairs_of(array, result.clean_outputs[rows], every, result.distance), result.distance)
    baseline.settle(question.baseline_min_rows)
    return baseline


def features_of(baseline: Baseline, inputs: ModelInputs) -> Features:
    """The baseline's features, by which the inputs are perturbed.

    Raises:
        InvalidInputError: the inputs have others.
    """
    return replace(baseline.features(inputs.array, inputs.whole), names=inputs.column_names)


def _baseline_so_far(evaluation: Evaluation, inputs: ModelInputs) -> Baseline:
    """The baseline that came with the question, where it is of inputs that are read alike; else one of nothing yet.

    Raises:
        InvalidInputError: nothing decides how the inputs are read; or a recorded baseline is of inputs read otherwise.
    """
    question, specification = evaluation.question, evaluation.question.specification
    integers = list(specification.perturbed_integers)
    known = baseline_from_dict(question.baseline) if question.baseline is not None else None
    axis: FeatureAxis | None = None
    if known is None or known.axis is None or specification.feature_axis is not None:
        axis = feature_axis(evaluation, inputs)
    if known is not None and question.hashes_names and known.keeps_names:
        if known.source in ("artifact", "local"):
            raise InvalidInputError(
                "the recorded baseline holds names of categories, and baseline.hash_names says that none is kept: "
                "record a new baseline with --hash-names"
            )
        known = None
    if known is not None and _is_usable(known, question):
        if (axis is None or known.has_axis(axis, inputs.array.shape)) and known.integers == integers:
            return known
        if known.source in ("artifact", "local"):
            raise InvalidInputError(
                "the baseline was recorded with other settings of assess.scale_axis or assess.integers, or before "
                "there were any: record a new baseline, or set them as they were"
            )
    noise = noise_model(specification.noise)
    return Baseline.empty(
        list(specification.levels),
        inputs.array,
        axis or feature_axis(evaluation, inputs),
        noise.name,
        noise.needs_correlation,
        whole=inputs.whole,
        integers=integers,
        hashes_names=question.hashes_names,
    )


def _is_usable(known: Baseline, question: Assess) -> bool:
    """Whether a baseline is settled, or one that is being learnt is of this noise."""
    specification = question.specification
    return known.is_settled or (known.levels, known.noise) == (list(specification.levels), specification.noise)


def _new_rows(before: Baseline, question: Assess, sample: DecodedSample, lost: Set[int]) -> list[int]:
    """Rows that are new to the baseline: all to one that has none, else those that no earlier assessment used."""
    is_first = not before.rows
    return [
        row
        for row, origin in enumerate(sample.origins)
        if row not in lost and (is_first or not question.requests[origin].topped_up)
    ]
