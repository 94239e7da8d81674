"""What stands against the version served, or is still pending, as metrics."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

from robmon.export.detection import watching
from robmon.export.families import Families, nonempty
from robmon.export.published import Published
from robmon.export.verdict import remembered_metrics, verdict_metrics
from robmon.vocabulary import PENDING_REASONS


def regression_metrics(published: Published) -> Families:
    """A standing regression, found between versions or over time, and the verdict."""
    name, state = published.model_name, published.view.state
    detected = GaugeMetricFamily(
        "robmon_regression_detected", "1 while a robustness regression stands, else 0", labels=["model_name", "kind"]
    )
    since = GaugeMetricFamily(
        "robmon_regression_since_timestamp_seconds",
        "Unix time at which the standing regression was found",
        labels=["model_name", "kind"],
    )
    if state.regression is not None or state.is_accepted:
        detected.add_metric([name, "version"], 1 if state.regression is not None else 0)
    if (record := watching(published.view)) is not None:
        detected.add_metric([name, "time"], 1 if record.since is not None else 0)
        if record.since is not None:
            since.add_metric([name, "time"], record.since)
    if state.regression is not None:
        since.add_metric([name, "version"], state.regression.since)
    yield from nonempty(detected, since)
    yield _pending(published)
    if state.ratio_since is not None:
        product = GaugeMetricFamily(
            "robmon_version_ratio_since",
            "Product of the pooled ratios of all versions accepted since the anchor, which a person or nobody accepted",
            labels=["model_name", "anchor"],
        )
        anchor, value = state.ratio_since
        product.add_metric([name, anchor], value)
        yield product
    if state.regression is not None:
        info = InfoMetricFamily("robmon_regression", "Which version regressed, against which", labels=["model_name"])
        versions = {"model_version": state.regression.version, "reference_version": state.regression.reference_version}
        info.add_metric([name], versions)
        yield info
    if state.verdict is not None:
        yield from verdict_metrics(name, state.verdict)
    elif state.regression is not None:
        yield from remembered_metrics(name, state.regression)


def _pending(published: Published) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "robmon_comparison_pending",
        "1 while nobody can rely on a verdict on the version served, by reason",
        labels=["model_name", "reason"],
    )
    reasons = {pending.reason for pending in published.view.state.pending}
    for reason in PENDING_REASONS:
        family.add_metric([published.model_name, reason], 1 if reason in reasons else 0)
    return family
