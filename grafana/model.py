"""The dashboard of one watched model: is it as robust as the version it replaced, and if not, why?"""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, stat, timeseries, xychart
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models import xychart as xychart_models

from grafana import parts
from grafana.parts import HALF, PLACE, POD, QUARTER, THIRD, Query, bars, in_decades, names, now, over_time, steps

IDENTIFIER = "robmon-model"
PROCESS = f'{PLACE}, instance=~"$instance"'
STATE = f'{PROCESS}, model_name="$model_name"'
MEASUREMENT = f'{STATE}, model_version=~"$model_version"'
ABOVE_0 = 'level!="0"'
# Errors in the units of the outputs. A classifier's verdict has units of its own, and the errors a series in them.
CURVE = f'{MEASUREMENT}, reference="prediction", space="", {ABOVE_0}'
IN_UNITS_OF_VERDICT = f'robmon_noise_mse{{{MEASUREMENT}, reference="prediction", space="verdict", {ABOVE_0}}}'
CURVE_BOUND = f'{MEASUREMENT}, reference="prediction", {ABOVE_0}'
REFERENCE = f"{MEASUREMENT}, {ABOVE_0}"

# A curve is one pod's: a maximum or an average of bounds is no bound.
OF_LAST_POD = (
    f"and on ({POD}) topk(1, robmon_last_assessment_timestamp_seconds{{{STATE}}} "
    f"and on ({POD}) robmon_model_info{{{MEASUREMENT}}})"
)

JS_THRESHOLD = 0.2
MISMATCH_THRESHOLD = 0.05
LEVEL_OF_VERSION = "level {{level}}, version {{model_version}}"


FINITE = "< +Inf"
"""An infinite error would be the end of a logarithmic axis."""


def one_pods(expr: str) -> str:
    """A series a level, of the pod that assessed last, whichever that was: what tells pods apart is taken off."""
    expr = f"{expr} {FINITE} {OF_LAST_POD}"
    for label in ("instance", "pod", "node"):
        expr = f'label_replace({expr}, "{label}", "", "", "")'
    return expr


# --- Is it robust? ----------------------------------------------------------------------------------------------------


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
RATIO = (
    Query(f"max(robmon_version_ratio{{{STATE}}})", "ratio"),
    Query(f"min(robmon_version_ratio_lower{{{STATE}}})", "at least"),
    Query(f"max(robmon_version_ratio_upper{{{STATE}}})", "at most"),
)


