"""What the worker does with one question: decode the sample, plan, assess, compare, learn, measure drift."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError, OverBudgetError
from robmon.history.baseline import Baseline
from robmon.history.verdict import Verdict
from robmon.models.inputs import ModelInputs
from robmon.models.outputs import OutputReader
from robmon.models.predictor import predictor_of
from robmon.models.served import ServedModel
from robmon.processes.channel import Frame
from robmon.processes.messages import Assess, Assessed, DriftValue, LevelResult, NotCompared, Plan, Rejections
from robmon.report.budget import SETTINGS
from robmon.robustness.assessment import assess_rows
from robmon.robustness.baseline_ratio import mean_ratio
from robmon.robustness.engine.plan import plan_assessment
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.extreme_rows import extreme_rows
from robmon.robustness.features.features import Features
from robmon.robustness.noise.by_name import noise_model
from robmon.robustness.result import Assessment
from robmon.robustness.statistics.clusters import cluster_means
from robmon.robustness.worst import worst_rows
from robmon.worker.answers_check import compare_served
from robmon.worker.decoding import DecodedSample, decode_sample, leave_out, use_accepted
from robmon.worker.judging import Reference, judge, keep, reference_of
from robmon.worker.labelled import AgainstLabels, assess_labelled, level_results, slope_results

Float64 = NDArray[np.float64]
INTEGERS_OPTION = "--assess.integers"
MAX_NAME_CHARACTERS = 64
"""Of a feature, in metrics."""


class Phases(dict[str, float]):
    """Seconds spent in each phase."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body under this name."""
        start = time.perf_counter()
        yield
        self[name] = self.get(name, 0.0) + time.perf_counter() - start


def evaluate(
    model: ServedModel, question: Assess, blobs: Sequence[bytes], rejections: Rejections | None = None
) -> Frame:
    """Assess the model on the requests in the blobs; the answer's blob holds the row errors for later comparisons.

    Args:
        model: the loaded version.
        question: what is asked.
        blobs: bodies of the requests, then those of the labelled ones, then what was kept of a reference.
        rejections: takes what of the requests cannot be used, also where no result comes of the others.

    Raises:
        RobmonError: too few rows, over budget, nothing to perturb, a model that raised.
    """
    phases = Phases()
    deadline = time.perf_counter() + question.max_seconds
    rejections = Rejections() if rejections is None else rejections
    with phases("decode"):
        sample = decode_sample(model, question.requests, blobs, question, rejections)
        sample = _without_extreme(model, question, sample)
    return use_accepted(
        model,
        question,
        question.requests,
        sample,
        lambda rest: _evaluate(model, question, blobs, rest, phases, deadline),
        deadline,
    )


def _without_extreme(model: ServedModel, question: Assess, sample: DecodedSample) -> DecodedSample:
    """The sample without rows from which nothing can be learnt; sentinels are those of the baseline, if it has any."""
    inputs = sample.inputs
    known = None if question.baseline is None else Baseline.from_dict(question.baseline)
    is_used = known is not None and (known.counts or _is_continued(known, question))
    codes = known.inputs.sentinels if known is not None and is_used else None
    axis = inputs.axis(question.specification.scale_axis, lambda: model.axes_read(inputs), refuses=False)
    rows = np.flatnonzero(extreme_rows(inputs.array, codes, axis))
    return leave_out(sample, question.requests, rows.tolist(), "extreme_value", question.min_rows)


