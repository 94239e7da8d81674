"""Drift of inputs and predictions, as metrics and on the status page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from robmon.export.families import add, nonempty, of_version
from robmon.processes.messages import Assessed, DriftValue

NAMES_SHOWN: Final = 5
"""Features that drifted, on the page."""


def drift_metrics(of: list[str], result: Assessed) -> Iterator[GaugeMetricFamily]:
    """How far the sample and the clean outputs are from the baseline's; nothing while that is being learnt."""
    inputs = of_version(
        "robmon_input_drift",
        "Drift of the inputs from the baseline's: of the features that drifted most, and of all the mean index (psi) "
        "less what chance gives",
        *("feature", "statistic"),
    )
    predictions = of_version(
        "robmon_prediction_drift", "Drift of the clean outputs from the baseline's", "feature", "statistic"
    )
    quality = of_version(
        "robmon_input_quality_ratio",
        "Share of the sample's rows whose value of a feature is missing, unseen, out_of_range, infinite or of another "
        "type than the baseline's (type_changed)",
        *("feature", "problem"),
    )
    drifted = of_version(
        "robmon_input_drifted_features", "Features that have drifted, under a rate of false discoveries (drift.q)"
    )
    watched = of_version("robmon_input_features_watched", "Features of which drift is measured")
    _add_all(inputs, of, result.input_drift)
    _add_all(predictions, of, result.prediction_drift)
    for each in result.input_quality:
        add(quality, [*of, each.feature, each.problem], each.ratio)
    add(drifted, of, result.drifted_features)
    add(watched, of, result.features_watched)
    yield from nonempty(inputs, predictions, quality, drifted, watched)


def drift_on_page(result: Assessed) -> str:
    """How many features have drifted, and which most; empty while the baseline is being learnt."""
    if result.drifted_features is None:
        return ""
    watched = f"{result.features_watched} features whose drift is measured"
    if not result.drifted_features:
        return f"<p>None of the {watched} has drifted from the baseline.</p>"
    distances = [f"{each.feature} ({each.value:.2f})" for each in result.input_drift if each.statistic == "js"]
    have = "has" if result.drifted_features == 1 else "have"
    most = html.escape(", ".join(distances[: min(result.drifted_features, NAMES_SHOWN)]))
    return (
        f"<p>{result.drifted_features} of the {watched} {have} drifted from the baseline; most of all, by "
        f"Jensen-Shannon distance (0 to 1): {most}.</p>"
    )


def _add_all(family: GaugeMetricFamily, of: list[str], values: Iterable[DriftValue]) -> None:
    for each in values:
        add(family, [*of, each.feature, each.statistic], each.value)
