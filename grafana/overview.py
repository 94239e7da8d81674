"""The dashboard of all models: which needs somebody, worst first."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import common, statetimeline, table
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import units

from grafana import parts
from grafana.parts import FULL, HALF, MODEL, PLACE, SIXTH, Query

IDENTIFIER = "robmon-overview"
OF = f'{PLACE}, model_name=~"$model_name"'
LAST = f"max by ({MODEL}) (model:robmon_last_assessment_timestamp_seconds:max{{{OF}}})"
STALE_SECONDS = 600
JS_THRESHOLD = 0.2

PLACED = "{{cluster}} {{namespace}} {{model_name}}"
NAMES = {"cluster": "Cluster", "namespace": "Namespace", "job": "Job", "model_name": "Model"}
"""Labels, as the table's columns are called."""


def standing(rule: str, matcher: str = "") -> str:
    """1 for the models of which a state stands."""
    return f"max by ({MODEL}) (model:{rule}{{{OF}{matcher}}} == 1)"


REGRESSED = standing("robmon_regression_detected:max")
WORSE_OVER_TIME = standing("robmon_regression_over_time:standing")
NEVER_ASSESSED = f"({LAST} == 0) + 1"
INTERVAL = f"max by ({MODEL}) (robmon_assess_interval_seconds{{{OF}}})"
# As RobmonAssessmentsStale: not before three intervals either.
STALE = f"(time() - ({LAST} > 0) > {STALE_SECONDS} unless time() - {LAST} <= 3 * {INTERVAL})"
NO_VERDICT = standing("robmon_comparison_pending:max")
DISTANCES = f'avg by ({MODEL}, feature) (robmon_input_drift{{{OF}, statistic="js"}})'
DRIFTED = f"max by ({MODEL}) ({DISTANCES} > {JS_THRESHOLD})"
GOOD = f"0 * {LAST}"

STATES = (
    # What it is called, its colour, and the models that are in it: the first that is true of a model is its state.
    ("regression", "red", REGRESSED),
    ("worse over time", "semi-dark-red", WORSE_OVER_TIME),
    ("never assessed", "purple", NEVER_ASSESSED),
    ("stale", "blue", STALE),
    ("no verdict", "orange", NO_VERDICT),
    ("drifted", "yellow", DRIFTED),
)
STATE = " or ".join(
    [
        *(f"{rank} * (0 * ({expr}) + 1)" for rank, (_, _, expr) in zip(range(len(STATES), 0, -1), STATES, strict=True)),
        GOOD,
    ]
)
STATE_TEXTS = parts.texts(
    *((str(rank), name, color) for rank, (name, color, _) in zip(range(len(STATES), 0, -1), STATES, strict=True)),
    ("0", "good", "green"),
)

# Limits are of the pod with the largest ratio: those of another pod's are not this one's.
LARGEST = f"topk by ({MODEL}) (1, robmon_version_ratio{{{OF}}})"
RATIO = f"max by ({MODEL}) ({LARGEST})"
LOWER = f"max by ({MODEL}) (robmon_version_ratio_lower{{{OF}}} and {LARGEST})"
UPPER = f"max by ({MODEL}) (robmon_version_ratio_upper{{{OF}}} and {LARGEST})"
INDEX = f'avg by ({MODEL}) (robmon_robustness_index{{{OF}, reference="prediction", primary!="false"}})'
EVIDENCE = (
    f"max by ({MODEL}) (model:robmon_regression_evidence:avg{{{OF}}}) / "
    f"max by ({MODEL}) (robmon_regression_evidence_threshold{{{OF}}})"
)
DRIFTED_SHARE = (
    f"avg by ({MODEL}) (robmon_input_drifted_features{{{OF}}}) / "
    f"avg by ({MODEL}) (robmon_input_features_watched{{{OF}}} > 0)"
)
AGE = f"time() - ({LAST} > 0)"

COLUMNS = (
    Query(STATE, "State"),
    Query(RATIO, "Ratio"),
    Query(LOWER, "at least"),
    Query(UPPER, "at most"),
    Query(INDEX, "Index"),
    Query(EVIDENCE, "Evidence"),
    Query(DRIFTED_SHARE, "Drifted"),
    Query(AGE, "Assessed"),
)


WIDTHS = {"State": 130, "Cluster": 100, "Namespace": 120, "Job": 130}
WIDTHS |= {"Ratio": 75, "at least": 75, "at most": 75, "Index": 70, "Evidence": 85, "Drifted": 75, "Assessed": 100}
"""In pixels; the name of the model gets what is left."""


def count(title: str, description: str, expr: str, color: str) -> Any:
    panel = parts.now(title, description, units.Short, Query(f"count({expr}) or vector(0)", title), width=SIXTH)
    colored = parts.steps((None, "green" if color != "text" else "text"), (1, color))
    return panel.thresholds(colored).no_value("0")


def counts() -> list[Any]:
    return [
        count("Models", "Models that a robmon speaks of.", LAST, "text"),
        count("Regressions", "Models whose version is less robust than the last accepted one.", REGRESSED, "red"),
        count(
            "Worse over time",
            "Models whose version has become worse than its baseline's worst hour.",
            WORSE_OVER_TIME,
            "red",
        ),
        count(
            "Not watched",
            "Models of which no assessment has ever come to an end: nobody knows anything of them.",
            NEVER_ASSESSED,
            "purple",
        ),
        count(
            "Stale",
            "Models whose last good assessment is older than ten minutes and than three intervals.",
            STALE,
            "blue",
        ),
        count("No verdict", "Models of whose version there is no verdict that can be relied on.", NO_VERDICT, "orange"),
    ]


