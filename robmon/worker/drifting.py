"""Drift of the sample, and of the clean outputs, from the baseline's, as it is sent to the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robmon.drift.comparison import FeatureDrift
from robmon.drift.summaries import Summaries
from robmon.drift.two_sample import mean_excess
from robmon.history.baseline.baseline import Baseline
from robmon.models.served.watched import not_watched, watched
from robmon.processes.messages.findings import DriftValue, QualityValue
from robmon.processes.messages.question import Assess
from robmon.robustness.result import Assessment
from robmon.worker.decoding import DecodedSample, first_rows

STATISTICS = ("psi", "js", "ks", "wasserstein")
PROBLEMS = ("missing", "unseen", "out_of_range", "infinite", "type_changed")
NAMES_TOLD = 10


@dataclass(frozen=True)
class InputDrift:
    """Drift of the inputs of one sample.

    Attributes:
        values: statistics of the features that drifted most, and the mean index of all.
        quality: shares of their rows that are missing, unseen, out of range, infinite, of another type.
        drifted, watched: how many features have drifted, and of how many that is said; None while the baseline is being
            learnt.
        notes: sentences on what is not measured.
    """

    values: tuple[DriftValue, ...] = ()
    quality: tuple[QualityValue, ...] = ()
    drifted: int | None = None
    watched: int | None = None
    notes: tuple[str, ...] = ()


def input_drift(baseline: Baseline, question: Assess, sample: DecodedSample) -> InputDrift:
    """Drift of the whole sample, fresh rows and older ones, one row a request: several of one are alike.

    A feature that is drifted for an hour has to be counted in each assessment of that hour, so rows are compared as
    often as they are in the sample: nothing adds up over time here, as the detector of regressions does.
    """
    axis = baseline.axis_of(sample.inputs.array.shape)
    told = _not_measured(baseline, not_watched(sample.inputs, axis))
    if not baseline.is_settled:
        return InputDrift(notes=told)
    inputs = sample.inputs.take(first_rows(np.array(sample.origins)))
    features = baseline.input_drift(watched(inputs, axis, baseline.salt), question.drift_q)
    is_tested = any(feature.pvalue is not None for feature in features)
    return InputDrift(
        values=_statistics(features, question.max_features),
        quality=_quality(features, question.max_features),
        drifted=sum(feature.drifted for feature in features) if is_tested else None,
        watched=sum(feature.psi is not None for feature in features),
        notes=told,
    )


def prediction_drift(baseline: Baseline, question: Assess, result: Assessment) -> tuple[DriftValue, ...]:
    """Drift of the clean outputs of the rows assessed, likewise; nothing while the baseline is being learnt."""
    if not baseline.is_settled:
        return ()
    counted = np.flatnonzero(result.counted)[first_rows(result.clusters[result.counted])]
    outputs = baseline.prediction_drift(result.clean_outputs[counted], question.drift_q)
    return _statistics(outputs, question.max_features)


def _statistics(features: Sequence[FeatureDrift], most: int) -> tuple[DriftValue, ...]:
    """Of the features with the largest effect, those that count as drifted before the others."""
    found = [feature for feature in features if feature.psi is not None]
    found.sort(key=lambda feature: (feature.drifted, feature.js or 0.0, feature.psi or 0.0), reverse=True)
    values = [
        DriftValue(feature=feature.name, statistic=statistic, value=value)
        for feature in found[:most]
        for statistic in STATISTICS
        if (value := getattr(feature, statistic)) is not None
    ]
    mean = mean_excess(features)
    return (*values, *([] if mean is None else [DriftValue(feature="all", statistic="psi", value=mean)]))


def _quality(features: Sequence[FeatureDrift], most: int) -> tuple[QualityValue, ...]:
    """Quality of the features with the largest rise of any share."""
    rise = {feature.name: max((feature.rise(problem) for problem in PROBLEMS), default=0.0) for feature in features}
    worst = sorted(features, key=lambda feature: rise[feature.name], reverse=True)[:most]
    return tuple(
        QualityValue(feature=feature.name, problem=problem, ratio=feature.shares[problem])
        for feature in worst
        for problem in PROBLEMS
        if problem in feature.shares
    )


def _not_measured(baseline: Baseline, beyond: int) -> tuple[str, ...]:
    seen = baseline.inputs_seen
    reasons = seen.reasons if isinstance(seen, Summaries) else {}
    told = [f"{name} ({reason})" for name, reason in reasons.items()]
    rest = max(len(told) - NAMES_TOLD, 0) + beyond
    more = [f"{rest} more"] if rest else []
    listed = " and ".join(filter(None, (", ".join(told[:NAMES_TOLD]), *more)))
    return (f"drift is not measured of: {listed}",) if listed else ()
