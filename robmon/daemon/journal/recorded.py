"""What is kept of one good assessment, as the row that `robmon history` and `robmon report` read: no I/O, no input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final

from robmon.daemon.results.publication import Finding, finite, summary
from robmon.history.detection import Detection
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.curve import FurtherNoise, LevelResult, LimitCrossing
from robmon.processes.messages.findings import CanaryResult, DriftValue, QualityValue, SharesResult
from robmon.processes.messages.model import ModelVersion

DIGITS: Final = 6
"""Of a measurement: more are noise, and cost room."""
DRIFT_DIGITS: Final = 3
MOST_FEATURES: Final = 5
"""Whose drift is kept: so that two assessments fit into a page of 4 KiB, and 90 days of them, one a minute, into
256 MiB."""


def assessment_row(
    model: ModelVersion, finding: Finding, at: float, *, specification: str, threshold: float
) -> dict[str, Any]:
    """The row: what the log says of it, and the whole curve, drift and timings.

    Args:
        model: the version assessed.
        finding: what came of it.
        at: Unix time.
        specification: digest of the settings under which versions are judged.
        threshold: of the evidence over time.
    """
    result = finding.result
    row = {
        "at": round(at, 3),
        **_rounded(summary(model, finding)),
        "run_id": model.run_id,
        "specification": specification,
        "noise": result.noise,
        "level_unit": result.level_unit,
        "output": result.output,
        "confidence": result.confidence,
        "levels": [_level(point) for point in result.levels],
        "slopes": {score: _number(slope.value) for score, slope in result.slopes.items()},
        "area": _number(result.area),
        "noise_margin": _number(result.noise_margin),
        "crossings": _crossings(result),
        "drift": _drift(result.input_drift),
        "drift_rows": result.plan.rows,
        "drifted_features": result.drifted_features,
        "features_watched": result.features_watched,
        "quality": _quality(result.input_quality),
        "prediction_drift": _drift(result.prediction_drift),
        **_over_time(result.detection, threshold),
        **_canary(result.canary),
        **_attribution(result.shares),
        **_further(result.further),
        "phases": {phase: round(seconds, 3) for phase, seconds in result.phase_seconds.items() if seconds >= 0.001},
    }
    return {name: value for name, value in row.items() if value not in (None, [])}


def _crossings(result: Assessed) -> list[dict[str, Any]]:
    """At which level each score crosses the owner's limit of it; what is not there is beyond the levels."""
    of_labels = [] if result.labels is None else result.labels.crossings
    return [_crossing(each) for each in (*result.crossings, *of_labels)]


def _crossing(crossed: LimitCrossing) -> dict[str, Any]:
    at = {"level": crossed.level, "low": crossed.low, "high": crossed.high}
    known = {name: _number(value) for name, value in at.items() if value is not None}
    return {"score": crossed.score, "limit": crossed.limit, **known}


def _over_time(detection: Detection | None, threshold: float) -> dict[str, Any]:
    """What the detector over time says, where it counts."""
    if detection is None or detection.basis is None:
        return {}
    return {
        "evidence": _number(detection.evidence),
        "evidence_threshold": _number(threshold),
        "evidence_requests": detection.requests,
        "basis": detection.basis,
        "standing": detection.is_standing,
        "detectable_ratio": _number(detection.detectable_ratio),
    }


def _canary(canary: CanaryResult | None) -> dict[str, Any]:
    """What of the synthetic canary has changed, where it was run."""
    return {} if canary is None or canary.ratio is None else {"canary_ratio": _number(canary.ratio)}


def _further(further: FurtherNoise | None) -> dict[str, Any]:
    """The curve under a further noise, where one had its turn; or why it has none."""
    if further is None:
        return {}
    if not further.levels:
        return {"further": {"noise": further.noise, "reason": further.reason, "why": further.why}}
    told = {
        "noise": further.noise,
        "level_unit": further.level_unit,
        "rows": further.rows,
        "trials": further.trials,
        "levels": [_level(point) for point in further.levels],
        "slopes": {score: _number(slope.value) for score, slope in further.slopes.items()},
        "area": _number(further.area),
        "index": _number(further.index),
    }
    return {"further": {name: value for name, value in told.items() if value not in (None, {})}}


def _attribution(shares: SharesResult | None) -> dict[str, Any]:
    """Which groups of features carry the noise error, and its rise, where that was measured."""
    if shares is None or not shares.groups:
        return {}
    rise, rise_stderr = shares.rise_share or [], shares.rise_stderr or []
    groups = zip_longest(shares.groups, shares.share, shares.stderr, rise, rise_stderr)
    names = ("group", "share", "stderr", "rise_share", "rise_stderr")
    numbers = ((group, *(_number(value, DRIFT_DIGITS) for value in values)) for group, *values in groups)
    told = [dict(zip(names, each, strict=True)) for each in numbers]
    of = "sample" if shares.is_now else "baseline"
    return {"attribution": {"of": of, "level": shares.level, "largest": shares.largest, "groups": told}}


def _quality(values: Sequence[QualityValue]) -> list[dict[str, Any]]:
    """The features with the largest shares of rows that have a problem."""
    worst = sorted((value for value in values if value.ratio > 0), key=lambda value: -value.ratio)[:MOST_FEATURES]
    return [
        {"feature": each.feature, "problem": each.problem, "ratio": _number(each.ratio, DRIFT_DIGITS)} for each in worst
    ]


def _level(point: LevelResult) -> dict[str, Any]:
    told = {
        "level": point.level,
        "mse": _number(point.mean_mse),
        "bound": _number(point.bound),
        "request_bound": _number(point.request_bound),
        "agreement": _number(point.agreement),
        "beyond_threshold": _number(point.beyond_threshold),
        "triplet_flips": _number(point.triplet_flips),
        "self_nearest": _number(point.self_nearest),
        "ratio": _number(point.baseline_ratio),
        "ratio_lower": _number(point.baseline_ratio_lower),
        "nonfinite": point.nonfinite_outputs or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _drift(values: Sequence[DriftValue]) -> list[dict[str, Any]]:
    """A row a feature, with all its statistics: of all features together, and of those that have drifted most."""
    by_feature: dict[str, dict[str, Any]] = {}
    for value in values:
        row = by_feature.setdefault(value.feature, {"feature": value.feature})
        row[value.statistic] = _number(value.value, DRIFT_DIGITS)
    rows = sorted(by_feature.values(), key=_most_drifted)
    return rows[: MOST_FEATURES + ("all" in by_feature)]


def _most_drifted(row: dict[str, Any]) -> tuple[bool, float]:
    measured = [value for name in ("js", "psi") if isinstance(value := row.get(name), float)]
    return row["feature"] != "all", -max(measured, default=0.0)


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: _number(value) if isinstance(value, float) else value for name, value in facts.items()}


def _number(value: float | None, digits: int = DIGITS) -> float | str | None:
    """As JSON can hold it; what is not a number is not there."""
    if value is None or value != value:
        return None
    told = finite(value)
    return float(f"{told:.{digits}g}") if isinstance(told, float) else told
