"""Builds grafana/dashboards/robmon-model.json: the dashboard of one watched model.

Run it after a change (`python grafana/build.py`); the JSON is committed, and a test holds that both agree.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import barchart, bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

OUTPUT = Path(__file__).resolve().parent / "dashboards" / "robmon-model.json"

DATASOURCE = common_models.DataSourceRef(type_val="prometheus", uid="$datasource")

PROCESS = 'job=~"$job", instance=~"$instance"'
STATE = f'{PROCESS}, model_name="$model_name"'
MEASUREMENT = f'{STATE}, model_version=~"$model_version"'
CURVE = f'{MEASUREMENT}, reference="prediction"'
OUTPUT_CURVE = f'{CURVE}, space=""'
"""Without what stands in the units of a verdict."""

# Counters and process metrics carry no model_name; the gauge that is always there says which process watches the model.
OF_MODEL = f"and on (job, instance) robmon_last_assessment_timestamp_seconds{{{STATE}}}"
# A curve is one pod's: a maximum or an average of bounds is no bound.
OF_LAST_POD = f"and on (job, instance) topk(1, robmon_last_assessment_timestamp_seconds{{{STATE}}})"

JS_THRESHOLD = 0.2
MISMATCH_THRESHOLD = 0.05

THIRD = 8
HALF = 12
QUARTER = 6


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the legend of its series."""

    expr: str
    legend: str


def target(query: Query, ref_id: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref_id).datasource(DATASOURCE)


def described(panel: Any, title: str, description: str, unit: str, width: int, height: int = 8) -> Any:
    return panel.title(title).description(description).unit(unit).span(width).height(height).datasource(DATASOURCE)


def over_time(title: str, description: str, unit: str, width: int, *queries: Query) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).display_mode(common_models.LegendDisplayMode.LIST)
    panel: timeseries.Panel = described(timeseries.Panel(), title, description, unit, width)
    panel.legend(legend.placement(common_models.LegendPlacement.BOTTOM).calcs([])).axis_soft_min(0)
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    for index, query in enumerate(queries):
        panel.with_target(target(query, chr(ord("A") + index)))
    return panel


