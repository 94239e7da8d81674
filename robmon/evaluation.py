"""What the worker does with one question: decode the sample, plan, assess, compare, learn, measure drift."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import CodecError, PredictionError, RobmonError
from robmon.history.baseline import Baseline
from robmon.inputs.codecs import Row, choose_rows, decode
from robmon.messages import Assess, Assessed, Comparison, FeatureDrift, Frame, LevelResult, Plan, Verdict
from robmon.models.inputs import ModelInputs
from robmon.models.loading import ServedModel
from robmon.robustness.assessment import Assessment, assess_rows
from robmon.robustness.clusters import cluster_means
from robmon.robustness.comparison import comparable, compare_rows, mean_ratio
from robmon.robustness.plan import plan_assessment

Float64 = NDArray[np.float64]
ROW_ERRORS_DTYPE = "<f8"


class Phases(dict[str, float]):
    """Seconds spent in each phase."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body under this name."""
        start = time.perf_counter()
        yield
        self[name] = self.get(name, 0.0) + time.perf_counter() - start


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


def evaluate(model: ServedModel, question: Assess, blobs: Sequence[bytes]) -> Frame:
    """Assess the model on the requests in the blobs; the answer's blob holds the row errors for later comparisons.

    Raises:
        RobmonError: too few rows, over budget, nothing to perturb, a model that raised.
    """
    phases = Phases()
    with phases("decode"):
        sample = _without_refused(model, question, decode_sample(model, question, blobs))
    baseline = _baseline(question, sample)
    plan, result = _assess(model, question, sample, baseline, phases)
    with phases("compare"):
        verdict = _verdict(question.comparison, blobs[-1], result, plan.origins) if question.comparison else None
    with phases("drift"):
        input_drift, prediction_drift = _drift(baseline, sample.inputs, result, question.max_features)
    levels = _levels(baseline, result, plan.origins)
    _learn(baseline, question, sample.inputs, result, plan.origins)
    answer = Assessed(
        number=question.number,
        seed=question.seed,
        plan=plan,
        reference=result.reference,
        noise=result.noise,
        confidence=result.confidence,
        output=result.output,
        levels=levels,
        slope=result.slope.value if result.slope else None,
        slope_stderr=result.slope.stderr if result.slope else None,
        slope_lack_of_fit=result.slope.lack_of_fit if result.slope else None,
        agreement_slope=result.agreement_slope.value if result.agreement_slope else None,
        area=result.area,
        index=result.index,
        noise_margin=result.noise_margin(),
        clean_mse=result.clean_mse,
        clean_variance=result.output_variance.tolist(),
        input_drift=input_drift,
        prediction_drift=prediction_drift,
        baseline=baseline.to_dict(),
        verdict=verdict,
        rejected=sample.rejected,
        unusable=sample.unusable,
        phase_seconds=dict(phases),
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    errors = cluster_means(result.normalised_row_errors, plan.origins)
    return answer, [errors.astype(ROW_ERRORS_DTYPE).tobytes()]


def _assess(
    model: ServedModel, question: Assess, sample: DecodedSample, baseline: Baseline, phases: Phases
) -> tuple[Plan, Assessment]:
    """Fix the plan, then run the trials; a comparison follows its reference's plan as far as time allows."""
    followed = question.plan
    array = model.put(sample.inputs.array)

    def predict(x: Any, rows: slice) -> Any:
        return model.predict(sample.inputs.assemble(x, rows))

    with phases("plan"):
        planned = plan_assessment(
            predict,
            array if followed is None else array[: followed.rows],
            levels=question.levels,
            trials=question.trials if followed is None else followed.trials,
            confidence=question.confidence,
            min_rows=question.min_rows,
            max_seconds=question.max_seconds,
        )
    scale = baseline.scale(sample.inputs.array)
    if followed is not None and len(followed.scale) == scale.size:
        scale = np.array(followed.scale).reshape(scale.shape)
    origins = sample.origins[: planned.rows]
    with phases("assess"):
        result = assess_rows(
            predict,
            array[: planned.rows],
            noise=question.noise,
            levels=question.levels,
            scale=scale,
            trials=planned.trials,
            confidence=question.confidence,
            task=question.task,
            output=question.output,
            seed=question.seed,
            batch_rows=planned.batch_rows,
            output_variance=baseline.output_variance if baseline.counts else None,
            comparison_variance=_reference_variance(question.comparison, predict(array[:1], slice(0, 1))),
            mse_limit=question.mse_limit,
            clusters=origins,
        )
    return Plan(**vars(planned), scale=result.scale.ravel().tolist(), origins=origins), result


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
            decoded = decode(request.format, request.content_type, body)
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
    return DecodedSample(inputs, used, rejected, unusable)


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


def _baseline(question: Assess, sample: DecodedSample) -> Baseline:
    """The baseline so far, which takes the inputs that are new to it if it is still learning."""
    array = sample.inputs.array
    known = Baseline.from_dict(question.baseline) if question.baseline is not None else None
    if known is not None and (known.counts or known.levels == question.levels):
        baseline = known
        new = array[_fresh(question, sample.origins)]
    else:
        baseline = Baseline.empty(question.levels, array)
        new = array
    if not baseline.counts:
        baseline.learn_inputs(new)
    return baseline


def _fresh(question: Assess, origins: Sequence[int]) -> list[int]:
    """Rows that no earlier assessment used."""
    return [row for row, origin in enumerate(origins) if not question.requests[origin].topped_up]


def _learn(baseline: Baseline, question: Assess, sample: ModelInputs, result: Assessment, origins: list[int]) -> None:
    """Let a baseline that is still learning take the results of its new inputs."""
    if baseline.counts:
        return
    is_first = baseline.rows == sample.rows
    rows = list(range(result.rows)) if is_first else _fresh(question, origins)
    if rows:
        errors = cluster_means(result.row_errors[rows], [origins[row] for row in rows])
        baseline.learn_results(result.output, result.clean_outputs[rows], errors)
    baseline.settle(question.baseline_min_rows)


def _reference_variance(comparison: Comparison | None, one_output: Any) -> Float64 | None:
    """The reference version's clean variances, where this version has as many outputs (or labels)."""
    if comparison is None:
        return None
    variance = np.array(comparison.clean_variance)
    is_label = comparison.output == "label"
    return variance if is_label or variance.size == int(np.prod(one_output.shape[1:])) else None


def _verdict(
    comparison: Comparison, reference_errors: bytes, result: Assessment, origins: Sequence[int]
) -> Verdict | None:
    """The versions compared request by request; None where their outputs or inputs are not comparable."""
    count = len(origins)
    if result.comparison_row_errors is None or result.output != comparison.output:
        return None
    if list(origins) != comparison.origins[:count]:
        return None
    if not comparable(np.array(comparison.clean_variance), _units(comparison, result), result.output):
        return None
    b = cluster_means(result.comparison_row_errors, origins)
    a = np.frombuffer(reference_errors, ROW_ERRORS_DTYPE).reshape(-1, b.shape[1])[: len(b)]
    noisy = [index for index, level in enumerate(result.levels) if level > 0]
    if not np.isfinite(a[:, noisy]).any():
        return None
    compared = compare_rows(
        a[:, noisy],
        b[:, noisy],
        levels=[result.levels[index] for index in noisy],
        alpha=comparison.alpha,
        tolerance=comparison.tolerance,
    )
    return Verdict(
        reference_version=comparison.version,
        worse=compared.worse,
        pvalue=compared.pvalue,
        levels=compared.levels.tolist(),
        ratio=compared.ratio.tolist(),
        detectable_ratio=compared.detectable_ratio,
    )


def _units(comparison: Comparison, result: Assessment) -> Float64:
    """The clean variances by which units are told; an output that is never finite is broken, not in other units."""
    if result.output == "label":
        return result.clean_variance
    is_known = np.isfinite(result.clean_outputs).any(axis=0)
    return np.where(is_known, result.clean_variance, np.array(comparison.clean_variance))


def _drift(
    baseline: Baseline, inputs: ModelInputs, result: Assessment, max_features: int
) -> tuple[list[FeatureDrift], list[FeatureDrift]]:
    """Drift of inputs and clean outputs; nothing while the baseline is still being learnt."""
    if not baseline.counts:
        return [], []
    psi = baseline.input_psi(inputs.array)
    names = inputs.feature_names if len(inputs.feature_names) == len(psi) else [str(i) for i in range(len(psi))]
    worst = np.argsort(-psi, kind="stable")[:max_features]
    input_drift = [FeatureDrift(feature=names[index], statistic="psi", value=float(psi[index])) for index in worst]
    input_drift.append(FeatureDrift(feature="all", statistic="mean_psi", value=float(psi.mean())))
    prediction_drift = baseline.prediction_psi(result.clean_outputs)
    return input_drift, [] if prediction_drift is None else [
        FeatureDrift(feature="all", statistic="mean_psi", value=prediction_drift)
    ]


def _levels(baseline: Baseline, result: Assessment, origins: Sequence[int]) -> list[LevelResult]:
    ratios = _baseline_ratios(baseline, result, origins)
    return [
        LevelResult(
            level=point.level,
            mean_mse=point.mean_mse,
            bound=point.bound,
            request_bound=point.request_bound,
            agreement=point.agreement,
            nonfinite_outputs=point.nonfinite_outputs,
            baseline_ratio=ratios.get(point.level, (None, None))[0],
            baseline_ratio_lower=ratios.get(point.level, (None, None))[1],
        )
        for point in result.curve
    ]


def _baseline_ratios(
    baseline: Baseline, result: Assessment, origins: Sequence[int]
) -> dict[float, tuple[float, float]]:
    """Mean MSE over the baseline's and its lower limit, by level; empty while the baseline is being learnt."""
    known = {level: index for index, level in enumerate(baseline.levels)}
    at = [level for level in result.levels if level > 0 and level in known]
    if not baseline.counts or not at:
        return {}
    columns = [known[level] for level in at]
    ratio, lower = mean_ratio(
        cluster_means(result.row_errors, origins)[:, [result.levels.index(level) for level in at]],
        baseline.errors.mean[columns],
        baseline.errors.variance[columns],
        int(baseline.errors.count.min()),
        result.confidence,
    )
    return {level: (float(ratio[i]), float(lower[i])) for i, level in enumerate(at)}
