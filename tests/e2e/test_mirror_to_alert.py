"""The whole way on real programs: client, nginx with its mirror, model server, robmon, Prometheus, Alertmanager."""

from __future__ import annotations

import contextlib
from pathlib import Path

import httpx

from tests.e2e.daemon import ROWS, running_daemon
from tests.e2e.proxies import nginx
from tests.e2e.registry import COLUMNS, Registry
from tests.servers import wait_until
from tests.watching.prometheus import alertmanager, alerts, live_config, prometheus_server, query


def test_a_mirrored_request_ends_as_an_alert(tmp_path: Path, served: Registry, model_url: str) -> None:
    model = served.model()
    good, fragile = model.add(1.0), model.add(2.0)
    model.serve(good)
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(running_daemon(tmp_path, model.uri, served.tracking_uri))
        proxy = stack.enter_context(nginx(tmp_path / "nginx", model_url, daemon.port("inputs_port")))
        client = stack.enter_context(httpx.Client(base_url=proxy, trust_env=False))
        for row in ROWS[:60]:
            body = {"dataframe_split": {"columns": list(COLUMNS), "data": [row]}}
            answer = client.post("/invocations", json=body)
            assert answer.json()["predictions"] == [row[0] + row[1]], "the client's answer is the model's"
        daemon.wait_for(lambda: daemon.count("robmon_inputs_received_total", source="mlflow") == 60, "60 copies")
        daemon.wait_for_assessments()

        manager = stack.enter_context(alertmanager(tmp_path / "alertmanager"))
        config = live_config(tmp_path / "prometheus", f"127.0.0.1:{daemon.port('http_port')}", manager)
        prometheus = stack.enter_context(prometheus_server(tmp_path / "prometheus", config))
        wait_until(lambda: query(prometheus, "robmon_noise_mse_bound"), 90, "a bound in Prometheus")
        assert "RobmonRobustnessRegression" not in alerts(manager)

        model.serve(fragile)
        daemon.wait_for(lambda: daemon.regression_stands, "the regression")
        alert = wait_until(lambda: alerts(manager).get("RobmonRobustnessRegression"), 90, "the alert")
        assert alert["labels"]["model_name"] == model.name
        assert f"version {fragile}" in alert["annotations"]["description"]
        [series] = query(prometheus, "scrape_samples_scraped")
        assert 100 < float(series["value"][1]) <= 200, "what Prometheus takes of a pod"

        model.serve(good)  # the on-call rolls back
        daemon.wait_for(lambda: not daemon.regression_stands, "the end of the regression")
        wait_until(
            lambda: not query(prometheus, 'ALERTS{alertname="RobmonRobustnessRegression", alertstate="firing"}'),
            90,
            "the end of the alert",
        )
