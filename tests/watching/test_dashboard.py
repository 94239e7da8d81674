"""The dashboards: built from their code, and by the rules of Grafana's dashboard linter."""

from __future__ import annotations

import json
import re
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.models import units

from tests.watching.contract import COUNTERS, LABELS
from tests.watching.dashboards import BOARDS, FOLDER, expressions, panels
from tests.watching.prometheus import REPOSITORY
from tests.watching.promql import aggregations, children, matchers, parse, selectors

GRAFANA = REPOSITORY / "grafana"
UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
MODEL, OVERVIEW, SIDECAR = "robmon-model", "robmon-overview", "robmon-sidecar"
PLACES = ["cluster", "namespace", "job"]
PANELS = [(name, panel) for name in BOARDS for panel in panels(name)]
TARGETS = [(name, panel["title"], target) for name, panel in PANELS for target in panel["targets"]]


# The classic format is what every Grafana from 10 to 13 loads.
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
def test_building_them_again_changes_nothing() -> None:
    from grafana import build

    assert build.dashboards() == {file.name: file.read_text() for file in FOLDER.glob("*.json")}


@pytest.mark.parametrize("name", BOARDS)
def test_they_are_read_only_and_no_faster_than_the_data(name: str) -> None:
    board = BOARDS[name]
    assert board["editable"] is False
    assert board["uid"] == name
    assert board["refresh"] == "1m"
    assert board["description"].endswith("?")
    assert len(json.dumps(board)) < 500_000, "a ConfigMap holds 1 MiB"


@pytest.mark.parametrize("name", BOARDS)
def test_each_leads_to_the_others_in_the_same_place(name: str) -> None:
    [link] = BOARDS[name]["links"]
    assert (link["type"], link["tags"], BOARDS[name]["tags"]) == ("dashboards", ["robmon"], ["robmon"])
    assert link["includeVars"] and link["keepTime"]


def test_rows_ask_questions() -> None:
    rows = {name: [panel["title"] for panel in BOARDS[name]["panels"] if panel["type"] == "row"] for name in BOARDS}
    assert rows == {
        MODEL: [
            *("Is it robust?", "Why is it not?", "Does it withstand an attack?", "Are the inputs the same?"),
            "Are queries unusual?",
        ],
        OVERVIEW: ["Which model needs somebody?", "How do they compare?"],
        SIDECAR: [
            "Does it assess?",
            "What does it cost?",
            "What does it do to the device?",
            "What is it given?",
        ],
    }


def test_variables() -> None:
    """Cluster and namespace are labels that not every Prometheus has: All matches none, too."""
    found = {name: {each["name"]: each for each in BOARDS[name]["templating"]["list"]} for name in BOARDS}
    shared = ["datasource", *PLACES, "model_name"]
    assert {name: list(variables) for name, variables in found.items()} == {
        MODEL: [*shared, "instance", "model_version"],
        OVERVIEW: shared,
        SIDECAR: [*shared, "instance"],
    }
    for name, variables in found.items():
        assert variables["datasource"]["query"] == "prometheus"
        for each in variables.values():
            if each["name"] == "datasource":
                continue
            if (name, each["name"]) != (MODEL, "model_name"):
                assert each["multi"] and each["includeAll"] and each["allValue"] == ".*"
                assert each["current"]["value"] == "$__all"
            assert each["datasource"]["uid"] == "$datasource"
            assert each["refresh"] == 2, "on change of the time range"
            [(selector, label)] = re.findall(r"label_values\((.*), (\w+)\)", each["query"]["query"])
            assert label in LABELS[parse(selector).name] | {*PLACES, "instance"}


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda value: value["title"] if isinstance(value, dict) else "")
def test_panels(name: str, panel: dict[str, Any]) -> None:
    assert panel["datasource"]["uid"] == "$datasource"
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    if panel["type"] in {"timeseries", "xychart", "state-timeline"}:
        assert panel["options"]["legend"]["showLegend"] is True


