"""What the dashboards share: how series are selected and joined, kinds of panels, variables, the frame of a board."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = common_models.DataSourceRef(type_val="prometheus", uid="$datasource")
ALWAYS = "robmon_last_assessment_timestamp_seconds"
"""The gauge that every robmon has from its start on, whatever becomes of it."""

# Cluster and namespace are labels that not every Prometheus has: `.*`, of a variable that stands on All, matches none
# too, and labels that are nowhere are equal.
PLACE = 'cluster=~"$cluster", namespace=~"$namespace", job=~"$job"'
MODEL = "cluster, namespace, job, model_name"
"""What one model is, over its pods."""
POD = "cluster, namespace, job, instance"
"""What one pod is."""

FULL = 24
HALF = 12
THIRD = 8
QUARTER = 6
SIXTH = 4


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the legend of its series."""

    expr: str
    legend: str


def target(query: Query, ref_id: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref_id).datasource(DATASOURCE)


def described(panel: Any, title: str, description: str, unit: str, width: int, height: int = 8) -> Any:
    return panel.title(title).description(description).unit(unit).span(width).height(height).datasource(DATASOURCE)


def legend() -> common.VizLegendOptions:
    built = common.VizLegendOptions().show_legend(True).display_mode(common_models.LegendDisplayMode.LIST)
    return built.placement(common_models.LegendPlacement.BOTTOM).calcs([])


def over_time(title: str, description: str, unit: str, width: int, *queries: Query) -> timeseries.Panel:
    """A graph that begins at 0."""
    return _graph(title, description, unit, width, *queries).axis_soft_min(0)


def in_decades(title: str, description: str, width: int, *queries: Query) -> timeseries.Panel:
    """A graph on a logarithmic axis, for levels that lie decades apart; other units show ticks below 0.1 as 0."""
    return (
        _graph(title, description, units.ScientificNotation, width, *queries)
        .scale_distribution(logarithmic())
        .decimals(1)
    )


def _graph(title: str, description: str, unit: str, width: int, *queries: Query) -> timeseries.Panel:
    panel: timeseries.Panel = described(timeseries.Panel(), title, description, unit, width)
    panel.legend(legend()).tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    for index, query in enumerate(queries):
        panel.with_target(target(query, chr(ord("A") + index)))
    return panel


def logarithmic() -> common.ScaleDistributionConfig:
    return common.ScaleDistributionConfig().type(common_models.ScaleDistribution.LOG).log(10.0)


def now(title: str, description: str, unit: str, *queries: Query, width: int = QUARTER) -> stat.Panel:
    panel: stat.Panel = described(stat.Panel(), title, description, unit, width, height=4)
    panel.graph_mode(common_models.BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    for index, query in enumerate(queries):
        panel.with_target(target(query, chr(ord("A") + index)).instant())
    return panel


def names(panel: stat.Panel) -> stat.Panel:
    """Show the series' names instead of their values."""
    return panel.text_mode(common_models.BigValueTextMode.NAME).thresholds(steps((None, "text")))


def bars(title: str, description: str, unit: str, width: int, query: Query) -> bargauge.Panel:
    """A bar a series, as it is now."""
    panel: bargauge.Panel = described(bargauge.Panel(), title, description, unit, width)
    panel.orientation(common_models.VizOrientation.HORIZONTAL).display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).decimals(2).min(0)
    return panel.with_target(target(query, "A").instant())


def as_tables(panel: Any, *queries: Query) -> Any:
    """A frame a query, a row a series, as it is now."""
    for index, query in enumerate(queries):
        panel.with_target(target(query, chr(ord("A") + index)).instant().format(PromQueryFormat.TABLE))
    return panel


def transformed(panel: Any, *transformations: tuple[str, Mapping[str, Any]]) -> Any:
    for identifier, options in transformations:
        panel.with_transformation(models.DataTransformerConfig(identifier, options=dict(options)))
    return panel


def steps(*thresholds: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    built = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE)
    return built.steps([models.Threshold(value, color) for value, color in thresholds])


def with_limit(panel: Any, limit: float) -> Any:
    line = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(steps((None, "green"), (limit, "red"))).thresholds_style(line)


def texts(*values: tuple[str, str, str]) -> list[Any]:
    """Texts and colours in the place of values."""
    return [
        models.ValueMap(
            options={
                value: models.ValueMappingResult(text=text, color=color, index=index)
                for index, (value, text, color) in enumerate(values)
            }
        )
    ]


def property_of(identifier: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=identifier, value=value)


def rate(metric: str, by: str, of: str, join: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{of}}}[$__rate_interval]) {join})"


def increase(metric: str, by: str, of: str, join: str) -> str:
    return f"sum by ({by}) (increase({metric}{{{of}}}[$__rate_interval]) {join})"


def variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    built = dashboard.QueryVariable(name).label(label).datasource(DATASOURCE)
    built.query({"query": query, "refId": name}).definition(query)
    return built.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.NATURAL_ASC)


def several(built: dashboard.QueryVariable) -> dashboard.QueryVariable:
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    return built.multi(True).include_all(True).all_value(".*").current(everything)


def place_variables() -> list[Any]:
    """Data source, cluster, namespace and job."""
    return [
        dashboard.DatasourceVariable("datasource").label("Data Source").type("prometheus"),
        several(variable("cluster", "Cluster", f"label_values({ALWAYS}, cluster)")),
        several(variable("namespace", "Namespace", f'label_values({ALWAYS}{{cluster=~"$cluster"}}, namespace)')),
        several(variable("job", "Job", f'label_values({ALWAYS}{{cluster=~"$cluster", namespace=~"$namespace"}}, job)')),
    ]


def marked(name: str, color: str, query: Query) -> models.AnnotationQuery:
    """A mark on every graph where a series is."""
    return models.AnnotationQuery(
        name=name,
        datasource=DATASOURCE,
        icon_color=color,
        expr=query.expr,
        title_format=query.legend,
        step="60s",
    )


def board(
    identifier: str,
    title: str,
    description: str,
    variables: Sequence[Any],
    rows: Mapping[str, Callable[[], list[Any]]],
    marks: Sequence[models.AnnotationQuery] = (),
) -> str:
    """A dashboard as JSON text."""
    built = dashboard.Dashboard(title).uid(identifier).tags(["robmon"]).readonly().description(description)
    built.time("now-6h", "now").refresh("1m").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    others = dashboard.DashboardLink("robmon").type(models.DashboardLinkType.DASHBOARDS).tags(["robmon"])
    built.link(others.include_vars(True).keep_time(True).as_dropdown(False))
    for item in variables:
        built.with_variable(item)
    for row, panels in rows.items():
        built.with_row(dashboard.Row(row))
        for panel in panels():
            built.with_panel(panel)
    content = built.build()
    content.annotations = models.AnnotationContainer(list(marks))
    for number, panel in enumerate(content.panels or [], start=1):
        panel.id_val = number
    return json.dumps(content, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