def worst_first() -> Any:
    panel: table.Panel = parts.described(
        table.Panel(),
        "Models, worst first",
        "A row a model, over its pods: regressions first, then what nobody watches, then the others by the ratio of "
        "the noise error to that of the accepted version, with its confidence limits, in the pod where it is largest. "
        "Index: 1 is untouched by noise. Evidence: share of what an alarm over time needs. Drifted: share of the "
        "features. A model opens its own dashboard.",
        units.Short,
        FULL,
        height=12,
    )
    parts.as_tables(panel, *COLUMNS)
    letters = [chr(ord("A") + index) for index in range(len(COLUMNS))]
    renamed = NAMES | {f"Value #{letter}": query.legend for letter, query in zip(letters, COLUMNS, strict=True)}
    order = ["State", "Model", "Cluster", "Namespace", "Job", *(query.legend for query in COLUMNS[1:])]
    parts.transformed(
        panel,
        ("filterFieldsByName", {"exclude": {"pattern": "^Time$"}}),
        ("merge", {}),
        ("organize", {"excludeByName": {}, "indexByName": {}, "renameByName": renamed}),
        ("organize", {"excludeByName": {}, "indexByName": {name: at for at, name in enumerate(order)}}),
        ("sortBy", {"fields": {}, "sort": [{"field": "Ratio", "desc": True}]}),
        ("sortBy", {"fields": {}, "sort": [{"field": "State", "desc": True}]}),
    )
    colored = common_models.TableColoredBackgroundCellOptions(mode=common_models.TableCellBackgroundDisplayMode.BASIC)
    state = [
        parts.property_of("mappings", STATE_TEXTS),
        parts.property_of("custom.cellOptions", colored),
        parts.property_of("custom.align", "center"),
    ]
    for name, width in WIDTHS.items():
        panel.override_by_name(name, [*(state if name == "State" else []), parts.property_of("custom.width", width)])
    link = {
        "title": "Open ${__value.text}",
        "url": "/d/robmon-model?${datasource:queryparam}&${cluster:queryparam}&${namespace:queryparam}"
        "&var-job=${__data.fields.Job:percentencode}&var-model_name=${__value.text:percentencode}&${__url_time_range}",
    }
    panel.override_by_name("Model", [parts.property_of("links", [link])])
    for name, unit in (("Evidence", units.PercentUnit), ("Drifted", units.PercentUnit), ("Assessed", units.Seconds)):
        panel.override_by_name(name, [parts.property_of("unit", unit), parts.property_of("decimals", 0)])
    for name in ("Ratio", "at least", "at most", "Index"):
        panel.override_by_name(name, [parts.property_of("decimals", 2)])
    return panel


def timeline() -> statetimeline.Panel:
    panel: statetimeline.Panel = parts.described(
        statetimeline.Panel(),
        "States over time",
        "What stood when, a line a model; the worst of what was true of it.",
        units.Short,
        FULL,
        height=10,
    )
    panel.mappings(STATE_TEXTS).show_value(common_models.VisibilityMode.NEVER).merge_values(True).row_height(0.8)
    panel.per_page(20).legend(parts.legend())
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.SINGLE))
    return panel.with_target(parts.target(Query(STATE, PLACED), "A"))


def alerts() -> Any:
    panel: table.Panel = parts.described(
        table.Panel(), "Alerts that fire", "robmon's alerts that fire now.", units.Short, HALF
    )
    firing = f'max by ({MODEL}, alertname, severity) (ALERTS{{{OF}, alertname=~"Robmon.+", alertstate="firing"}})'
    parts.as_tables(panel, Query(firing, "firing"))
    renamed = NAMES | {"alertname": "Alert", "severity": "Severity"}
    order = ["Alert", "Severity", *NAMES.values()]
    return parts.transformed(
        panel.no_value("none"),
        ("organize", {"excludeByName": {"Time": True, "Value": True}, "indexByName": {}, "renameByName": renamed}),
        ("organize", {"excludeByName": {}, "indexByName": {name: at for at, name in enumerate(order)}}),
        ("sortBy", {"fields": {}, "sort": [{"field": "Alert", "desc": False}]}),
    )


def side_by_side() -> list[Any]:
    return [
        alerts(),
        parts.over_time(
            "Ratio to the accepted version",
            "The ten models whose noise error is largest against that of the version accepted last: 1 is as robust.",
            units.Short,
            HALF,
            Query(f"topk(10, {RATIO})", PLACED),
        ),
        parts.over_time(
            "Least robust",
            "The ten models with the smallest robustness index: 1 is untouched by noise, 0 is an unrelated output. "
            "It has no unit, so that models can be compared.",
            units.Short,
            HALF,
            Query(f"bottomk(10, {INDEX})", PLACED),
        ),
        parts.over_time(
            "Drifted features",
            "The ten models with the largest share of features that have drifted from the baseline.",
            units.PercentUnit,
            HALF,
            Query(f"topk(10, {DRIFTED_SHARE})", PLACED),
        ),
    ]


def variables() -> list[Any]:
    model = f"label_values({parts.ALWAYS}{{{PLACE}}}, model_name)"
    return [*parts.place_variables(), parts.several(parts.variable("model_name", "Model", model))]


def build() -> str:
    """The dashboard as JSON text."""
    return parts.board(
        IDENTIFIER,
        "robmon: all models",
        "Which model needs somebody, worst first, and which does nobody watch?",
        variables(),
        {
            "Which model needs somebody?": lambda: [*counts(), worst_first(), timeline()],
            "How do they compare?": side_by_side,
        },
    )
