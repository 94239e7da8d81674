"""A further noise on the rows of an assessment: run last, in the time that is left, and of no weight for what is."""

from __future__ import annotations

from dataclasses import replace

from robmon.errors import InvalidInputError
from robmon.history.baseline.baseline import Baseline
from robmon.processes.messages.curve import FurtherNoise
from robmon.processes.messages.every_process import Rejections
from robmon.robustness.output_kind import given_note
from robmon.robustness.specification import Specification
from robmon.worker.batch import BatchResult, assess_batch
from robmon.worker.context import Evaluation, Phases
from robmon.worker.conversion import level_results, plan_message, slope_results
from robmon.worker.decoding import DecodedSample
from robmon.worker.failing import failure


def run_further(
    evaluation: Evaluation, baseline: Baseline, sample: DecodedSample, batch: BatchResult
) -> FurtherNoise | None:
    """What the further noise that is asked for does to the sample; or why it could not be run.

    Levels count the standard deviations of the baseline, and area and index its variances, as those of the noise
    that was run before. Whatever goes wrong, and model code may raise anything, costs this noise alone.

    Args:
        evaluation: of these rows.
        baseline: which gives the variance of the outputs once it counts.
        sample: the rows.
        batch: what came of them under the noise that decides.

    Returns:
        None where none is asked for.
    """
    specification = evaluation.question.further
    if specification is None:
        return None
    kind = batch.assessment.output
    specification = replace(specification, output=kind)
    alone = replace(evaluation.of_further(specification), phases=Phases())
    if alone.max_seconds <= 0:
        why = "what was measured before has used up all of assess.max_seconds"
        return FurtherNoise(noise=str(specification.noise), reason="over_budget", why=why)
    variance = baseline.output_variance if baseline.is_settled else None
    try:
        _check_whole_numbers(specification, sample)
        found = assess_batch(
            alone, sample, features=batch.features, output_variance=variance, threshold=batch.assessment.decided
        )
    except Exception as error:
        told = failure(error, Rejections())
        what = told.message or f"{told.error}{f' at {told.where}' if told.where else ''}"
        return FurtherNoise(noise=str(specification.noise), reason=told.reason, why=what)
    result, said = found.assessment, batch.assessment.notes
    return FurtherNoise(
        noise=result.noise,
        level_unit=result.level_unit,
        confidence=result.confidence,
        output=result.output,
        distance=result.distance,
        rows=found.plan.rows,
        trials=result.trials,
        levels=level_results(result),
        slopes=slope_results(result),
        area=result.area,
        index=result.index,
        notes=[note for note in result.notes if note not in said and not note.startswith(given_note(kind))],
        cut=plan_message(alone, found).cut,
    )


def _check_whole_numbers(specification: Specification, sample: DecodedSample) -> None:
    """Pixels that the noise before perturbed as such are whole numbers to one that does not act on pictures.

    Raises:
        InvalidInputError: nothing says that they are measurements.
    """
    if sample.inputs.whole is not None and not specification.perturbed_integers:
        raise InvalidInputError(
            f"{specification.noise} leaves whole numbers alone that are not said to be measurements: set "
            "assess.integers"
        )