def now(title: str, description: str, unit: str, *queries: Query) -> stat.Panel:
    panel: stat.Panel = described(stat.Panel(), title, description, unit, QUARTER, height=4)
    panel.graph_mode(common_models.BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    for index, query in enumerate(queries):
        panel.with_target(target(query, chr(ord("A") + index)).instant())
    return panel


def names(panel: stat.Panel) -> stat.Panel:
    """Show the series' names instead of their values."""
    return panel.text_mode(common_models.BigValueTextMode.NAME).thresholds(steps((None, "text")))


def steps(*thresholds: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    built = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    return built.steps([models.Threshold(value, color) for value, color in thresholds])


def with_limit(panel: Any, limit: float) -> Any:
    line = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(steps((None, "green"), (limit, "red"))).thresholds_style(line)


def regression() -> stat.Panel:
    panel = now(
        "Robustness regression",
        "1 while a version that is less robust than the last accepted one stands, in any pod. It is a state: it stays "
        "until a version passes or this one is accepted. Pending: why there is no verdict that can be relied on.",
        units.Short,
        Query(f"max by (kind) (robmon_regression_detected{{{STATE}}})", "{{kind}}"),
        Query(f"2 * max by (reason) (robmon_comparison_pending{{{STATE}}} == 1)", "no verdict: {{reason}}"),
    )
    texts = {
        "0": models.ValueMappingResult(text="none", color="green", index=0),
        "1": models.ValueMappingResult(text="REGRESSION", color="red", index=1),
        "2": models.ValueMappingResult(text="PENDING", color="orange", index=2),
    }
    panel.mappings([models.ValueMap(options=texts)])
    panel.no_value("no verdict")
    return panel.thresholds(steps((None, "green"), (1, "red"), (2, "orange"))).color_mode(
        common_models.BigValueColorMode.BACKGROUND
    )


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


def ratio() -> stat.Panel:
    panel = now(
        "Against the accepted version",
        "Noise error of the version judged last over that of the accepted version, on the same inputs and noise, all "
        "levels together, with its confidence limits: 1 is equally robust, 2 twice as sensitive.",
        units.Short,
        Query(f"max(robmon_version_ratio{{{STATE}}})", "ratio"),
        Query(f"min(robmon_version_ratio_lower{{{STATE}}})", "at least"),
        Query(f"max(robmon_version_ratio_upper{{{STATE}}})", "at most"),
    )
    panel.decimals(2).no_value("no verdict")
    return panel.thresholds(steps((None, "green"), (1.1, "orange"), (2, "red")))


def curve() -> barchart.Panel:
    queries = [
        Query(f"robmon_noise_mse{{{OUTPUT_CURVE}}} {OF_LAST_POD}", "mean"),
        Query(f"robmon_noise_mse_bound{{{CURVE}}} {OF_LAST_POD}", "bound"),
        Query(
            f"robmon_noise_mse{{{OUTPUT_CURVE}}} / ignoring (reference) "
            f"robmon_noise_mse_baseline_ratio{{{MEASUREMENT}}} {OF_LAST_POD}",
            "mean in the baseline",
        ),
    ]
    panel: barchart.Panel = described(
        barchart.Panel(),
        "Noise robustness curve",
        "Mean squared change of the outputs at each noise level, its upper bound at the stated confidence, and the "
        "mean in the baseline, of the pod that assessed last (bounds of several pods cannot be summed up; choose an "
        "instance to see another). Bars, because the levels are labels, which are text to Grafana. A missing bar at a "
        "level where others stand is an infinite one: see Non-finite outputs.",
        units.Short,
        HALF,
    )
    panel.orientation(common_models.VizOrientation.VERTICAL).x_field("level").stacking(common_models.StackingMode.NONE)
    panel.show_value(common_models.VisibilityMode.NEVER).bar_width(0.9).group_width(0.8).min(0).axis_label("MSE")
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .calcs([])
    )
    for ref_id, query in zip("ABC", queries, strict=True):
        panel.with_target(target(query, ref_id).instant().format(PromQueryFormat.TABLE))
    for transformation in by_level(
        {f"Value #{ref_id}": query.legend for ref_id, query in zip("ABC", queries, strict=True)}
    ):
        panel.with_transformation(transformation)
    return panel


def by_level(column_names: dict[str, str]) -> list[models.DataTransformerConfig]:
    """One table, a row a level in numerical order, from one table a query."""

    def convert(destination: str) -> models.DataTransformerConfig:
        conversions = [{"targetField": "level", "destinationType": destination}]
        return models.DataTransformerConfig("convertFieldType", options={"conversions": conversions, "fields": {}})

    return [
        models.DataTransformerConfig("filterFieldsByName", options={"include": {"pattern": "^(level|Value.*)$"}}),
        models.DataTransformerConfig("joinByField", options={"byField": "level", "mode": "outer"}),
        convert("number"),
        models.DataTransformerConfig("sortBy", options={"fields": {}, "sort": [{"field": "level", "desc": False}]}),
        convert("string"),
        models.DataTransformerConfig(
            "organize", options={"excludeByName": {}, "indexByName": {}, "renameByName": column_names}
        ),
    ]


def robustness_panels() -> list[Any]:
    return [
        regression(),
        versions(),
        since(),
        ratio(),
        curve(),
        over_time(
            "Bound over time",
            "Upper bound of the mean squared change of the outputs at each noise level, a series a pod. It holds for a "
            "further trial on the same rows with the stated confidence. Measurements end when they are no longer true.",
            units.Short,
            HALF,
            Query(
                f"robmon_noise_mse_bound{{{MEASUREMENT}}}", "level {{level}}, version {{model_version}}, {{instance}}"
            ),
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
                f"avg by (level, model_version) (robmon_prediction_agreement_ratio{{{MEASUREMENT}}})",
                "level {{level}}, version {{model_version}}",
            ),
        ).max(1),
        with_limit(
            over_time(
                "Noise MSE against the baseline",
                "Mean noise MSE over the baseline's, at each level: 1 is no change. Absent while that is learnt.",
                units.Short,
                QUARTER,
                Query(
                    f"avg by (level, model_version) (robmon_noise_mse_baseline_ratio{{{MEASUREMENT}}})",
                    "level {{level}}, version {{model_version}}",
                ),
            ),
            1.5,
        ),
        *detection_panels(),
    ]


def detection_panels() -> list[Any]:
    threshold = f"max by (model_version) (robmon_regression_evidence_threshold{{{MEASUREMENT}}})"
    evidence = over_time(
        "Evidence over time",
        "Evidence that the version has become worse than its baseline's worst hour, averaged over pods as "
        "the alert has it. Logarithmic; nothing is shown while the baseline spans less than a day.",
        units.Short,
        HALF,
        Query(f"avg by (model_version) (robmon_regression_evidence{{{MEASUREMENT}}})", "version {{model_version}}"),
        Query(threshold, "threshold, version {{model_version}}"),
    )
    evidence.scale_distribution(common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10.0))
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
    return [evidence, names(state), smallest.decimals(2).no_value("nothing yet").thresholds(steps((None, "text")))]


