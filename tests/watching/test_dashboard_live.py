"""Every query of every panel and rule answers, in a real Prometheus with the shipped rules that scrapes a fleet.

Two models export the whole contract, from two pods each: a classifier, whose verdict has units of its own, and a
regression. The others are each in one of the states that the overview tells apart; some have no cluster or namespace.
What Grafana makes of the answers is what its own engine of transformations, `@grafana/data`, makes of them.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from grafana.asking import asked
from tests.servers import wait_until
from tests.watching.contract import COUNTERS, LABELS, PROMETHEUS, SOMETIMES
from tests.watching.dashboards import BOARDS, Frame, expressions, panel, panels, transformed
from tests.watching.prometheus import PROMETHEUS_FILES, SHORT_RULES, get_json, prometheus_server, query

INTERVAL = "500ms"
CLASSIFIER, REGRESSION = "digits", "prices"
LEVELS = ("0", "0.05", "0.2", "2", "10")
"""In the order of numbers; as texts the last two change places."""
VALUES = {
    "attack": "worst",
    "kind": "version",
    "le": "+Inf",
    "model_version": "2",
    "reference": "prediction",
    "score": "mse",
    "statistic": "js",
    "state": "week",
}
STATE_NAMES = ["good", "drifted", "no verdict", "stale", "never assessed", "worse over time", "regression"]
OF_LEVELS: dict[str, Callable[[float], float]] = {
    "robmon_noise_mse": lambda level: level**2,
    "robmon_noise_mse_bound": lambda level: 1.5 * level**2,
    "robmon_reference_noise_mse": lambda level: level**2 / 4,
    "robmon_reference_noise_mse_bound": lambda level: level**2 / 2,
}


def infinite_at_10(level: float) -> float:
    """A model that has given NaN at the highest level."""
    return math.inf if level == 10 else 1.5 * level**2


class Contract(Collector):
    """All metrics of the contract (levelled ones at five levels, of the drifts two); counters grow each scrape."""

    def __init__(self, model_name: str) -> None:
        self._values = VALUES | {"model_name": model_name}
        self._values["space"] = "verdict" if model_name == CLASSIFIER else "output"
        self._scrapes = 0

    def collect(self) -> Iterator[Metric]:
        self._scrapes += 1
        for name, labels in LABELS.items():
            if name in PROMETHEUS:
                continue
            names = sorted(labels - SOMETIMES.get(name, set()))
            if name in COUNTERS:
                yield self._counter(name, names)
            else:
                yield self._gauge(name, names)

    def _counter(self, name: str, names: list[str]) -> Metric:
        # The client appends `_total` to counters' names; a histogram's parts are exported as gauges that grow.
        family = (CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily)(name, name, labels=names)
        for limit in ("+Inf", "0.1") if "le" in names else ("",):  # a quantile lies between two bounds
            family.add_metric(self._labelled(names, le=limit), self._scrapes)
        return family

    def _gauge(self, name: str, names: list[str]) -> Metric:
        family = GaugeMetricFamily(name, name, labels=names)
        value = OF_LEVELS.get(name, lambda level: time.time() if "timestamp" in name else 1)
        if (name, self._values["model_name"]) == ("robmon_noise_mse_bound", REGRESSION):
            value = infinite_at_10
        for level in LEVELS if "level" in names else ("1",):
            family.add_metric(self._labelled(names, level=level), value(float(level)))
            if name == "robmon_noise_mse" and self._values["space"] == "verdict":
                labels = dict(zip(names, self._labelled(names, level=level), strict=True))
                family.add_sample(name, labels | {"space": "verdict"}, 100 * value(float(level)))
            if "primary" in LABELS[name] and "level" in names:
                labels = dict(zip(names, self._labelled(names, level=level), strict=True))
                family.add_sample(name, labels | {"noise": "jpeg", "primary": "false"}, value(float(level)))
        if "feature" in names:
            family.add_metric(self._labelled(names, feature="all"), 1)
        return family

    def _labelled(self, names: list[str], **values: str) -> list[str]:
        return [({label: label} | self._values | values)[label] for label in names]


class InState(Collector):
    """One model that is in one state, by a few gauges."""

    def __init__(self, model_name: str, *gauges: tuple[str, dict[str, str], Callable[[], float]]) -> None:
        self._model_name = model_name
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, labels, value in self._gauges:
            family = GaugeMetricFamily(name, name, labels=["model_name", *labels])
            family.add_metric([self._model_name, *labels.values()], value())
            yield family


def assessed(ago_seconds: float = 0) -> tuple[str, dict[str, str], Callable[[], float]]:
    return "robmon_last_assessment_timestamp_seconds", {}, lambda: time.time() - ago_seconds


def gauge(name: str, value: float, **labels: str) -> tuple[str, dict[str, str], Callable[[], float]]:
    return f"robmon_{name}", labels, lambda: value


VERSION = {"model_version": "2"}
AGAINST = {"reference_version": "1", "score": "mse"}
# A name with what PromQL, regular expressions and JSON could trip over.
REGRESSED = 'fac"es.\\d+'
IN_STATES = [
    InState(
        REGRESSED,
        assessed(),
        gauge("regression_detected", 1, kind="version"),
        gauge("version_ratio", 4.26, **AGAINST),
        gauge("version_ratio_lower", 3.5, **AGAINST),
        gauge("version_ratio_upper", 5.0, **AGAINST),
    ),
    InState(  # another pod of it, in a rollout: neither limit is that of the largest ratio
        REGRESSED,
        assessed(),
        gauge("version_ratio", 1.05, reference_version="0", score="mse"),
        gauge("version_ratio_lower", 0.9, reference_version="0", score="mse"),
        gauge("version_ratio_upper", 5.5, reference_version="0", score="mse"),
    ),
    InState(
        "slow",
        assessed(),
        gauge("regression_detected", 1, kind="time"),
        gauge("regression_evidence", 50_000, **VERSION),
        gauge("regression_evidence_threshold", 43_200, **VERSION),
    ),
    InState("never", gauge("last_assessment_timestamp_seconds", 0)),
    InState("stale", assessed(3600), gauge("regression_detected", 0, kind="version")),
    InState("pending", assessed(), gauge("comparison_pending", 1, reason="failed")),
    InState(
        "drifted",
        assessed(),
        gauge("input_drift", 0.5, feature="age", statistic="js", **VERSION),
        gauge("input_drifted_features", 1, **VERSION),
        gauge("input_features_watched", 4, **VERSION),
    ),
    InState(
        "good", assessed(), gauge("regression_detected", 0, kind="version"), gauge("version_ratio", 0.9, **AGAINST)
    ),
]
PLACED = {CLASSIFIER: {"cluster": "eu", "namespace": "shop"}, REGRESSION: {"namespace": "shop"}}


@contextlib.contextmanager
def exporter(collector: Collector) -> Iterator[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    for name in ("rules.yaml", "alerts.yaml"):
        content = yaml.safe_load((PROMETHEUS_FILES / name).read_text())
        for rule in (rule for group in content["groups"] for rule in group["rules"] if "alert" in rule):
            rule.update(SHORT_RULES)
        (folder / name).write_text(yaml.safe_dump(content, width=10_000))
    with contextlib.ExitStack() as stack:
        static = [
            {"targets": [stack.enter_context(exporter(Contract(model))) for _ in range(2)], "labels": labels}
            for model, labels in PLACED.items()
        ]
        static.append({"targets": [stack.enter_context(exporter(each)) for each in IN_STATES]})
        config = {
            "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": ["rules.yaml", "alerts.yaml"],
            "scrape_configs": [{"job_name": "robmon", "static_configs": static}],
        }
        url = stack.enter_context(prometheus_server(folder, config))
        wait_until(lambda: query(url, "count(robmon_assessments_total >= 4) == 4"), what="four scrapes of each pod")
        firing = 'count(ALERTS{alertname="RobmonRegressionOverTime", alertstate="firing"})'
        wait_until(lambda: query(url, firing), what="the alert that stands on most rules")
        yield url


def ask(url: str, expression: str, model_name: str = CLASSIFIER) -> list[dict[str, Any]]:
    """What a panel's query answers, with all variables on All, and that of the model on one where it is asked for."""
    return query(url, asked(expression, model_name))


