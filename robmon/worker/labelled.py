"""The model against its labels: an assessment of the rows that have one, in what is left of the time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from robmon.errors import RobmonError, TooFewRowsError
from robmon.processes.messages.curve import LabelResult
from robmon.robustness.arrays import Float64
from robmon.robustness.result import Assessment
from robmon.worker.batch import assess_batch
from robmon.worker.context import Evaluation
from robmon.worker.conversion import label_result
from robmon.worker.decoding import DecodedSample, decode_sample, without_extreme_rows
from robmon.worker.refused_rows import retry_without_refused_rows
from robmon.worker.targets import fitting_targets


@dataclass(frozen=True)
class AgainstLabels:
    """What came of the labels: a result, or why there is none, and the rows whose label fits the model."""

    rows: int = 0
    result: LabelResult | None = None
    problem: str = ""
    unfit: tuple[int, ...] = ()
    """Indices of the labelled requests whose label fits none of their rows."""
    notes: tuple[str, ...] = ()
    """What was left out of the result, in sentences."""
    out_of_memory_retries: int = 0
    """How often memory ran out, and batches were halved."""


def assess_labelled(evaluation: Evaluation, unlabelled: Assessment, output_variance: Float64 | None) -> AgainstLabels:
    """Assess the rows that have a label against it, in the time that is left, as the others were assessed.

    Whatever is wrong with labels costs this result only.

    Args:
        evaluation: of the labelled requests (`Evaluation.of_labels`).
        unlabelled: the assessment against the model's own outputs.
        output_variance: what normalises area and index, as there.
    """
    question, features = evaluation.question, unlabelled.features
    against = AgainstLabels()

    def assess(sample: DecodedSample) -> AgainstLabels:
        nonlocal against
        own = unlabelled.clean_outputs[unlabelled.counted]
        kept, targets = fitting_targets(question.requests, sample, own, unlabelled.output)
        unfit = set(sample.origins) - {sample.origins[row] for row in kept}
        against = AgainstLabels(len(kept), unfit=tuple(sorted(unfit)))
        if len(kept) < question.min_rows:
            problem = f"{len(kept)} labels fit the model, {question.min_rows} are needed"
            return replace(against, problem=problem)
        rows = sample.select(kept)
        batch = assess_batch(evaluation, rows, targets, features=features, output_variance=output_variance)
        notes = tuple(f"against labels, {note}" for note in batch.assessment.notes)
        retries = batch.out_of_memory_retries
        return replace(against, result=label_result(batch), notes=notes, out_of_memory_retries=retries)

    try:
        sample = decode_sample(evaluation)
        codes = features.sentinels.reshape(len(features.sentinels), features.axis.columns(sample.inputs.array.shape))
        sample = without_extreme_rows(evaluation, sample, codes, features.axis)
        return retry_without_refused_rows(evaluation, sample, assess)
    except TooFewRowsError as error:
        return replace(against, rows=0, problem=f"no row with a label can be used{error.why and f': {error.why}'}")
    except RobmonError as error:
        return replace(against, problem=str(error))
