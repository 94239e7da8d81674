"""The dashboard of one watched model: is it as robust as the version it replaced, and if not, why?"""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import bargauge
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from grafana import parts
from grafana.attacks import attack_panels
from grafana.of_model import MEASUREMENT, STATE
from grafana.parts import HALF, PLACE, THIRD, Query, bars, names, now, over_time, steps
from grafana.robustness import robustness_panels

IDENTIFIER = "robmon-model"
JS_THRESHOLD = 0.2
MISMATCH_THRESHOLD = 0.05


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


def unusual_panels() -> list[Any]:
    return [
        over_time(
            "Unusual queries",
            "In the pod with the most: new rows of the sample nearer to another than the baseline's ever were, those "
            "with the same content left out. The alert wants three in three assessments running.",
            units.Short,
            HALF,
            Query(
                f"max by (model_version) (robmon_input_near_duplicate_rows{{{MEASUREMENT}}})",
                "near-duplicates, version {{model_version}}",
            ),
        ),
        over_time(
            "Novel rows",
            "Share of the new rows farther out than all but 1 % (detect.alpha) of the baseline's, averaged over pods; "
            "and the least p-value of any pod: the probability of so many, if all were as the baseline's.",
            units.PercentUnit,
            HALF,
            Query(
                f"avg by (model_version) (robmon_input_novel_ratio{{{MEASUREMENT}}})",
                "novel, version {{model_version}}",
            ),
            Query(
                f"min by (model_version) (robmon_input_novelty_pvalue{{{MEASUREMENT}}})",
                "p-value, version {{model_version}}",
            ),
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
            "Does it withstand an attack?": attack_panels,
            "Are the inputs the same?": input_panels,
            "Are queries unusual?": unusual_panels,
        },
        marks(),
    )