def ratio() -> stat.Panel:
    panel = now(
        "Against the accepted version",
        "Noise error of the version judged last over that of the accepted version, on the same inputs and noise, all "
        "levels together, with its confidence limits: 1 is equally robust, 2 twice as sensitive.",
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
        Query(f"robmon_reference_noise_mse{{{REFERENCE}}} {FINITE} {OF_LAST_POD}", "accepted version"),
        Query(
            f"robmon_reference_noise_mse_bound{{{REFERENCE}}} {FINITE} {OF_LAST_POD}", "bound of the accepted version"
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
        "The pooled ratio that the verdict tests, between its confidence limits, and the product of the ratios of all "
        "versions accepted since a person's last acceptance: many releases, none of which is a regression, may add up "
        "to one.",
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
        "95 % of predictions move by less than",
        "The request bound: how far one further prediction moves at most, in units of the outputs, with the "
        "confidence that assess.confidence states. A series a level, of the pod that assessed last.",
        HALF,
        Query(one_pods(f"robmon_request_change_bound{{{MEASUREMENT}, {ABOVE_0}}}"), LEVEL_OF_VERSION),
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
        over_time(
            "Robustness index",
            "1 is untouched by noise, 0 is as unrelated as another row's output. Averaged over pods.",
            units.Short,
            QUARTER,
            Query(
                f"avg by (model_version, reference) (robmon_robustness_index{{{MEASUREMENT}}})",
                "version {{model_version}}, {{reference}}",
            ),
        ),
        over_time(
            "Robustness slope",
            "Growth of the MSE with the squared noise level: higher is more fragile. Averaged over pods.",
            units.Short,
            QUARTER,
            Query(
                f'avg by (model_version) (robmon_robustness_slope{{{MEASUREMENT}, score="mse"}})',
                "version {{model_version}}",
            ),
        ),
        over_time(
            "Prediction agreement",
            "Share of predicted classes that the noise leaves unchanged. Classifiers only; averaged over pods.",
            units.PercentUnit,
            QUARTER,
            Query(
                f"avg by (level, model_version) (robmon_prediction_agreement_ratio{{{MEASUREMENT}}})", LEVEL_OF_VERSION
            ),
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
        *detection_panels(),
    ]


# --- Why is it not? ---------------------------------------------------------------------------------------------------


def why_panels() -> list[Any]:
    cause = f"max by (cause, group) (robmon_regression_cause_info{{{STATE}}})"
    named = now(
        "Cause",
        "What a standing regression comes from, and which group of features carries most of it; unknown where nothing "
        "is beyond three standard errors.",
        units.Short,
        Query(cause, "{{cause}}, carried by {{group}}"),
        width=THIRD,
    )
    return [
        names(named).height(8).no_value("no regression stands"),
        bars(
            "What the change comes from",
            "Shares of the change of the noise error since the baseline, while a regression stands.",
            units.PercentUnit,
            THIRD,
            Query(f"sort_desc(avg by (cause) (robmon_change_share{{{MEASUREMENT}}}))", "{{cause}}"),
        ).no_value("no regression stands"),
        bars(
            "Which features carry the error",
            "Shares of the noise error at the highest level: the ten largest groups of features, averaged over pods. "
            "They add up to 1.",
            units.PercentUnit,
            THIRD,
            Query(f"sort_desc(topk(10, avg by (group) (robmon_noise_share{{{MEASUREMENT}}})))", "{{group}}"),
        ),
    ]


# --- Are the inputs the same? -----------------------------------------------------------------------------------------


def most_drifted() -> bargauge.Panel:
    features = f'robmon_input_drift{{{MEASUREMENT}, statistic="js", feature!="all"}}'
    panel = bars(
        "Most drifted features",
        "Jensen-Shannon distance of the features furthest from the baseline, averaged over pods: 0 is the same "
        "distribution, 1 is one without anything in common. Above 0.2 is a large change.",
        units.Short,
        THIRD,
        Query(f"sort_desc(topk(10, avg by (feature) ({features})))", "{{feature}}"),
    )
    return panel.thresholds(steps((None, "green"), (0.1, "orange"), (JS_THRESHOLD, "red")))


def input_panels() -> list[Any]:
    js = f'robmon_input_drift{{{MEASUREMENT}, statistic="js"}}'
    return [
        over_time(
            "Drifted features",
            "Features whose distribution differs from the baseline's beyond chance, averaged over pods, of those that "
            "are watched; and the mean index of all, less what chance gives, which one broken feature hardly moves.",
            units.Short,
            THIRD,
            Query(
                f"avg by (model_version) (robmon_input_drifted_features{{{MEASUREMENT}}})",
                "drifted, version {{model_version}}",
            ),
            Query(
                f"avg by (model_version) (robmon_input_features_watched{{{MEASUREMENT}}})",
                "watched, version {{model_version}}",
            ),
            Query(
                f'avg by (model_version, statistic) (robmon_input_drift{{{MEASUREMENT}, feature="all"}})',
                "mean {{statistic}}, version {{model_version}}",
            ),
        ),
        most_drifted(),
        parts.with_limit(
            over_time(
                "Drift of the furthest feature",
                "Jensen-Shannon distance of the feature furthest from the baseline, averaged over pods; the alert's "
                "threshold is dashed.",
                units.Short,
                THIRD,
                Query(f"max by (model_version) (avg by (feature, model_version) ({js}))", "version {{model_version}}"),
            ),
            JS_THRESHOLD,
        ),
        over_time(
            "Rows with a problem",
            "Share of the sample's rows whose value of a feature is missing, new (unseen), out of the baseline's "
            "range, infinite or of another type, averaged over pods: the five worst.",
            units.PercentUnit,
            THIRD,
            Query(
                f"topk(5, avg by (feature, problem) (robmon_input_quality_ratio{{{MEASUREMENT}}}) > 0)",
                "{{feature}}: {{problem}}",
            ),
        ),
        over_time(
            "Prediction drift",
            "Jensen-Shannon distance of the clean outputs from the baseline's, averaged over pods.",
            units.Short,
            THIRD,
            Query(
                f'avg by (feature, model_version) (robmon_prediction_drift{{{MEASUREMENT}, statistic="js"}})',
                "{{feature}}, version {{model_version}}",
            ),
        ),
        parts.with_limit(
            over_time(
                "Served answers that differ",
                "Share of the served answers that are not what the version assessed predicts, averaged over pods: "
                "another version serves. The alert's threshold is dashed.",
                units.PercentUnit,
                THIRD,
                Query(
                    f"avg by (model_version) (robmon_served_prediction_mismatch_ratio{{{MEASUREMENT}}})",
                    "version {{model_version}}",
                ),
            ),
            MISMATCH_THRESHOLD,
        ),
    ]


# --- the board --------------------------------------------------------------------------------------------------------


def variables() -> list[Any]:
    model = f'{PLACE}, model_name="$model_name"'
    return [
        *parts.place_variables(),
        parts.variable("model_name", "Model", f"label_values({parts.ALWAYS}{{{PLACE}}}, model_name)"),
        parts.several(parts.variable("instance", "Instance", f"label_values({parts.ALWAYS}{{{model}}}, instance)")),
        parts.several(
            parts.variable("model_version", "Version", f"label_values(robmon_model_info{{{model}}}, model_version)")
        ),
    ]


def marks() -> list[models.AnnotationQuery]:
    """The five minutes after a version came, and after a regression began."""
    served = f"group by (model_version) (robmon_model_info{{{STATE}}}"
    stands = f"group by (kind) (robmon_regression_detected{{{STATE}}}"
    return [
        parts.marked(
            "Versions", "blue", Query(f"{served}) unless {served} offset 5m)", "version {{model_version}} is served")
        ),
        parts.marked(
            "Regressions", "red", Query(f"{stands} == 1) unless {stands} offset 5m == 1)", "regression ({{kind}})")
        ),
    ]


def build() -> str:
    """The dashboard as JSON text."""
    return parts.board(
        IDENTIFIER,
        "robmon: model",
        "Is this model still as robust as the version it replaced, and if not, why?",
        variables(),
        {
            "Is it robust?": robustness_panels,
            "Why is it not?": why_panels,
            "Are the inputs the same?": input_panels,
        },
        marks(),
    )
