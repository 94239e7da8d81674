"""Drift of inputs and predictions, as metrics and on the status page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from robmon.export.families import add, nonempty, of_version
from robmon.export.page.pieces import bars, number, paragraph
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.findings import DriftValue, QualityValue
from robmon.report.words import percent

ALL: Final = "all"
"""In the place of a feature: the mean of all."""
NAMES_SHOWN: Final = 5
"""Features that drifted, in the sentence on the page."""
BARS_SHOWN: Final = 8
FEATURE_SERIES: Final = 17
"""Of the features that are exported one by one: every statistic of as many as fit, those that drifted most, and the
Jensen-Shannon distance, on which alerts rest, of the others. The history keeps all."""
OUTPUT_SERIES: Final = 8
"""Likewise of outputs."""
STATISTICS: Final = 4
OUTPUTS: Final = 4
"""Outputs of which the drift is exported one by one."""
PROBLEMS: Final = 4
"""Shares of rows with a problem that are exported, those of the features whose shares rose most; 0 is none."""


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
        "Share of the sample's rows, where above 0, whose value of a feature is missing, unseen, out_of_range, "
        "infinite or of another type than the baseline's (type_changed)",
        *("feature", "problem"),
    )
    drifted = of_version(
        "robmon_input_drifted_features", "Features that have drifted, under a rate of false discoveries (drift.q)"
    )
    watched = of_version("robmon_input_features_watched", "Features of which drift is measured")
    for each in _exported(result.input_drift, FEATURE_SERIES):
        add(inputs, [*of, each.feature, each.statistic], each.value)
    for each in _exported(result.prediction_drift, OUTPUT_SERIES, most=OUTPUTS):
        add(predictions, [*of, each.feature, each.statistic], each.value)
    for problem in _exported_problems(result):
        add(quality, [*of, problem.feature, problem.problem], problem.ratio)
    add(drifted, of, result.drifted_features)
    add(watched, of, result.features_watched)
    yield from nonempty(inputs, predictions, quality, drifted, watched)


def drift_on_page(result: Assessed) -> str:
    """How many features have drifted, and how far; empty while the baseline is being learnt."""
    if result.drifted_features is None:
        return ""
    parts = (_drifted(result), _problems(result), _drift_bars(result))
    return "<h2>Drift of the inputs</h2>\n" + "\n".join(filter(None, parts))


def _drifted(result: Assessed) -> str:
    watched = f"{result.features_watched} features whose drift is measured"
    if not result.drifted_features:
        return paragraph(f"None of the {watched} has drifted from the baseline.")
    distances = [f"{each.feature} ({each.value:.2f})" for each in result.input_drift if each.statistic == "js"]
    have = "has" if result.drifted_features == 1 else "have"
    most = ", ".join(distances[: min(result.drifted_features, NAMES_SHOWN)])
    return paragraph(
        f"{result.drifted_features} of the {watched} {have} drifted from the baseline; most of all, by Jensen-Shannon "
        f"distance (0 to 1): {most}."
    )


def _problems(result: Assessed) -> str:
    """Shares of rows with a problem, of the features that are exported; empty where there are none."""
    found = [
        f"{each.feature} {each.problem.replace('_', ' ')} ({percent(each.ratio)})"
        for each in _exported_problems(result)
    ]
    return paragraph(f"Rows with a problem: {', '.join(found)}.") if found else ""


def _exported_problems(result: Assessed) -> list[QualityValue]:
    return [each for each in result.input_quality if each.ratio > 0][:PROBLEMS]


def _drift_bars(result: Assessed) -> str:
    """How far features have moved, those that have most, and the outputs."""
    found: dict[str, dict[str, float]] = {}
    for each in result.input_drift:
        found.setdefault(each.feature, {})[each.statistic] = each.value
    overall = found.pop("all", {})
    rows = [(name, values["js"], values) for name, values in found.items() if "js" in values]
    rows.sort(key=lambda row: -row[1])
    outputs = [each for each in result.prediction_drift if each.statistic == "js"]
    rows = rows[:BARS_SHOWN] + [(f"outputs: {each.feature}", each.value, {}) for each in outputs[:1]]
    if not rows:
        return ""
    shown = [
        (name, distance, [f"{distance:.3f}", number(values.get("psi")), number(values.get("wasserstein"))])
        for name, distance, values in rows
    ]
    whole = f" Over all features the mean PSI is {overall['psi']:.3g} beyond chance." if "psi" in overall else ""
    caption = f"Jensen-Shannon distance from the baseline, 0 to 1, of the features that have moved most.{whole}"
    return bars(["feature", "JS distance", "PSI", "W1 / sd"], shown, caption)


def _exported(values: Sequence[DriftValue], series: int, most: int | None = None) -> Iterator[DriftValue]:
    """Of the features that drifted most, which come first, and the mean of all."""
    names = list(dict.fromkeys(each.feature for each in values if each.feature != ALL))[:most]
    in_full = max(1, (series - len(names)) // (STATISTICS - 1))
    for each in values:
        is_told = each.feature in names[:in_full] or (each.statistic == "js" and each.feature in names)
        if is_told or each.feature == ALL:
            yield each
