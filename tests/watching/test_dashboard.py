"""The dashboard: built from its code, and by the rules of Grafana's dashboard linter."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.models import units

from tests.watching.contract import COUNTERS, LABELS
from tests.watching.prometheus import REPOSITORY
from tests.watching.promql import aggregations, children, matchers, parse, selectors

GRAFANA = REPOSITORY / "grafana"
DASHBOARD = GRAFANA / "dashboards" / "robmon-model.json"
UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}

BOARD = json.loads(DASHBOARD.read_text())
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]


# The classic format is what every Grafana from 10 to 13 loads.
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
def test_building_it_again_changes_nothing() -> None:
    assert runpy.run_path(str(GRAFANA / "build.py"))["build"]() == DASHBOARD.read_text()


def test_it_is_read_only_and_no_faster_than_the_data() -> None:
    assert BOARD["editable"] is False
    assert BOARD["uid"] == "robmon-model"
    assert BOARD["refresh"] == "1m"


def test_rows_ask_the_three_questions() -> None:
    rows = [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Is it robust?", "Are the inputs the same?", "Is robmon healthy?"]


def test_variables() -> None:
    assert list(VARIABLES) == ["datasource", "job", "model_name", "instance", "model_version"]
    assert VARIABLES["datasource"]["label"] == "Data Source"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    for name in ("job", "instance", "model_version"):
        assert VARIABLES[name]["multi"]
        assert VARIABLES[name]["includeAll"]
        assert VARIABLES[name]["allValue"] == ".+"
    for name, variable in VARIABLES.items():
        if name != "datasource":
            assert variable["datasource"]["uid"] == "$datasource"
            assert variable["refresh"] == 2, "on change of the time range"
            [selector] = re.findall(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert selector[1] in LABELS[parse(selector[0]).name] | {"job", "instance"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels(panel: dict[str, Any]) -> None:
    assert panel["datasource"]["uid"] == "$datasource"
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    if panel["type"] in {"timeseries", "barchart"}:
        assert panel["options"]["legend"]["showLegend"] is True


def test_panels_fill_the_grid_without_overlap() -> None:
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


@pytest.mark.parametrize(("title", "target"), TARGETS)
def test_targets(title: str, target: dict[str, Any]) -> None:
    assert target["datasource"]["uid"] == "$datasource"
    assert target["refId"]
    tree = parse(target["expr"])
    for selector in selectors(tree):
        found = matchers(selector)
        assert found["job"] == "=~$job"
        assert found["instance"] == "=~$instance"
        if "model_name" in LABELS[selector.name]:
            assert found["model_name"] == "=$model_name"
        if "model_version" in LABELS[selector.name] and selector.name != "robmon_model_info":
            assert found["model_version"] == "=~$model_version"
    assert "model_name" in target["expr"], "a counter of another model's process must not be counted"


@pytest.mark.parametrize(("title", "target"), TARGETS)
def test_counters_are_rated_then_summed(title: str, target: dict[str, Any]) -> None:
    def counters(node: Any) -> set[str]:
        return {selector.name for selector in selectors(node)} & COUNTERS

    tree = parse(target["expr"])
    for call in calls(tree):
        if call.func.name in {"rate", "increase"}:
            assert counters(call)
            assert "[$__rate_interval]" in target["expr"]
    summed = {name for aggregation in aggregations(tree) for name in counters(aggregation.expr)}
    rated = {name for call in calls(tree) if call.func.name in {"rate", "increase"} for name in counters(call)}
    assert counters(tree) == summed == rated


def calls(node: Any) -> list[Any]:
    mine = [node] if isinstance(node, promql_parser.Call) else []
    return mine + [call for child in children(node) for call in calls(child)]


def test_provisioning() -> None:
    [source] = (GRAFANA / "provisioning" / "datasources").glob("*.yaml")
    [provider] = (GRAFANA / "provisioning" / "dashboards").glob("*.yaml")
    sources, providers = yaml.safe_load(source.read_text()), yaml.safe_load(provider.read_text())
    assert sources["apiVersion"] == providers["apiVersion"] == 1
    assert [entry["type"] for entry in sources["datasources"]] == ["prometheus"]
    assert [entry["type"] for entry in providers["providers"]] == ["file"]
    for text in (source.read_text(), provider.read_text()):
        assert not re.search(r"(?<!\$)\$(?!\$)", text), "Grafana interpolates a single dollar"
