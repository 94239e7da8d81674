"""The whole way on real programs: client, nginx with its mirror, model server, robmon, Prometheus, Alertmanager."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.e2e.daemon import ROWS, running_daemon
from tests.e2e.registry import COLUMNS, Registry
from tests.servers import free_port, model_server, server, wait_until
from tests.watching.prometheus import alertmanager, alerts, live_config, prometheus_server, query

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ mirror /mirror; proxy_pass {model}; }}
        location = /mirror {{ internal; proxy_pass http://127.0.0.1:{robmon}$request_uri; }}
    }}
}}
"""


@contextlib.contextmanager
def mirroring_proxy(folder: Path, model: str, robmon: int) -> Iterator[str]:
    """nginx in front of the model server, with the mirror that the README tells."""
    folder.mkdir()
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, model=model, robmon=robmon))
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    command = ["nginx", "-c", str(config), "-e", str(folder / "nginx-error.log")]
    url = f"http://127.0.0.1:{port}"
    with server(command, f"{url}/ping", folder / "nginx.log", {"PATH": path}):
        yield url


def test_a_mirrored_request_ends_as_an_alert(tmp_path: Path, local: Registry) -> None:
    model = local.model()
    good, fragile = model.add(1.0), model.add(2.0)
    model.serve(good)
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(running_daemon(tmp_path, model.uri, local.tracking_uri))
        serving = stack.enter_context(model_server(model.files(good), tmp_path))
        proxy = stack.enter_context(mirroring_proxy(tmp_path / "nginx", serving, daemon.port("inputs_port")))
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
        wait_until(lambda: query(prometheus, "robmon_noise_mse_bound"), 30, "a bound in Prometheus")
        assert "RobmonRobustnessRegression" not in alerts(manager)

        model.serve(fragile)
        daemon.wait_for(lambda: daemon.regression_stands, "the regression")
        alert = wait_until(lambda: alerts(manager).get("RobmonRobustnessRegression"), 30, "the alert")
        assert alert["labels"]["model_name"] == model.name
        assert f"version {fragile}" in alert["annotations"]["description"]

        model.serve(good)  # the on-call rolls back
        daemon.wait_for(lambda: not daemon.regression_stands, "the end of the regression")
        wait_until(
            lambda: not query(prometheus, 'ALERTS{alertname="RobmonRobustnessRegression", alertstate="firing"}'),
            30,
            "the end of the alert",
        )
