"""Plan and assess the rows of an evaluation: those of the sample, and those that have a label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robmon.errors import OverBudgetError
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.predictor import predictor_of
from robmon.report.budget import SETTINGS
from robmon.robustness.arrays import Array, Float64
from robmon.robustness.assessment import assess_rows
from robmon.robustness.engine.plan import AssessmentPlan, plan_assessment
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.false_matches import Threshold
from robmon.robustness.features.features import Features
from robmon.robustness.features.whole_numbers import Whole
from robmon.robustness.result import Assessment
from robmon.worker.context import Evaluation
from robmon.worker.decoding import DecodedSample
from robmon.worker.judging import Reference, reference_of

INTEGERS_OPTION = "--assess.integers"


class BatchResult(NamedTuple):
    """What came of a batch of rows.

    Attributes:
        plan: what was done, of how many rows and trials.
        origins: for each row that was assessed the index of the request it came from.
        features: what scaled the noise.
        assessment: the result.
        reference: the reference version's part of a comparison, where one is asked for.
        output_names: of the parts of the outputs that stand side by side.
    """

    plan: AssessmentPlan
    origins: list[int]
    features: Features
    assessment: Assessment
    reference: Reference | None
    output_names: tuple[str, ...]

    @property
    def out_of_memory_retries(self) -> int:
        """How often memory ran out, when the plan was made and after."""
        return self.plan.out_of_memory_retries + self.assessment.out_of_memory_retries


def assess_batch(
    evaluation: Evaluation,
    sample: DecodedSample,
    targets: NDArray[Any] | None = None,
    *,
    features: Features,
    output_variance: Float64 | None,
    threshold: Threshold | None = None,
) -> BatchResult:
    """Fix the plan, then run the trials; a comparison follows its reference's plan as far as time allows.

    Args:
        evaluation: what is asked, and the time.
        sample: rows of its requests.
        targets: true outputs of the rows, shape `(rows, outputs)`, or `(rows,)`; None: the model's own are the
            reference. Against targets no version is compared, and what there is to say of inputs and outputs alone is
            not said again.
        features: what scales the noise.
        output_variance: what normalises area and index; None: the variance of these outputs.
        threshold: the baseline's, of embeddings; None: that of these rows, where the owner has set none.

    Raises:
        OverBudgetError: not even the smallest assessment fits into the time.
        RobmonError: nothing to perturb, a model that raised.
    """
    model, question = evaluation.model, evaluation.question
    inputs, is_of_sample = sample.inputs, targets is None
    array = model.put(inputs.array)
    read = OutputReader(question.specification.output_column)
    predictor = predictor_of(model, inputs, read)
    with evaluation.phases("plan"):
        plan = _plan(evaluation, predictor, array, features, inputs.whole)
    origins = sample.origins[: plan.rows]
    comparison = question.comparison
    reference = reference_of(comparison, evaluation.blobs[-1], plan.rows) if comparison else None
    with evaluation.phases("assess"):
        result = assess_rows(
            predictor,
            array[: plan.rows],
            plan.of(question.specification),
            targets=None if targets is None else targets[: plan.rows],
            whole=inputs.whole,
            features=features,
            output_names=lambda: read.names,
            seed=question.seed,
            output_variance=output_variance,
            comparison_variance=np.array(comparison.clean_variance) if comparison else None,
            threshold=threshold,
            compare_at=reference.compare_at if reference else "own" if is_of_sample else None,
            compare_on=reference.rows if reference else None,
            clusters=origins,
            draws_as=comparison.draws if comparison else None,
            keeps_trials=question.detection is not None and is_of_sample,
            has_own_batches=not is_of_sample or question.specification.max_batch_rows is not None,
            largest_inputs=inputs.largest,
            names_rows=False,  # the sample's numbers mean nothing; the daemon knows the requests' ids
            notes=(*inputs.notes(INTEGERS_OPTION), *model.notes) if is_of_sample else (),
            tells_values=False,
        )
    masked = replace(result.masked, not_floating=inputs.not_floating)
    notes = (*read.notes, *result.notes) if is_of_sample else result.notes
    result = replace(result, masked=masked, notes=notes)
    return BatchResult(plan, origins, features, result, reference, read.part_names)


def _plan(
    evaluation: Evaluation, predictor: Predictor, array: Array, features: Features, whole: Whole | None
) -> AssessmentPlan:
    """What fits into the time, of the rows and trials of the plan that is followed, if any; told of all of them."""
    question, specification = evaluation.question, evaluation.question.specification
    followed = question.plan
    try:
        plan = plan_assessment(
            predictor,
            array if followed is None else array[: followed.rows],
            specification if followed is None else replace(specification, trials=followed.trials),
            features=features,
            whole=whole,
            min_rows=question.min_rows,
            max_seconds=evaluation.max_seconds,
            spare_seconds=evaluation.label_seconds + evaluation.attribution_seconds,
            began=evaluation.began,
        )
    except OverBudgetError as error:
        raise error.advised(SETTINGS.advice(is_endpoint=evaluation.is_endpoint)) from None
    return replace(plan, of_rows=int(array.shape[0]), of_trials=specification.trials)
