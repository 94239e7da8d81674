"""The detector over time, as metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from robmon.export.published import Published, View
from robmon.history.detection import DetectionRecord
from robmon.vocabulary import DETECTABLE_WITHIN, DetectionState


def watching(view: View) -> DetectionRecord | None:
    """Where the detector stands on the version that is loaded; None while it is silent."""
    record = view.detection
    if record is None or record.found.basis is None or view.model is None or view.model.version != record.version:
        return None
    return record


def detection_state(view: View) -> DetectionState:
    """In which state detection is."""
    record = watching(view)
    return "learning" if record is None or record.found.basis is None else record.found.basis


def detection_metrics(published: Published) -> Iterator[GaugeMetricFamily]:
    """Evidence and threshold, what can be seen, and in which state detection is. No regression: see `regression`."""
    name, view = published.model_name, published.view
    if view.model is None:
        return
    states = GaugeMetricFamily(
        "robmon_detection_state",
        "1, with the state of the detector over time: learning (it is silent), or what its limit comes from: the "
        "version before, a day's hours or more, a week's",
        labels=["model_name", "state"],
    )
    states.add_metric([name, detection_state(view)], 1)
    yield states
    record = watching(view)
    if record is None:
        return
    of = [name, record.version]
    evidence = GaugeMetricFamily(
        "robmon_regression_evidence",
        "Evidence that this version has become worse than its baseline's worst hour; averaged over pods, then compared",
        labels=["model_name", "model_version"],
    )
    evidence.add_metric(of, record.found.evidence)
    yield evidence
    threshold = GaugeMetricFamily(
        "robmon_regression_evidence_threshold",
        "Evidence at which an alarm begins: the mean number of assessments between two false ones",
        labels=["model_name", "model_version"],
    )
    threshold.add_metric(of, record.threshold)
    yield threshold
    if record.found.detectable_ratio is not None:
        ratio = GaugeMetricFamily(
            "robmon_detectable_ratio",
            "Smallest ratio to the errors of the baseline's worst hour that is seen within so many assessments",
            labels=["model_name", "within"],
        )
        ratio.add_metric([name, str(DETECTABLE_WITHIN)], record.found.detectable_ratio)
        yield ratio