def _evaluate(
    model: ServedModel,
    question: Assess,
    blobs: Sequence[bytes],
    sample: DecodedSample,
    phases: Phases,
    deadline: float,
) -> Frame:
    if sample.inputs.rows > question.sample_rows:
        sample = sample.take(range(question.sample_rows))
    baseline = _baseline(model, question, sample)
    plan, result, reference = _assess(model, question, blobs, sample, baseline, phases, deadline)
    if baseline.is_of_other_outputs(result.output):
        # It was learnt when these outputs were taken for something else: all of it is learnt anew.
        fresh = question.model_copy(update={"baseline": None})
        return _evaluate(model, fresh, blobs, sample, phases, deadline)
    with phases("labels"):
        against_labels = _against_labels(model, question, blobs, result, baseline, deadline)
    with phases("compare"):
        served = compare_served(question.requests, blobs, sample, result, question.specification.output_column)
        judged = None if reference is None else judge(reference, result, plan.origins)
        kept = keep(result)
    with phases("drift"):
        input_drift, prediction_drift = _drift(baseline, sample.inputs, result, question.max_features)
    levels, margin = _levels(baseline, result), result.noise_margin()
    baseline = _learnt(model, baseline, question, sample, result)
    answer = Assessed(
        number=question.number,
        seed=question.seed,
        plan=plan,
        noise=result.noise,
        level_unit=result.level_unit,
        masked=str(result.masked),
        notes=[*result.notes, *against_labels.notes],
        confidence=result.confidence,
        output=result.output,
        levels=levels,
        slopes=slope_results(result),
        area=result.area,
        index=result.index,
        noise_margin=margin.level if margin is not None else None,
        worst_requests=_worst_requests(result),
        labels=against_labels.result,
        label_problem=against_labels.problem,
        labelled_rows=against_labels.rows,
        unfit_labels=list(against_labels.unfit),
        served=served,
        clean_variance=result.output_variance.tolist(),
        input_drift=input_drift,
        features_watched=baseline.features_watched if input_drift else None,
        prediction_drift=prediction_drift,
        baseline=baseline.to_dict(),
        kept_classes=kept.classes,
        is_reference=kept.is_usable,
        verdict=judged if isinstance(judged, Verdict) else None,
        not_compared=judged if isinstance(judged, NotCompared) else None,
        rejections=sample.rejections,
        nonfinite_rows=np.flatnonzero(~result.finite).tolist(),
        phase_seconds=dict(phases),
    )
    return answer, [kept.blob]


def _assess(
    model: ServedModel,
    question: Assess,
    blobs: Sequence[bytes],
    sample: DecodedSample,
    baseline: Baseline,
    phases: Phases,
    deadline: float,
) -> tuple[Plan, Assessment, Reference | None]:
    """Fix the plan, then run the trials; a comparison follows its reference's plan as far as time allows."""
    followed, specification, is_endpoint = question.plan, question.specification, model.access is not None
    array = model.put(sample.inputs.array)

    read = OutputReader(specification.output_column)
    predictor = predictor_of(model, sample.inputs, read)
    features = _features(followed, baseline, sample.inputs)
    with phases("plan"):
        try:
            planned = plan_assessment(
                predictor,
                array if followed is None else array[: followed.rows],
                specification if followed is None else replace(specification, trials=followed.trials),
                features=features,
                min_rows=question.min_rows,
                max_seconds=question.max_seconds,
                spare_seconds=_label_seconds(question),
                began=deadline - question.max_seconds,
            )
        except OverBudgetError as error:
            raise error.advised(SETTINGS.advice(is_endpoint=is_endpoint)) from None
    origins = sample.origins[: planned.rows]
    comparison = question.comparison
    reference = reference_of(comparison, blobs[-1], planned.rows) if comparison else None
    with phases("assess"):
        result = assess_rows(
            predictor,
            array[: planned.rows],
            planned.of(specification),
            features=features,
            output_names=lambda: read.names,
            seed=question.seed,
            output_variance=baseline.output_variance if baseline.counts else None,
            comparison_variance=np.array(comparison.clean_variance) if comparison else None,
            compare_at=reference.compare_at if reference else "own",
            compare_on=reference.rows if reference else None,
            clusters=origins,
            largest_inputs=sample.inputs.largest,
            names_rows=False,  # the sample's numbers mean nothing; the daemon knows the requests' ids
            notes=(*sample.inputs.told(INTEGERS_OPTION), *sample.inputs.not_watched()),
            tells_values=False,
        )
    model.seen.is_deterministic = result.own_mse == 0.0
    masked = replace(result.masked, not_floating=sample.inputs.not_floating)
    result = replace(result, masked=masked, notes=(*read.notes, *result.notes))
    asked_for = replace(planned, of_rows=sample.inputs.rows, of_trials=specification.trials)
    return (
        Plan(
            rows=planned.rows,
            trials=planned.trials,
            batch_rows=planned.batch_rows,
            seconds=planned.seconds,
            features=features.to_dict(),
            origins=origins,
            cut=SETTINGS.cut(asked_for, question.max_seconds, is_endpoint=is_endpoint),
        ),
        result,
        reference,
    )