def most_drifted() -> bargauge.Panel:
    panel: bargauge.Panel = described(
        bargauge.Panel(),
        "Most drifted features",
        "Jensen-Shannon distance of the ten features furthest from the baseline, averaged over pods: 0 is the same "
        "distribution, 1 is one without anything in common. Above 0.2 is a large change.",
        units.Short,
        THIRD,
    )
    panel.orientation(common_models.VizOrientation.HORIZONTAL).display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).decimals(2).min(0)
    panel.thresholds(steps((None, "green"), (0.1, "orange"), (JS_THRESHOLD, "red")))
    features = f'robmon_input_drift{{{MEASUREMENT}, statistic="js"}}'
    query = Query(f"sort_desc(topk(10, avg by (feature) ({features})))", "{{feature}}")
    return panel.with_target(target(query, "A").instant())


def input_panels() -> list[Any]:
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
        with_limit(
            over_time(
                "Drift of the furthest feature",
                "Jensen-Shannon distance of the feature furthest from the baseline, averaged over pods; the alert's "
                "threshold is dashed.",
                units.Short,
                THIRD,
                Query(
                    "max by (model_version) (avg by (feature, model_version) "
                    f'(robmon_input_drift{{{MEASUREMENT}, statistic="js"}}))',
                    "version {{model_version}}",
                ),
            ),
            JS_THRESHOLD,
        ),
        over_time(
            "Rows with a problem",
            "Share of the sample's rows whose value of a feature is missing, new (unseen), out of the baseline's "
            "range, infinite or of another type, averaged over pods: the five worst.",
            units.PercentUnit,
            HALF,
            Query(
                f"topk(5, avg by (feature, problem) (robmon_input_quality_ratio{{{MEASUREMENT}}}) > 0)",
                "{{feature}}: {{problem}}",
            ),
        ),
        over_time(
            "Prediction drift",
            "Jensen-Shannon distance of the clean outputs from the baseline's, averaged over pods.",
            units.Short,
            HALF,
            Query(
                f'avg by (feature, model_version) (robmon_prediction_drift{{{MEASUREMENT}, statistic="js"}})',
                "{{feature}}, version {{model_version}}",
            ),
        ),
    ]


def rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{PROCESS}}}[$__rate_interval]) {OF_MODEL})"


def increase(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}{{{PROCESS}}}[$__rate_interval]) {OF_MODEL})"


def lag(share: float) -> str:
    rates = rate("robmon_event_loop_lag_seconds_bucket", "instance, le")
    return f"histogram_quantile({share:g}, {rates})"


