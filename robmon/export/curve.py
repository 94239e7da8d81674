"""Curves, slopes and areas as metrics: of the noise that decides, and of further ones beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily

from robmon.export.families import of_version
from robmon.export.published import FurtherMeasurement, Measurement
from robmon.history.verdict import JudgedCurves
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.curve import FurtherNoise, LevelResult, SlopeResult
from robmon.vocabulary import distance_bound

FURTHER = {"primary": "false"}
"""Label of all that further noises are measured by: no alert looks at it, and a chart only where it says so."""
_FAMILIES: Mapping[str, str] = {
    "robmon_noise_mse": "Mean MSE of the trials; with space verdict, in the units of the verdict and on its rows, "
    "where those are not the outputs'",
    "robmon_noise_mse_bound": "Upper bound of the MSE of a further trial on the same rows, at the stated confidence",
    "robmon_request_change_bound": "Upper bound of how far one prediction moves, in output units (of embeddings, as a "
    "distance), at the stated confidence",
    "robmon_prediction_agreement_ratio": "Share of predicted classes unchanged by the noise",
    "robmon_embedding_beyond_threshold_ratio": "Share of embeddings that noise moves farther than the threshold from "
    "their own",
    "robmon_triplet_flip_ratio": "Share of triplets of embeddings of which noise on the first makes another of the two "
    "others the nearer one",
    "robmon_self_nearest_ratio": "Share of embeddings under noise to which no other row's is nearer than their own",
    "robmon_noise_mse_baseline_ratio": "Mean MSE over the baseline's",
    "robmon_noise_mse_baseline_ratio_lower": "Lower confidence limit of the baseline ratio",
    "robmon_robustness_slope": "Slope of mse against level squared (against level for noise on images), of other "
    "scores against level",
    "robmon_robustness_slope_lack_of_fit": "Lack of fit of the slope: 0 is a straight line; above 0.1 the area "
    "describes the curve better",
    "robmon_robustness_area": "Robustness area: 0 is untouched, 1 is an unrelated output",
    "robmon_robustness_index": "Robustness index, 1 - area: 1 is perfect",
}


def curve_metrics(
    name: str,
    measurement: Measurement | None,
    judged: JudgedCurves | None,
    further: Sequence[FurtherMeasurement],
) -> Iterator[GaugeMetricFamily]:
    """All families that have a value.

    Args:
        name: of the model.
        measurement: under the noise that decides, None where there is no current one.
        judged: both versions' curves of the verdict on that version, in its own units.
        further: what is measured under further noises; without noise it is what it is under the other.
    """
    families = _Families()
    if measurement is not None:
        result, of = measurement.result, {"model_name": name, "model_version": measurement.model_version}
        of["noise"] = result.noise
        families.add_levels(of, result.levels, result.confidence, result.distance)
        if result.labels is not None:
            families.add_errors(of, result.labels.levels, result.confidence, "label")
        if judged is not None and judged.space == "verdict":
            for level, mean in zip(judged.levels, judged.mean, strict=True):
                labels = of | {"noise": judged.noise, "level": f"{level:g}", "reference": "prediction"}
                families.add("robmon_noise_mse", labels | {"space": judged.space}, mean)
        families.add_scores(of, _slopes(result), result.area, result.index)
        if result.labels is not None:
            families.add_areas(of, result.labels.area, result.labels.index, "label")
    for each in further:
        of = {"model_name": name, "model_version": each.model_version, "noise": each.result.noise} | FURTHER
        families.add_levels(of, _above_0(each.result), each.result.confidence, each.result.distance)
        families.add_scores(of, each.result.slopes, each.result.area, each.result.index)
    yield from families.nonempty()


def _slopes(result: Assessed) -> Mapping[str, SlopeResult]:
    labels = result.labels
    accuracy = None if labels is None else labels.accuracy_slope
    return result.slopes if accuracy is None else {**result.slopes, "accuracy": accuracy}


def _above_0(result: FurtherNoise) -> list[LevelResult]:
    return [point for point in result.levels if point.level > 0]


class _Families:
    """One family a metric, whatever is added to it: an exposition has each once."""

    def __init__(self) -> None:
        self._families = {name: of_version(name, told) for name, told in _FAMILIES.items()}

    def nonempty(self) -> Iterator[GaugeMetricFamily]:
        return (family for family in self._families.values() if family.samples)

    def add(self, name: str, labels: Mapping[str, str], value: float | None) -> None:
        """Add a value, if there is one: a NaN silences every comparison of an alert."""
        if value is not None and not math.isnan(value):
            self._families[name].add_sample(name, dict(labels), value)

    def add_levels(
        self, of: Mapping[str, str], levels: Sequence[LevelResult], confidence: float, distance: str | None
    ) -> None:
        self.add_errors(of, levels, confidence, "prediction")
        for point in levels:
            at = {**of, "level": f"{point.level:g}"}
            if point.request_bound is not None:
                stated = {**at, "confidence": f"{confidence:g}"}
                self.add("robmon_request_change_bound", stated, distance_bound(point.request_bound, distance))
            self.add("robmon_prediction_agreement_ratio", at, point.agreement)
            self.add("robmon_embedding_beyond_threshold_ratio", at, point.beyond_threshold)
            self.add("robmon_triplet_flip_ratio", at, point.triplet_flips)
            self.add("robmon_self_nearest_ratio", at, point.self_nearest)
            self.add("robmon_noise_mse_baseline_ratio", at, point.baseline_ratio)
            self.add("robmon_noise_mse_baseline_ratio_lower", at, point.baseline_ratio_lower)

    def add_errors(
        self, of: Mapping[str, str], levels: Sequence[LevelResult], confidence: float, reference: str
    ) -> None:
        for point in levels:
            at = {**of, "level": f"{point.level:g}", "reference": reference}
            self.add("robmon_noise_mse", at, point.mean_mse)
            self.add("robmon_noise_mse_bound", {**at, "confidence": f"{confidence:g}"}, point.bound)

    def add_scores(
        self, of: Mapping[str, str], slopes: Mapping[str, SlopeResult], area: float | None, index: float | None
    ) -> None:
        for score, slope in slopes.items():
            self.add("robmon_robustness_slope", {**of, "score": score}, slope.value)
            self.add("robmon_robustness_slope_lack_of_fit", {**of, "score": score}, slope.lack_of_fit)
        self.add_areas(of, area, index, "prediction")

    def add_areas(self, of: Mapping[str, str], area: float | None, index: float | None, reference: str) -> None:
        self.add("robmon_robustness_area", {**of, "reference": reference}, area)
        self.add("robmon_robustness_index", {**of, "reference": reference}, index)