def _label_seconds(question: Assess) -> float:
    """The share of the budget that is for the labelled rows."""
    labelled = len(question.labelled) if len(question.labelled) >= question.min_rows else 0
    return question.max_seconds * labelled / (len(question.requests) + labelled)


def _against_labels(
    model: ServedModel,
    question: Assess,
    blobs: Sequence[bytes],
    result: Assessment,
    baseline: Baseline,
    deadline: float,
) -> AgainstLabels:
    """What is left of the budget goes to the labelled rows; nothing where there are none."""
    if not question.labelled:
        return AgainstLabels()
    variance = baseline.output_variance if baseline.counts else None
    return assess_labelled(model, question, blobs, result, variance, max(deadline - time.perf_counter(), 0.0))


def _features(followed: Plan | None, baseline: Baseline, inputs: ModelInputs) -> Features:
    """The baseline's features; those of the plan that is followed, where the inputs have the same ones."""
    features = replace(baseline.features(inputs.array, inputs.whole), names=inputs.column_names)
    if followed is None:
        return features
    theirs = Features.from_dict(followed.features)
    is_same = theirs.scale.shape == features.scale.shape and theirs.names == features.names
    return theirs if is_same else features


def _baseline(model: ServedModel, question: Assess, sample: DecodedSample, lost: Set[int] = frozenset()) -> Baseline:
    """The baseline so far, which takes the inputs that are new to it if it is still learning, but for rows lost."""
    array = sample.inputs.array
    baseline = _baseline_so_far(model, question, sample.inputs)
    if not baseline.counts:
        rows = _new_rows(baseline, question, sample, lost)
        # Sums depend on the order of the memory in their last bit, and a copy has another one.
        baseline.learn_inputs(array if len(rows) == len(array) else array[rows])
    return baseline


def _baseline_so_far(model: ServedModel, question: Assess, inputs: ModelInputs) -> Baseline:
    """The baseline that came with the question, where it is of inputs that are read alike; else one of nothing yet.

    Raises:
        InvalidInputError: nothing decides how the inputs are read; or a recorded baseline is of inputs read otherwise.
    """
    specification, integers = question.specification, list(question.specification.integers)
    known = Baseline.from_dict(question.baseline) if question.baseline is not None else None
    chosen: FeatureAxis | None = None
    if known is None or known.axis is None or specification.scale_axis is not None:
        chosen = inputs.axis(question.specification.scale_axis, lambda: model.axes_read(inputs))
    if known is not None and (known.counts or _is_continued(known, question)):
        if (chosen is None or known.has_axis(chosen, inputs.array.shape)) and known.integers == integers:
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
        chosen or inputs.axis(question.specification.scale_axis, lambda: model.axes_read(inputs)),
        noise.name,
        noise.needs_correlation,
        whole=inputs.whole,
        integers=integers,
    )


def _is_continued(known: Baseline, question: Assess) -> bool:
    """Whether a baseline that is being learnt is of this noise."""
    specification = question.specification
    return (known.levels, known.noise) == (list(specification.levels), specification.noise)


def _new_rows(before: Baseline, question: Assess, sample: DecodedSample, lost: Set[int]) -> list[int]:
    """Rows that are new to the baseline: all to one that has none, else those that no earlier assessment used."""
    is_first = not before.rows
    return [
        row
        for row, origin in enumerate(sample.origins)
        if row not in lost and (is_first or not question.requests[origin].topped_up)
    ]


