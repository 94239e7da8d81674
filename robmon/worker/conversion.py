"""Results of the numerics as they are sent to the daemon: plan, levels, slopes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robmon.history.baseline.baseline import Baseline
from robmon.processes.messages.curve import LabelResult, LevelResult, LimitCrossing, SlopeResult
from robmon.processes.messages.question import Plan
from robmon.report.budget import SETTINGS
from robmon.robustness.arrays import Float64
from robmon.robustness.baseline_ratio import mean_ratio
from robmon.robustness.curve import Score
from robmon.robustness.result import Assessment
from robmon.robustness.statistics.clusters import cluster_means
from robmon.robustness.worst import worst_rows
from robmon.worker.batch import BatchResult
from robmon.worker.context import Evaluation


def plan_message(evaluation: Evaluation, batch: BatchResult) -> Plan:
    """The plan of a batch, as another version can follow it."""
    plan = batch.plan
    return Plan(
        rows=plan.rows,
        trials=plan.trials,
        batch_rows=plan.batch_rows,
        seconds=plan.seconds,
        features=batch.features.to_dict(),
        origins=batch.origins,
        cut=SETTINGS.cut(plan, evaluation.max_seconds, is_endpoint=evaluation.is_endpoint),
    )


def level_results(result: Assessment, baseline: Baseline | None = None) -> list[LevelResult]:
    """The points of a curve, with their ratios to the baseline's where there is one that has settled."""
    ratios = {} if baseline is None else _baseline_ratios(baseline, result)
    stderrs = {} if baseline is None else _baseline_stderrs(baseline)
    levels = []
    for point in result.curve:
        ratio, lower = ratios.get(point.level, (None, None))
        levels.append(
            LevelResult(
                level=point.level,
                mean_mse=point.mean_mse,
                bound=point.bound,
                request_bound=point.request_bound,
                agreement=point.agreement,
                realised_level=point.realised_level,
                nonfinite_outputs=point.nonfinite_outputs,
                baseline_ratio=ratio,
                baseline_ratio_lower=lower,
                baseline_stderr=None if ratio is None else stderrs.get(point.level),
                beyond_threshold=point.beyond_threshold,
                triplet_flips=point.triplet_flips,
                self_nearest=point.self_nearest,
                median_move=None if point.move_quantiles is None else float(point.move_quantiles[0]),
            )
        )
    return levels


def _baseline_ratios(baseline: Baseline, result: Assessment) -> dict[float, tuple[float, float]]:
    """Mean MSE over the baseline's and its lower limit, by level; empty while the baseline is being learnt."""
    known = {level: index for index, level in enumerate(baseline.levels)}
    at = [level for level in result.levels if level > 0 and level in known]
    if not baseline.is_settled or baseline.noise != result.noise or not at:
        return {}
    columns = [known[level] for level in at]
    errors, requests = _counted(result, result.row_errors)
    ratio, lower = mean_ratio(
        cluster_means(errors, requests)[:, [result.levels.index(level) for level in at]],
        baseline.errors.mean[columns],
        baseline.errors.variance[columns],
        int(baseline.errors.count.min()),
        result.confidence,
    )
    return {level: (float(ratio[i]), float(lower[i])) for i, level in enumerate(at)}


def _baseline_stderrs(baseline: Baseline) -> dict[float, float]:
    """Standard error of the baseline's mean MSE over its rows, as a share of it, by level; where it is not 0."""
    errors = baseline.errors
    return {
        level: math.sqrt(variance / max(count - 1.0, 1.0)) / mean
        for level, mean, variance, count in zip(
            baseline.levels, errors.mean.tolist(), errors.variance.tolist(), errors.count.tolist(), strict=True
        )
        if mean > 0
    }


def slope_results(result: Assessment) -> dict[str, SlopeResult]:
    """The slopes there are, by score."""
    slopes = (result.slope, result.agreement_slope, result.accuracy_slope)
    return {slope.score: SlopeResult(value=slope.value, lack_of_fit=slope.lack_of_fit) for slope in slopes if slope}


def crossing_results(result: Assessment, *scores: Score) -> list[LimitCrossing]:
    """Where these scores cross the owner's limits, of those that have one."""
    return [
        LimitCrossing(
            score=each.score, limit=each.limit, level=each.level, low=each.low, high=each.high, text=str(each)
        )
        for each in result.crossings
        if each.score in scores
    ]


def label_result(batch: BatchResult) -> LabelResult:
    """What came of rows that have a label."""
    result = batch.assessment
    return LabelResult(
        rows=result.rows,
        trials=batch.plan.trials,
        levels=level_results(result),
        area=result.area,
        index=result.index,
        clean_mse=result.clean_mse,
        accuracy_slope=slope_results(result).get("accuracy"),
        crossings=crossing_results(result, "accuracy"),
    )


def worst_requests(result: Assessment) -> list[int]:
    """The requests with the largest errors at the highest level, largest first, by their index in the question."""
    errors, requests = _counted(result, result.row_errors[:, -1:])
    return [int(request) for request in np.unique(requests)[worst_rows(cluster_means(errors, requests)[:, 0])]]


def _counted(result: Assessment, row_values: Float64) -> tuple[Float64, NDArray[np.int64]]:
    """The values of the rows that count, and the requests that these came from."""
    return row_values[result.counted], result.clusters[result.counted]