@pytest.fixture(scope="module")
def frames(prometheus: str) -> dict[tuple[str, str, str], list[Frame]]:
    """All panels, of both models, as Grafana's engine leaves them: by dashboard, title and model."""
    questions = {
        (board, one["title"], model): (
            one,
            {each["refId"]: ask(prometheus, each["expr"], model) for each in one["targets"]},
        )
        for board in BOARDS
        for one in panels(board)
        for model in (CLASSIFIER, REGRESSION)
    }
    return dict(zip(questions, transformed(questions.values()), strict=True))


def test_every_expression_answers(prometheus: str) -> None:
    """Of one of the two models: their verdicts have different units."""
    for board, expression in expressions():
        wait_until(  # of a busy machine some scrapes are missing
            lambda expression=expression: ask(prometheus, expression) or ask(prometheus, expression, REGRESSION),
            what=f"{board}: {expression}",
        )


def test_every_panel_has_data(frames: dict[tuple[str, str, str], list[Frame]]) -> None:
    for (board, title, model), found in frames.items():
        assert any(values for frame in found for values in frame.values()), (board, title, model)


def test_every_rule_is_evaluated(prometheus: str) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = get_json(f"{prometheus}/api/v1/rules")["data"]["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else []

    found = wait_until(rules, what="every rule is evaluated")
    assert [rule["lastError"] for rule in found if rule["health"] != "ok"] == []
    assert len(found) > 15


def test_variables_offer_what_is_there(prometheus: str) -> None:
    def offered(board: str) -> dict[str, list[str]]:
        found = {}
        for variable in BOARDS[board]["templating"]["list"][1:]:
            [(selector, label)] = re.findall(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            selector = re.sub(r'=~?"\$\w+"', '=~".*"', selector)
            which = urllib.parse.urlencode({"match[]": selector})
            found[variable["name"]] = get_json(f"{prometheus}/api/v1/label/{label}/values?{which}")["data"]
        return found

    found = {board: offered(board) for board in BOARDS}
    for each in found.values():
        assert (each["cluster"], each["namespace"], each["job"]) == (["eu"], ["shop"], ["robmon"])
        assert len(each["model_name"]) == len(STATE_NAMES) + len(PLACED)
    assert found["robmon-model"]["model_version"] == ["2"]
    assert len(found["robmon-sidecar"]["instance"]) == len(IN_STATES) + 2 * len(PLACED)


def test_both_curves_stand_beside_each_other(frames: dict[tuple[str, str, str], list[Frame]]) -> None:
    """In the units of the verdict, levels in the order of numbers; a bound in other units is not among them."""
    [frame] = frames["robmon-model", "Both versions", CLASSIFIER]
    levels = [0.05, 0.2, 2, 10]
    assert list(frame) == ["level", "version served", "accepted version", "bound of the accepted version"]
    assert frame["level"] == levels
    assert frame["version served"] == pytest.approx([100 * level**2 for level in levels])
    assert frame["accepted version"] == pytest.approx([level**2 / 4 for level in levels])

    [frame] = frames["robmon-model", "Both versions", REGRESSION]
    assert list(frame) == ["level", "version served", "its bound", "accepted version", "bound of the accepted version"]
    assert frame["level"] == levels
    assert frame["version served"] == pytest.approx([level**2 for level in levels])
    assert frame["its bound"] == [pytest.approx(1.5 * level**2) for level in levels[:3]] + [None], "+Inf is not drawn"


def test_the_curve_in_units_of_the_outputs(frames: dict[tuple[str, str, str], list[Frame]]) -> None:
    for model in (CLASSIFIER, REGRESSION):
        [frame] = frames["robmon-model", "The version served, in units of its outputs", model]
        assert list(frame) == ["level", "mean", "bound", "mean in the baseline"]
        assert frame["level"] == [0.05, 0.2, 2, 10]
        assert frame["mean"] == pytest.approx([level**2 for level in frame["level"]])


def test_models_stand_worst_first(frames: dict[tuple[str, str, str], list[Frame]]) -> None:
    [frame] = frames["robmon-overview", "Models, worst first", CLASSIFIER]
    columns = ["State", "Model", "Cluster", "Namespace", "Job", "Ratio", "at least", "at most", "Index", "Evidence"]
    assert list(frame) == [*columns, "Drifted", "Assessed"]
    assert frame["State"] == [6, 6, 6, 5, 4, 3, 2, 1, 0]
    assert frame["Model"][0] == REGRESSED
    assert sorted(frame["Model"][1:3]) == [CLASSIFIER, REGRESSION]
    assert frame["Model"][3:] == ["slow", "never", "stale", "pending", "drifted", "good"]
    assert (frame["Ratio"][0], frame["at least"][0], frame["at most"][0]) == (4.26, 3.5, 5)
    at = frame["Model"].index
    assert frame["Evidence"][at("slow")] == pytest.approx(50_000 / 43_200)
    assert frame["Drifted"][at("drifted")] == 0.25
    assert frame["Assessed"][at("stale")] == pytest.approx(3600, abs=120)
    assert (frame["Cluster"][at(CLASSIFIER)], frame["Namespace"][at(REGRESSION)]) == ("eu", "shop")
    assert not frame["Cluster"][at("good")]


def test_limits_are_those_of_the_ratio_that_is_shown(prometheus: str) -> None:
    for title in ("Against the accepted version", "Ratio to the accepted version"):
        targets = panel("robmon-model", title)["targets"][:3]
        assert [target["legendFormat"] for target in targets] == ["ratio", "at least", "at most"]
        found = [ask(prometheus, target["expr"], REGRESSED) for target in targets]
        assert [[float(sample["value"][1]) for sample in each] for each in found] == [[4.26], [3.5], [5]], title


def test_states_have_their_names(frames: dict[tuple[str, str, str], list[Frame]]) -> None:
    """The same in table and timeline."""
    table, timeline = panel("robmon-overview", "Models, worst first"), panel("robmon-overview", "States over time")
    overrides = [each for each in table["fieldConfig"]["overrides"] if each["matcher"]["options"] == "State"]
    mapped = [each["value"] for override in overrides for each in override["properties"] if each["id"] == "mappings"]
    assert mapped == [timeline["fieldConfig"]["defaults"]["mappings"]]
    [options] = [each["options"] for each in mapped[0]]
    assert [options[str(rank)]["text"] for rank in range(len(options))] == STATE_NAMES
    values = [
        values for frame in frames["robmon-overview", "States over time", CLASSIFIER] for values in frame.values()
    ]
    assert {value for each in values for value in each if value < 10} == set(range(len(STATE_NAMES)))


def test_counts_are_those_of_the_table(prometheus: str) -> None:
    def told(title: str) -> float:
        [target] = panel("robmon-overview", title)["targets"]
        [sample] = ask(prometheus, target["expr"])
        return float(sample["value"][1])

    counts = {
        "Models": 9,
        "Regressions": 3,
        "Worse over time": 3,  # of those that export everything it is true, too
        "Not watched": 1,
        "Stale": 1,
        "No verdict": 3,
    }
    # On a busy machine a scrape may come too late for a moment.
    wait_until(lambda: {title: told(title) for title in counts} == counts, what=f"the counts {counts}")


def test_alerts_that_fire_are_listed(frames: dict[tuple[str, str, str], list[Frame]]) -> None:
    [frame] = frames["robmon-overview", "Alerts that fire", CLASSIFIER]
    assert list(frame)[:2] == ["Alert", "Severity"]
    assert frame["Alert"] == sorted(frame["Alert"])
    assert {"RobmonRobustnessRegression", "RobmonRegressionOverTime", "RobmonInputDrift"} <= set(frame["Alert"])


def test_a_level_is_one_series_over_pods(prometheus: str) -> None:
    for title in ("A prediction moves by less than", "Bound over time", "Mean error over time"):
        [target] = panel("robmon-model", title)["targets"]
        found = ask(prometheus, target["expr"])
        assert sorted(each["metric"]["level"] for each in found) == sorted(LEVELS[1:]), title
        assert all("instance" not in each["metric"] for each in found)


def test_another_models_processes_are_left_out(prometheus: str) -> None:
    for board, expression in expressions():
        if board != "robmon-overview":
            assert ask(prometheus, expression.replace("$model_name", "other")) == [], expression


def test_a_name_with_strange_signs_is_a_name(prometheus: str) -> None:
    found = ask(prometheus, panel("robmon-model", "Robustness regression")["targets"][0]["expr"], REGRESSED)
    assert [each["value"][1] for each in found] == ["1"]