def _learnt(
    model: ServedModel, baseline: Baseline, question: Assess, sample: DecodedSample, result: Assessment
) -> Baseline:
    """A baseline that is still learning with the results of its new rows, and without those that are not finite."""
    if baseline.counts:
        return baseline
    assessed = len(result.finite)
    lost = set(np.flatnonzero(~result.finite).tolist())
    if lost:
        baseline = _baseline(model, question, sample, lost)
    before = _baseline_so_far(model, question, sample.inputs)
    rows = [row for row in _new_rows(before, question, sample, lost) if row < assessed]
    if rows:
        errors = cluster_means(result.row_errors[rows], result.clusters[rows])
        baseline.learn_results(result.output, result.clean_outputs[rows], errors)
    baseline.settle(question.baseline_min_rows)
    return baseline


def _drift(
    baseline: Baseline, inputs: ModelInputs, result: Assessment, max_features: int
) -> tuple[list[DriftValue], list[DriftValue]]:
    """Drift of inputs and clean outputs; nothing while the baseline is still being learnt."""
    if not baseline.counts:
        return [], []
    psi = baseline.input_psi(inputs.array)
    names = shown_names(inputs.names_by(baseline.axis_of(inputs.array.shape)), len(psi))
    worst = np.argsort(-psi, kind="stable")[:max_features]
    input_drift = [DriftValue(feature=names[index], statistic="psi", value=float(psi[index])) for index in worst]
    input_drift.append(DriftValue(feature="all", statistic="mean_psi", value=float(psi.mean())))
    prediction_drift = baseline.prediction_psi(result.clean_outputs[result.counted])
    return input_drift, [] if prediction_drift is None else [
        DriftValue(feature="all", statistic="mean_psi", value=prediction_drift)
    ]


def shown_names(names: Sequence[str], count: int) -> list[str]:
    """Names of features that are fit for a label: without a signature they are whatever strangers call a column.

    >>> shown_names(["width", "a" * 1000], 2)[1] == "a" * 64
    True
    >>> shown_names(["x\\n", "x\\r"], 2)
    ['0', '1']
    """
    shown = ["".join(c if c.isprintable() else "?" for c in name[:MAX_NAME_CHARACTERS]) for name in names]
    return shown if len(set(shown)) == len(shown) == count else [str(index) for index in range(count)]


def _levels(baseline: Baseline, result: Assessment) -> list[LevelResult]:
    levels = level_results(result)
    ratios = _baseline_ratios(baseline, result)
    for point in levels:
        point.baseline_ratio, point.baseline_ratio_lower = ratios.get(point.level, (None, None))
    return levels


def _worst_requests(result: Assessment) -> list[int]:
    """The requests with the largest errors at the highest level, largest first, by their index in the question."""
    errors, requests = _counted(result, result.row_errors[:, -1:])
    return [int(request) for request in np.unique(requests)[worst_rows(cluster_means(errors, requests)[:, 0])]]


def _counted(result: Assessment, row_values: Float64) -> tuple[Float64, NDArray[np.int64]]:
    """The values of the rows that count, and the requests that these came from."""
    return row_values[result.counted], result.clusters[result.counted]


def _baseline_ratios(baseline: Baseline, result: Assessment) -> dict[float, tuple[float, float]]:
    """Mean MSE over the baseline's and its lower limit, by level; empty while the baseline is being learnt."""
    known = {level: index for index, level in enumerate(baseline.levels)}
    at = [level for level in result.levels if level > 0 and level in known]
    if not baseline.counts or baseline.noise != result.noise or not at:
        return {}
    columns = [known[level] for level in at]
    ratio, lower = mean_ratio(
        cluster_means(*_counted(result, result.row_errors))[:, [result.levels.index(level) for level in at]],
        baseline.errors.mean[columns],
        baseline.errors.variance[columns],
        int(baseline.errors.count.min()),
        result.confidence,
    )
    return {level: (float(ratio[i]), float(lower[i])) for i, level in enumerate(at)}
