"""What the worker does with one question: decode the sample, plan, assess, compare, learn, measure drift."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robmon.history.baseline.baseline import Baseline
from robmon.history.baseline.format import baseline_to_dict
from robmon.history.verdict import Verdict
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.served.served import ServedModel
from robmon.processes.channel import Frame
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.comparison import NotCompared
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.question import Assess, Plan
from robmon.robustness.features.features import Features
from robmon.worker.answers_check import compare_served
from robmon.worker.attribution import is_to_attribute, share_out
from robmon.worker.batch import assess_batch
from robmon.worker.canary import run_canary
from robmon.worker.context import Evaluation
from robmon.worker.conversion import crossing_results, level_results, plan_message, slope_results, worst_requests
from robmon.worker.decoding import DecodedSample
from robmon.worker.detection import detect
from robmon.worker.digest import sample_sha256
from robmon.worker.drifting import input_drift, prediction_drift
from robmon.worker.further import run_further
from robmon.worker.judged_curves import kept_curves
from robmon.worker.judging import judge, keep
from robmon.worker.labelled import AgainstLabels, assess_labelled
from robmon.worker.learning import features_of, learn_inputs, learn_results, usable_sample
from robmon.worker.novelty import find_unusual
from robmon.worker.refused_rows import retry_without_refused_rows


def evaluate(
    model: ServedModel,
    question: Assess,
    blobs: Sequence[bytes],
    rejections: Rejections | None = None,
    began: float | None = None,
) -> Frame:
    """Assess the model on the requests in the blobs; the answer's blob holds the row errors for later comparisons.

    Args:
        model: the loaded version.
        question: what is asked.
        blobs: bodies of the requests, then those of the labelled ones, then what was kept of a reference.
        rejections: takes what of the requests cannot be used, also where no result comes of the others.
        began: when the time for it began to run, by `time.perf_counter`; None: now.

    Raises:
        RobmonError: too few rows, over budget, nothing to perturb, a model that raised.
    """
    evaluation = Evaluation(
        model,
        question,
        blobs,
        began=time.perf_counter() if began is None else began,
        max_seconds=question.max_seconds,
        min_usable_rows=question.min_rows,
        rejections=Rejections() if rejections is None else rejections,
    )
    with evaluation.phases("decode"):
        sample = usable_sample(evaluation)
    return retry_without_refused_rows(evaluation, sample, lambda rows: _answer(evaluation, rows))


def _answer(evaluation: Evaluation, sample: DecodedSample) -> Frame:
    """All that is measured on the rows of the sample, as it is sent."""
    question, phases = evaluation.question, evaluation.phases
    if sample.inputs.rows > question.sample_rows:
        sample = sample.select(range(question.sample_rows))
    baseline = learn_inputs(evaluation, sample)
    variance = baseline.output_variance if baseline.is_settled else None
    features = _features(question.plan, baseline, sample.inputs)
    evaluation = replace(evaluation, attributes=is_to_attribute(evaluation, baseline))
    with phases("drift"):  # before the trials, which are planned for the time that it leaves
        inputs = input_drift(baseline, question, sample)
    threshold = baseline.threshold(question.specification)
    batch = assess_batch(evaluation, sample, features=features, output_variance=variance, threshold=threshold)
    result, plan = batch.assessment, plan_message(evaluation, batch)
    evaluation.model.seen.is_deterministic = result.own_mse == 0.0
    if batch.out_of_memory_retries:
        evaluation.model.seen.memory_ran_out(result.batch_rows)
    if baseline.is_of_other_outputs(result.output, result.distance):
        # It was learnt when these outputs were taken for something else: all of it is learnt anew.
        fresh = question.model_copy(update={"baseline": None})
        return _answer(replace(evaluation, question=fresh), sample)
    against_labels = AgainstLabels()
    with phases("labels"):
        if question.labelled:
            against_labels = assess_labelled(evaluation.of_labels(result.output), result, variance)
    with phases("compare"):
        output_column = question.specification.output_column
        served = compare_served(question.requests, evaluation.blobs, sample, result, output_column)
        judged = None if batch.reference is None else judge(batch.reference, result, batch.origins, batch.output_names)
        kept = keep(result)
    with phases("drift"):
        predictions = prediction_drift(baseline, question, result)
        unusual = find_unusual(baseline, question, sample)
    detection = detect(question, baseline, result, batch.origins)
    levels, margin = level_results(result, baseline), result.noise_margin()
    baseline = learn_results(evaluation, baseline, sample, result)
    baseline.hourly = detection.baseline_hours or baseline.hourly
    with phases("attribute"):
        is_worse = isinstance(judged, Verdict) and judged.worse
        shares = share_out(evaluation, baseline, sample, batch, is_worse)
    with phases("canary"):
        canary = run_canary(evaluation, baseline, sample.inputs, result)
    with phases("further"):
        further = run_further(evaluation, baseline, sample, batch)
    answer = Assessed(
        number=question.number,
        seed=question.seed,
        plan=plan,
        noise=result.noise,
        level_unit=result.level_unit,
        masked=str(result.masked),
        notes=[*result.notes, *inputs.notes, *against_labels.notes],
        confidence=result.confidence,
        output=result.output,
        distance=result.distance,
        threshold=result.threshold,
        levels=levels,
        slopes=slope_results(result),
        area=result.area,
        index=result.index,
        noise_margin=margin.level if margin is not None else None,
        crossings=crossing_results(result, "mse", "agreement"),
        worst_requests=worst_requests(result),
        labels=against_labels.result,
        label_problem=against_labels.problem,
        labelled_rows=against_labels.rows,
        unfit_labels=list(against_labels.unfit),
        served=served,
        shares=shares,
        canary=canary,
        further=further,
        detection=detection.found,
        detection_hours=detection.hours,
        new_hours=detection.new_hours,
        clean_variance=result.output_variance.tolist(),
        output_names=list(batch.output_names),
        input_drift=list(inputs.values),
        input_quality=list(inputs.quality),
        drifted_features=inputs.drifted,
        features_watched=inputs.watched,
        prediction_drift=list(predictions),
        novelty=unusual,
        baseline=baseline_to_dict(baseline),
        kept_classes=kept.classes,
        kept_curves=kept_curves(result),
        is_reference=kept.is_usable,
        verdict=judged if isinstance(judged, Verdict) else None,
        not_compared=judged if isinstance(judged, NotCompared) else None,
        sample_sha256=sample_sha256(sample.inputs, plan.rows),
        rejections=sample.rejections,
        nonfinite_rows=np.flatnonzero(~result.finite).tolist(),
        phase_seconds=dict(phases),
        batch_rows=result.batch_rows,
        out_of_memory_retries=batch.out_of_memory_retries + against_labels.out_of_memory_retries,
        draws=result.draws,
    )
    return answer, [kept.blob]


def _features(followed: Plan | None, baseline: Baseline, inputs: ModelInputs) -> Features:
    """The baseline's features; those of the plan that is followed, where the inputs have the same ones."""
    features = features_of(baseline, inputs)
    if followed is None:
        return features
    theirs = Features.from_dict(followed.features)
    is_same = theirs.scale.shape == features.scale.shape and theirs.names == features.names
    return theirs if is_same else features