def health_panels() -> list[Any]:
    phase_sum = rate("robmon_assessment_duration_seconds_sum", "phase")
    phase_count = rate("robmon_assessment_duration_seconds_count", "phase")
    return [
        over_time(
            "Assessments",
            "Assessments finished, by outcome and reason, in each interval of the graph, over all pods.",
            units.Short,
            THIRD,
            Query(increase("robmon_assessments_total", "outcome, reason"), "{{outcome}} ({{reason}})"),
        ),
        over_time(
            "Age of the last good assessment",
            "Seconds since the last good assessment, a series a pod. A pod without one has none here.",
            units.Seconds,
            THIRD,
            Query(f"time() - (robmon_last_assessment_timestamp_seconds{{{STATE}}} > 0)", "{{instance}}"),
        ),
        over_time(
            "Duration by phase",
            "Mean duration of each phase of an assessment, over all pods.",
            units.Seconds,
            THIRD,
            Query(f"{phase_sum} / ({phase_count} > 0)", "{{phase}}"),
        ),
        over_time(
            "Sample",
            "Rows that the next assessment will use, a series a pod.",
            units.Short,
            THIRD,
            Query(f"robmon_sample_rows{{{STATE}}}", "{{instance}}"),
        ),
        over_time(
            "Inputs",
            "Mirrored requests received and rejected a second, over all pods.",
            units.RequestsPerSecond,
            THIRD,
            Query(rate("robmon_inputs_received_total", "source"), "received ({{source}})"),
            Query(rate("robmon_inputs_rejected_total", "source, reason"), "rejected ({{source}}, {{reason}})"),
        ),
        over_time(
            "Memory",
            "Resident memory of the daemon and of the worker that runs the model, a series a pod.",
            units.BytesIEC,
            THIRD,
            Query(f"process_resident_memory_bytes{{{PROCESS}}} {OF_MODEL}", "daemon, {{instance}}"),
            Query(f"robmon_worker_resident_memory_bytes{{{STATE}}}", "worker, {{instance}}"),
        ),
        over_time(
            "Memory of the GPU",
            "The most memory of a CUDA device that the worker held in its last assessment, a series a pod. None on a "
            "CPU.",
            units.BytesIEC,
            THIRD,
            Query(
                f"robmon_device_memory_bytes{{{STATE}}} * on (job, instance) group_left (device, precision) "
                f"robmon_device_info{{{STATE}}}",
                "{{device}}, {{instance}}",
            ),
        ),
        over_time(
            "Batches",
            "Most rows that the model is given at a time, a series a pod; how often memory ran out and batches were "
            "halved, in each interval of the graph.",
            units.Short,
            THIRD,
            Query(f"robmon_engine_batch_rows{{{STATE}}}", "rows, {{instance}}"),
            Query(increase("robmon_out_of_memory_retries_total", "job"), "out of memory"),
        ),
        over_time(
            "Event loop lag",
            "How late the daemon comes to what is due, 99 % of the times and 50 %, a series a pod: it is this late for "
            "the kubelet's probe, too.",
            units.Seconds,
            THIRD,
            Query(lag(0.99), "99 %, {{instance}}"),
            Query(lag(0.5), "50 %, {{instance}}"),
        ),
        over_time(
            "Worker restarts",
            "Restarts of the process that runs the model, by reason, in each interval of the graph.",
            units.Short,
            THIRD,
            Query(increase("robmon_worker_restarts_total", "reason"), "{{reason}}"),
        ),
        over_time(
            "Model failures",
            "Model versions that could not be fetched or loaded, by stage and reason, in each interval of the graph.",
            units.Short,
            THIRD,
            Query(increase("robmon_model_failures_total", "stage, reason"), "{{stage}}: {{reason}}"),
        ),
        over_time(
            "Non-finite outputs",
            "Model outputs that were NaN or infinite, by noise level, in each interval of the graph. The bound is then "
            "infinite.",
            units.Short,
            THIRD,
            Query(increase("robmon_nonfinite_outputs_total", "level"), "level {{level}}"),
        ),
        with_limit(
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
        over_time(
            "Labels",
            "Labels told, by what became of them, in each interval of the graph. Most requests are not sampled, so "
            "most labels are unknown.",
            units.Short,
            THIRD,
            Query(increase("robmon_labels_total", "outcome"), "{{outcome}}"),
        ),
    ]


def variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    built = dashboard.QueryVariable(name).label(label).datasource(DATASOURCE)
    built.query({"query": query, "refId": name}).definition(query)
    return built.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.NATURAL_ASC)


def several(built: dashboard.QueryVariable) -> dashboard.QueryVariable:
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    return built.multi(True).include_all(True).all_value(".+").current(everything)


def variables() -> list[Any]:
    model = 'job=~"$job", model_name="$model_name"'
    always = "robmon_last_assessment_timestamp_seconds"
    return [
        dashboard.DatasourceVariable("datasource").label("Data Source").type("prometheus"),
        several(variable("job", "Job", f"label_values({always}, job)")),
        variable("model_name", "Model", f'label_values({always}{{job=~"$job"}}, model_name)'),
        several(variable("instance", "Instance", f"label_values({always}{{{model}}}, instance)")),
        several(variable("model_version", "Version", f"label_values(robmon_model_info{{{model}}}, model_version)")),
    ]


ROWS = {
    "Is it robust?": robustness_panels,
    "Are the inputs the same?": input_panels,
    "Is robmon healthy?": health_panels,
}


def build() -> str:
    """The dashboard as JSON text."""
    board = dashboard.Dashboard("robmon: model").uid("robmon-model").tags(["robmon"]).readonly()
    board.description("Is this model still as robust as the version it replaced, and is robmon able to tell?")
    board.time("now-6h", "now").refresh("1m").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    for item in variables():
        board.with_variable(item)
    for title, panels in ROWS.items():
        board.with_row(dashboard.Row(title))
        for panel in panels():
            board.with_panel(panel)
    content = board.build()
    for number, panel in enumerate(content.panels or [], start=1):
        panel.id_val = number
    return json.dumps(content, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(build(), encoding="utf-8")
