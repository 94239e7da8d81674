"""Both versions' curves beside each other, in units in which one over the other is what the verdict says."""

from __future__ import annotations

import math

import numpy as np

from robmon.history.verdict import JudgedCurves
from robmon.processes.messages.comparison import ComparisonTerms, KeptCurve
from robmon.robustness.arrays import Float64
from robmon.robustness.comparison import Comparison
from robmon.robustness.outputs import mean_weights, normalising_weights
from robmon.robustness.result import Assessment
from robmon.robustness.statistics.bounds import upper_bound
from robmon.vocabulary import COMPARISON_SCORES, ComparisonScore


def kept_curves(result: Assessment) -> dict[ComparisonScore, KeptCurve]:
    """The curve of an assessment in the units of each verdict that another version may get against it."""
    found = {score: _curve(result, score) for score in COMPARISON_SCORES}
    return {score: curve for score, curve in found.items() if curve is not None}


def judged_curves(
    comparison: ComparisonTerms, result: Assessment, compared: Comparison, old: Float64, new: Float64
) -> JudgedCurves | None:
    """Both curves on the rows of the verdict.

    Args:
        comparison: with the reference.
        result: of the version that is judged.
        compared: the comparison of both.
        old, new: shape `(requests, levels)`, errors of the reference and of this version at the levels above 0, as the
            verdict counts them.

    Returns:
        None where nothing of the reference's curve was kept.
    """
    kept, own = comparison.curves.get(compared.score), _curve(result, compared.score)
    if kept is None or own is None or len(kept.mean) != len(result.levels):
        return None
    is_whole = result.clusters.size == len(comparison.origins)
    unit = _output_unit(comparison) if compared.score == "mse" else None
    factor = 1.0 if unit is None else unit
    reference_mean, mean = (
        [(curve.mean[0] if level == 0 else next(by_level)) * factor for level in result.levels]
        for curve, by_level in ((kept, iter(_means(old))), (own, iter(_means(new))))
    )
    return JudgedCurves(
        space="verdict" if unit is None else "output",
        noise=result.noise,
        confidence=result.confidence,
        levels=list(result.levels),
        reference_mean=reference_mean,
        reference_bound=[bound * factor for bound in kept.bound] if is_whole and kept.bound else None,
        mean=mean,
        bound=[math.inf if math.isinf(at) else bound * factor for bound, at in zip(own.bound, mean, strict=True)]
        if own.bound
        else None,
    )


def _means(errors: Float64) -> list[float]:
    return [float(mean) for mean in errors.mean(axis=0)]


def _curve(result: Assessment, score: ComparisonScore) -> KeptCurve | None:
    trials = None if result.judged_trials is None else result.judged_trials.by_score(score)
    if trials is None:
        return None
    bounds = None
    if result.no_bound is None:
        bounds = [upper_bound(each, result.confidence, result.bound_method) for each in trials.T]
    return KeptCurve(mean=[float(mean) for mean in trials.mean(axis=0)], bound=bounds)


def _output_unit(comparison: ComparisonTerms) -> float | None:
    """How many squared output units are one unit of the verdict; None where that is another number by output."""
    variance = np.asarray(comparison.clean_variance)
    weights = normalising_weights(variance, "value")
    units = mean_weights(variance[None]) / np.where(weights > 0, weights, math.nan)
    return float(units[0]) if np.allclose(units, units[0], rtol=1e-9) else None
