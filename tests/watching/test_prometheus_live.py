"""From an exporter's gauge to an alert in Alertmanager, by the shipped configuration and rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from tests.servers import wait_until
from tests.watching.prometheus import alertmanager, alerts, live_config, prometheus_server, query


def test_regression_reaches_alertmanager_and_resolves(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    detected = Gauge("robmon_regression_detected", "1 while one stands", ["model_name", "kind"], registry=registry)
    ratio = Gauge("robmon_version_ratio", "Ratio", ["model_name", "reference_version", "score"], registry=registry)
    versions = ["model_name", "model_version", "reference_version"]
    info = Gauge("robmon_regression_info", "1 while one stands", versions, registry=registry)
    detected.labels("digits", "version").set(0)
    ratio.labels("digits", "1", "mse").set(2.5)

    exporter, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        target = f"127.0.0.1:{exporter.server_port}"
        with alertmanager(tmp_path / "alertmanager") as receiver:
            folder = tmp_path / "prometheus"
            with prometheus_server(folder, live_config(folder, target, receiver)) as prometheus:
                wait_until(lambda: query(prometheus, "model:robmon_regression_detected:max == 0"), 90, "a scrape")
                assert alerts(receiver) == {}

                info.labels("digits", "2", "1").set(1)
                detected.labels("digits", "version").set(1)
                alert: dict[str, Any] = wait_until(
                    lambda: alerts(receiver).get("RobmonRobustnessRegression", {}), 90, "the alert"
                )
                assert alert["labels"]["severity"] == "warning"
                assert alert["labels"]["model_name"] == "digits"
                description = alert["annotations"]["description"]
                assert "Model digits version 2 (against 1) is less robust" in description
                assert "2.50 times as much" in description
                assert "accepted version 1" in description

                detected.labels("digits", "version").set(0)
                wait_until(lambda: "RobmonRobustnessRegression" not in alerts(receiver), 90, "the end of the alert")
    finally:
        exporter.shutdown()
        exporter.server_close()
        thread.join()
