"""The panels that say whether a model is robust: verdict, curves, levels over time, detection over time."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import common, stat, timeseries, xychart
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models import xychart as xychart_models

from grafana import parts
from grafana.of_model import (
    ABOVE_0,
    AT_LEVELS,
    CURVE,
    CURVE_BOUND,
    FINITE,
    IN_UNITS_OF_VERDICT,
    MEASUREMENT,
    OF_LAST_POD,
    PRIMARY,
    STATE,
    one_pods,
)
from grafana.parts import HALF, POD, QUARTER, Query, in_decades, names, now, over_time, steps

FURTHER = f'{MEASUREMENT}, primary="false", {ABOVE_0}'
LEVEL_OF_VERSION = "level {{level}}, version {{model_version}}"


def regression() -> stat.Panel:
    panel = now(
        "Robustness regression",
        "1 while a version that is less robust than the last accepted one stands, in any pod. It is a state: it stays "
        "until a version passes or this one is accepted. Pending: why there is no verdict that can be relied on.",
        units.Short,
        Query(f"max by (kind) (robmon_regression_detected{{{STATE}}})", "{{kind}}"),
        Query(f"2 * max by (reason) (robmon_comparison_pending{{{STATE}}} == 1)", "no verdict: {{reason}}"),
    )
    panel.mappings(parts.texts(("0", "none", "green"), ("1", "REGRESSION", "red"), ("2", "PENDING", "orange")))
    panel.no_value("no verdict").thresholds(steps((None, "green"), (1, "red"), (2, "orange")))
    return panel.color_mode(common_models.BigValueColorMode.BACKGROUND)


def versions() -> stat.Panel:
    panel = now(
        "Versions",
        "The version served and the state of its baseline, and the accepted version it was compared with.",
        units.Short,
        Query(
            f"max by (model_version, baseline) (robmon_model_info{{{STATE}}})",
            "serves {{model_version}} (baseline: {{baseline}})",
        ),
        Query(f"max by (reference_version) (robmon_version_ratio{{{STATE}}})", "compared with {{reference_version}}"),
    )
    return names(panel)


def since() -> stat.Panel:
    panel = now(
        "Regression since",
        "When the standing regression was found.",
        units.DateTimeFromNow,
        Query(f"min(robmon_regression_since_timestamp_seconds{{{STATE}}}) * 1000", "since"),
    )
    return panel.no_value("none stands").thresholds(steps((None, "text")))


PRODUCT = Query(f"max by (anchor) (robmon_version_ratio_since{{{STATE}}})", "since version {{anchor}}")
# Of the pod with the largest: limits of another pod's ratio, which may be of another version, are not this one's.
LARGEST = f"topk(1, robmon_version_ratio{{{STATE}}})"
RATIO = (
    Query(f"max({LARGEST})", "ratio"),
    Query(f"max(robmon_version_ratio_lower{{{STATE}}} and {LARGEST})", "at least"),
    Query(f"max(robmon_version_ratio_upper{{{STATE}}} and {LARGEST})", "at most"),
)


def ratio() -> stat.Panel:
    panel = now(
        "Against the accepted version",
        "Noise error of the version judged last over that of the accepted version, on the same inputs and noise, all "
        "levels together, with its confidence limits: 1 is equally robust, 2 twice as sensitive. Of the pod with the "
        "largest ratio: in a rollout pods judge different versions.",
        units.Short,
        *RATIO,
    )
    panel.decimals(2).no_value("no verdict")
    return panel.thresholds(steps((None, "green"), (1.1, "orange"), (2, "red")))


def curves_of_both() -> xychart.Panel:
    mean, bound = f"robmon_noise_mse{{{CURVE}}}", f"robmon_noise_mse_bound{{{CURVE_BOUND}}}"
    return curve(
        "Both versions",
        "Mean squared change of the outputs against the noise level, of the version served and of the accepted one it "
        "was compared with, in the same units: a classifier's are those of the verdict, its probabilities at a common "
        "confidence. A bound holds for a further trial on the same rows with the stated confidence. Both axes are "
        "logarithmic: a constant factor is a constant distance. An infinite error is not drawn: see Non-finite outputs "
        "on the sidecar's dashboard.",
        Query(
            f"({IN_UNITS_OF_VERDICT} or on ({POD}, level) {mean}) {FINITE} {OF_LAST_POD}",
            "version served",
        ),
        Query(
            f'({bound} unless on ({POD}) robmon_noise_mse{{{STATE}, space="verdict"}}) {FINITE} {OF_LAST_POD}',
            "its bound",
        ),
        Query(f"robmon_reference_noise_mse{{{AT_LEVELS}}} {FINITE} {OF_LAST_POD}", "accepted version"),
        Query(
            f"robmon_reference_noise_mse_bound{{{AT_LEVELS}}} {FINITE} {OF_LAST_POD}", "bound of the accepted version"
        ),
    )


def curve_in_output_units() -> xychart.Panel:
    mean = f"robmon_noise_mse{{{CURVE}}}"
    return curve(
        "The version served, in units of its outputs",
        "Mean squared change of the outputs at each noise level, its upper bound at the stated confidence, and the "
        "mean in its own baseline, of the pod that assessed last (bounds of several pods cannot be summed up; choose "
        "an instance to see another).",
        Query(f"{mean} {FINITE} {OF_LAST_POD}", "mean"),
        Query(f"robmon_noise_mse_bound{{{CURVE_BOUND}}} {FINITE} {OF_LAST_POD}", "bound"),
        Query(
            f"{mean} / ignoring (reference) robmon_noise_mse_baseline_ratio{{{MEASUREMENT}}} {FINITE} {OF_LAST_POD}",
            "mean in the baseline",
        ),
    )


def curve(title: str, description: str, *queries: Query) -> xychart.Panel:
    """A row a level, a column a query; the columns against the level."""
    panel: xychart.Panel = parts.described(
        xychart.Panel(), title, description, units.ScientificNotation, HALF, height=10
    )
    panel.decimals(1).mapping(xychart_models.SeriesMapping.AUTO).show(xychart_models.XYShowMode.POINTS_AND_LINES)
    # An empty series is what makes every column a line in the first Grafanas that have this panel.
    panel.series([xychart.XYSeriesConfig()])
    panel.legend(parts.legend()).axis_label("MSE").scale_distribution(parts.logarithmic()).line_width(2)
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.SINGLE))
    parts.as_tables(panel, *queries)
    letters = [chr(ord("A") + index) for index in range(len(queries))]
    level = {"targetField": "level", "destinationType": "number"}
    # Of a single query Grafana calls the column "Value".
    renamed = {f"Value #{letter}": query.legend for letter, query in zip(letters, queries, strict=True)}
    parts.transformed(
        panel,
        ("filterFieldsByName", {"include": {"pattern": "^(level|Value.*)$"}}),
        ("joinByField", {"byField": "level", "mode": "outer"}),
        ("convertFieldType", {"conversions": [level], "fields": {}}),
        ("sortBy", {"fields": {}, "sort": [{"field": "level", "desc": False}]}),
        ("organize", {"excludeByName": {}, "indexByName": {}, "renameByName": renamed}),
    )
    axis = [
        parts.property_of("custom.scaleDistribution", parts.logarithmic().build()),
        parts.property_of("custom.axisLabel", "noise level"),
        parts.property_of("unit", units.NoUnit),
        parts.property_of("decimals", None),
    ]
    panel.override_by_name("level", axis)
    for name, color in zip(
        (query.legend for query in queries), ("red", "light-red", "blue", "light-blue"), strict=False
    ):
        panel.override_by_name(name, [parts.property_of("color", {"mode": "fixed", "fixedColor": color})])
    return panel


def ratio_over_time() -> Any:
    panel = over_time(
        "Ratio to the accepted version",
        "The pooled ratio that the verdict tests, between its confidence limits, of the pod where it is largest, and "
        "the product of the ratios of all versions accepted since a person's last acceptance: many releases, none of "
        "which is a regression, may add up to one.",
        units.Short,
        HALF,
        *RATIO,
        PRODUCT,
    )
    panel.override_by_name("at most", [parts.property_of("custom.fillBelowTo", "at least")])
    for name in ("at least", "at most"):
        panel.override_by_name(name, [parts.property_of("custom.lineWidth", 0)])
    return parts.with_limit(panel, 1.1)


def request_bound() -> timeseries.Panel:
    return in_decades(
        "A prediction moves by less than",
        "The request bound: how far one further prediction moves at most, in units of the outputs, with the stated "
        "confidence. A series a level, of the pod that assessed last.",
        HALF,
        Query(
            one_pods(f"robmon_request_change_bound{{{PRIMARY}, {ABOVE_0}}}"), f"{LEVEL_OF_VERSION}, {{{{confidence}}}}"
        ),
    )


def levels_over_time() -> list[Any]:
    baseline_ratio = f"robmon_noise_mse_baseline_ratio{{{MEASUREMENT}}}"
    return [
        request_bound(),
        ratio_over_time(),
        in_decades(
            "Bound over time",
            "Upper bound of the mean squared change of the outputs, a series a level, of the pod that assessed last. "
            "It holds for a further trial on the same rows with the stated confidence. Measurements end when they are "
            "no longer true.",
            HALF,
            Query(one_pods(f"robmon_noise_mse_bound{{{CURVE_BOUND}}}"), LEVEL_OF_VERSION),
        ),
        in_decades(
            "Mean error over time",
            "Mean squared change of the outputs, a series a level, averaged over pods.",
            HALF,
            Query(f"avg by (level, model_version) (robmon_noise_mse{{{CURVE}}}) {FINITE}", LEVEL_OF_VERSION),
        ),
        in_decades(
            "Further noises",
            "Mean squared change of the outputs under the noises of assess.noises at the highest level of each, "
            "averaged over pods. They take turns, and raise no alarm.",
            HALF,
            Query(
                f"max by (noise, model_version) (avg by (noise, level, model_version) (robmon_noise_mse{{{FURTHER}}})) "
                f"{FINITE}",
                "{{noise}}, version {{model_version}}",
            ),
        ),
        in_decades(
            "A prediction moves by less than, under further noises",
            "The request bound under the noises of assess.noises, in units of the outputs, of the pod that assessed "
            "last: what is not random has this bound, and no trial bound.",
            HALF,
            Query(one_pods(f"robmon_request_change_bound{{{FURTHER}}}"), "{{noise}}, level {{level}}"),
        ),
        over_time(
            "Robustness index",
            "1 is untouched by noise, 0 is as unrelated as another row's output. Averaged over pods.",
            units.Short,
            QUARTER,
            Query(
                f"avg by (model_version, reference) (robmon_robustness_index{{{PRIMARY}}})",
                "version {{model_version}}, {{reference}}",
            ),
        ),
        over_time(
            "Robustness slope",
            "Growth of the MSE with the squared noise level: higher is more fragile. Averaged over pods.",
            units.Short,
            QUARTER,
            Query(
                f'avg by (model_version) (robmon_robustness_slope{{{PRIMARY}, score="mse"}})',
                "version {{model_version}}",
            ),
        ),
        over_time(
            "Prediction agreement",
            "Share of predicted classes that the noise leaves unchanged. Classifiers only; averaged over pods.",
            units.PercentUnit,
            QUARTER,
            Query(f"avg by (level, model_version) (robmon_prediction_agreement_ratio{{{PRIMARY}}})", LEVEL_OF_VERSION),
        ).max(1),
        parts.with_limit(
            over_time(
                "Against its own baseline",
                "Mean noise MSE over that in the baseline of the same version, at each level: 1 is no change. It says "
                "nothing of the version before. Absent while the baseline is learnt.",
                units.Short,
                QUARTER,
                Query(f"avg by (level, model_version) ({baseline_ratio})", LEVEL_OF_VERSION),
            ),
            1.5,
        ),
    ]


def embedding_panels() -> list[Any]:
    return [
        over_time(
            "Embeddings beyond the threshold",
            "Share of embeddings that noise moves farther from their own than the threshold: so often it makes a copy "
            "of a thing pass for another. Embeddings only; averaged over pods.",
            units.PercentUnit,
            HALF,
            Query(
                f"avg by (level, model_version) (robmon_embedding_beyond_threshold_ratio{{{PRIMARY}}})",
                LEVEL_OF_VERSION,
            ),
        ).max(1),
        over_time(
            "Embeddings nearest to themselves, triplets in another order",
            "Share of embeddings under noise to which no other row's is nearer than their own; share of triplets of "
            "which noise makes another row the nearer one. Embeddings only; averaged over pods.",
            units.PercentUnit,
            HALF,
            Query(
                f"avg by (level, model_version) (robmon_self_nearest_ratio{{{PRIMARY}}})",
                f"self nearest, {LEVEL_OF_VERSION}",
            ),
            Query(
                f"avg by (level, model_version) (robmon_triplet_flip_ratio{{{PRIMARY}}})",
                f"triplets changed, {LEVEL_OF_VERSION}",
            ),
        ).max(1),
    ]


def detection_panels() -> list[Any]:
    threshold = f"max by (model_version) (robmon_regression_evidence_threshold{{{MEASUREMENT}}})"
    margin = now(
        "Noise margin",
        "The largest level whose bound stays under the limit that the owner set (assess.mse_limit), in the pod with "
        "the smallest.",
        units.Short,
        Query(f"min(robmon_noise_margin_level{{{MEASUREMENT}}})", "level"),
    )
    state = now(
        "Detection over time",
        "What the limit comes from: the version before (inherited), a day of baseline or more, a week; learning is "
        "silent.",
        units.Short,
        Query(f"max by (state) (robmon_detection_state{{{STATE}}} == 1)", "{{state}}"),
    )
    smallest = now(
        "Smallest change seen",
        "Ratio to the errors of the baseline's worst hour that is seen within 60 assessments.",
        units.Short,
        Query(f"max by (within) (robmon_detectable_ratio{{{STATE}}})", "within {{within}} assessments"),
    )
    canary = now(
        "Canary",
        "Share of the outputs for rows that robmon drew itself which have changed under the same version: the files "
        "of the model, its libraries or their types are not what they were.",
        units.PercentUnit,
        Query(f"max(robmon_canary_change_ratio{{{STATE}}})", "changed"),
    )
    for panel, text in ((smallest, "nothing yet"), (margin, "no limit set"), (canary, "no canary")):
        panel.decimals(2).no_value(text).thresholds(steps((None, "text")))
    return [
        *(names(state), smallest, canary.thresholds(steps((None, "green"), (1e-9, "red"))), margin),
        in_decades(
            "Evidence over time",
            "Evidence that the version has become worse than its baseline's worst hour, averaged over pods as "
            "the alert has it; an alarm begins at the threshold. Nothing is shown while the baseline spans less than a "
            "day.",
            HALF,
            Query(f"avg by (model_version) (robmon_regression_evidence{{{MEASUREMENT}}})", "version {{model_version}}"),
            Query(threshold, "threshold, version {{model_version}}"),
        ),
        over_time(
            "Canary over time",
            "Share of the outputs for rows that robmon drew itself which have changed under the same version, in the "
            "pod with the largest.",
            units.PercentUnit,
            HALF,
            Query(f"max(robmon_canary_change_ratio{{{STATE}}})", "changed"),
        ),
    ]


def robustness_panels() -> list[Any]:
    return [
        *(regression(), versions(), since(), ratio()),
        *(curves_of_both(), curve_in_output_units()),
        *levels_over_time(),
        *embedding_panels(),
        *detection_panels(),
    ]
