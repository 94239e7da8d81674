"""Every query of the dashboard answers, in a real Prometheus that scrapes two pods which export the whole contract."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tests.servers import wait_until
from tests.watching.contract import COUNTERS, LABELS, SOMETIMES
from tests.watching.prometheus import REPOSITORY, prometheus_server, query

BOARD = json.loads((REPOSITORY / "grafana" / "dashboards" / "robmon-model.json").read_text())
TARGETS = [(panel["title"], target) for panel in BOARD["panels"] for target in panel.get("targets", [])]
CURVE = {target["refId"]: target["expr"] for title, target in TARGETS if title == "Noise robustness curve"}

VALUES = {
    "le": "+Inf",
    "model_name": "digits",
    "model_version": "2",
    "reference": "prediction",
    "score": "mse",
    "level": "0.1",
    "statistic": "js",
}
VARIABLES = {"$job": ".+", "$instance": ".+", "$model_name": "digits", "$model_version": ".+"}


class Contract(Collector):
    """One series of every metric of the contract (of the drifts, two); counters grow by one each scrape."""

    def __init__(self) -> None:
        self._scrapes = 0

    def collect(self) -> Iterator[Metric]:
        self._scrapes += 1
        for name, labels in LABELS.items():
            if name == "up":
                continue
            names = sorted(labels - SOMETIMES.get(name, set()))
            values = [VALUES.get(label, label) for label in names]
            if name in COUNTERS:
                # The client appends `_total` to counters' names; a histogram's parts are exported as gauges that grow.
                counter = name.endswith("_total")
                family = (CounterMetricFamily if counter else GaugeMetricFamily)(name, name, labels=names)
                family.add_metric(values, self._scrapes)
                if "le" in names:  # a quantile lies between two bounds
                    family.add_metric(
                        ["0.1" if label == "le" else VALUES.get(label, label) for label in names], self._scrapes
                    )
            else:
                family = GaugeMetricFamily(name, name, labels=names)
                family.add_metric(values, time.time() if "timestamp" in name else 1)
                if "feature" in names:
                    family.add_metric([{"feature": "all"}.get(label, VALUES.get(label, label)) for label in names], 1)
            yield family


@contextlib.contextmanager
def exporter() -> Iterator[str]:
    registry = CollectorRegistry()
    registry.register(Contract())
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    interval = "250ms"
    with exporter() as first, exporter() as second:
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": "robmon", "static_configs": [{"targets": [first, second]}]}],
        }
        with prometheus_server(tmp_path_factory.mktemp("prometheus"), config) as url:
            wait_until(lambda: query(url, "count(robmon_assessments_total >= 4) == 2"), 90, "four scrapes of each pod")
            yield url


def ask(url: str, expression: str) -> list[dict[str, Any]]:
    for variable, value in VARIABLES.items():
        expression = expression.replace(f'"{variable}"', f'"{value}"')
    return query(url, expression.replace("$__rate_interval", "30s"))


def test_every_query_answers(prometheus: str) -> None:
    for title, target in TARGETS:  # of a busy machine some scrapes are missing
        wait_until(lambda expression=target["expr"]: ask(prometheus, expression), what=f"{title}, {target['refId']}")


def test_the_curve_is_one_pods(prometheus: str) -> None:
    for expression in CURVE.values():
        [series] = ask(prometheus, expression)
        assert series["metric"]["level"] == "0.1"


def test_another_models_processes_are_left_out(prometheus: str) -> None:
    for title, target in TARGETS:
        assert ask(prometheus, target["expr"].replace("$model_name", "other")) == [], title