@pytest.mark.parametrize("name", BOARDS)
def test_panels_fill_the_grid_without_overlap(name: str) -> None:
    everything = BOARDS[name]["panels"]
    cells = [
        (x, y)
        for panel in everything
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))
    height = max(y for _, y in cells) + 1
    assert len(cells) == 24 * height, [y for y in range(height) if sum(each == y for _, each in cells) < 24]
    assert len({panel["id"] for panel in everything}) == len(everything)


@pytest.mark.parametrize(("name", "expression"), expressions())
def test_every_selector_is_of_the_place_and_the_model(name: str, expression: str) -> None:
    for selector in selectors(parse(expression)):
        found = matchers(selector)
        assert [found[label] for label in PLACES] == [f"=~${label}" for label in PLACES]
        if "model_name" in LABELS.get(selector.name, {"model_name"}):  # recording rules are of a model
            assert found["model_name"] == ("=$model_name" if name == MODEL else "=~$model_name")
        if name != OVERVIEW:
            assert found["instance"] == "=~$instance"
    if name != OVERVIEW:
        assert "model_name" in expression, "a counter of another model's process must not be counted"


@pytest.mark.parametrize(("name", "title", "target"), TARGETS)
def test_targets(name: str, title: str, target: dict[str, Any]) -> None:
    assert target["datasource"]["uid"] == "$datasource"
    assert target["refId"]


@pytest.mark.parametrize(("name", "expression"), expressions())
def test_counters_are_rated_then_summed(name: str, expression: str) -> None:
    def counters(node: Any) -> set[str]:
        return {selector.name for selector in selectors(node)} & COUNTERS

    tree = parse(expression)
    rated = {name for call in calls(tree) if call.func.name in {"rate", "increase"} for name in counters(call)}
    for call in calls(tree):
        if call.func.name in {"rate", "increase"}:
            assert counters(call)
            assert "[$__rate_interval]" in expression
    summed = {name for aggregation in aggregations(tree) for name in counters(aggregation.expr)}
    # Restarts of the evidence are rare, and their series begin with the first: they are shown as they stand.
    assert counters(tree) == summed == rated | (counters(tree) & {"robmon_detection_restarts_total"})


def calls(node: Any) -> list[Any]:
    mine = [node] if isinstance(node, promql_parser.Call) else []
    return mine + [call for child in children(node) for call in calls(child)]


def test_levels_that_lie_decades_apart_have_logarithmic_axes() -> None:
    logarithmic = {
        panel["title"]
        for panel in panels(MODEL)
        if panel["fieldConfig"]["defaults"].get("custom", {}).get("scaleDistribution", {}).get("type") == "log"
    }
    of_levels = {
        panel["title"]
        for panel in panels(MODEL)
        for target in panel["targets"]
        if re.search(r"noise_mse(_bound)?\{|request_change_bound", target["expr"])
    }
    assert of_levels <= logarithmic and "Evidence over time" in logarithmic
    for panel in panels(MODEL):
        for target in panel["targets"]:
            if panel["title"] in of_levels:
                assert 'level!="0"' in target["expr"] or "> 0" in target["expr"], "0 is nowhere on such an axis"


def test_provisioning() -> None:
    [source] = (GRAFANA / "provisioning" / "datasources").glob("*.yaml")
    [provider] = (GRAFANA / "provisioning" / "dashboards").glob("*.yaml")
    sources, providers = yaml.safe_load(source.read_text()), yaml.safe_load(provider.read_text())
    assert sources["apiVersion"] == providers["apiVersion"] == 1
    assert [entry["type"] for entry in sources["datasources"]] == ["prometheus"]
    assert [entry["type"] for entry in providers["providers"]] == ["file"]
    for text in (source.read_text(), provider.read_text()):
        assert not re.search(r"(?<!\$)\$(?!\$)", text), "Grafana interpolates a single dollar"
