"""What is kept of one good assessment, as the row that `robmon history` and `robmon report` read: no I/O, no input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from robmon.daemon.publication import Finding, finite, summary
from robmon.history.detection import Detection
from robmon.processes.messages import DriftValue, LevelResult, ModelVersion

DIGITS: Final = 7
"""Of a measurement: more are noise, and cost room, three times a minute and feature."""


def assessment_row(model: ModelVersion, finding: Finding, at: float, specification: str) -> dict[str, Any]:
    """The row: what the log says of it, and the whole curve, drift and timings.

    Args:
        model: the version assessed.
        finding: what came of it.
        at: Unix time.
        specification: digest of the settings under which versions are judged.
    """
    result = finding.result
    return {
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
        "detection": None if result.detection is None else _detection(result.detection),
        "drift": _drift(result.input_drift),
        "drift_rows": result.plan.rows,
        "features_watched": result.features_watched,
        "prediction_drift": _drift(result.prediction_drift),
        "phases": {phase: round(seconds, 3) for phase, seconds in result.phase_seconds.items()},
    }


def _level(point: LevelResult) -> dict[str, Any]:
    told = {
        "level": point.level,
        "mse": _number(point.mean_mse),
        "bound": _number(point.bound),
        "request_bound": _number(point.request_bound),
        "agreement": _number(point.agreement),
        "ratio": _number(point.baseline_ratio),
        "ratio_lower": _number(point.baseline_ratio_lower),
        "nonfinite": point.nonfinite_outputs or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _detection(found: Detection) -> dict[str, Any]:
    return {
        "basis": found.basis,
        "requests": found.requests,
        "evidence": _number(found.evidence),
        "is_standing": found.is_standing,
        "detectable_ratio": _number(found.detectable_ratio),
    }


def _drift(values: Sequence[DriftValue]) -> list[dict[str, Any]]:
    """A row a feature, with all its statistics."""
    by_feature: dict[str, dict[str, Any]] = {}
    for value in values:
        row = by_feature.setdefault(value.feature, {"feature": value.feature})
        row[value.statistic] = _number(value.value)
    return list(by_feature.values())


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: _number(value) if isinstance(value, float) else value for name, value in facts.items()}


def _number(value: float | None) -> float | str | None:
    """As JSON can hold it; what is not a number is not there."""
    if value is None or value != value:
        return None
    told = finite(value)
    return float(f"{told:.{DIGITS}g}") if isinstance(told, float) else told
