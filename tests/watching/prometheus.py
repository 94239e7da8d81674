"""A real Prometheus and a real Alertmanager for tests, on free loopback ports, with their files in a folder given."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.patience import PATIENCE_SECONDS
from tests.servers import free_port, server

REPOSITORY = Path(__file__).resolve().parents[2]
PROMETHEUS_FILES = REPOSITORY / "deploy" / "prometheus"

SHORT_RULES = {"for": "0s", "keep_firing_for": "0s"}


@contextlib.contextmanager
def prometheus_server(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Prometheus with that configuration; yields its base URL. Relative `rule_files` are looked up in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(dict(config)))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with server(command, f"{url}/-/ready", folder / "prometheus.log"):
        yield url


@contextlib.contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Somebody whom Alertmanager notifies: its URL, and the alerts that it is told of, as they come."""
    told: list[dict[str, Any]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/", told
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def alertmanager(folder: Path, notified: str | None = None) -> Iterator[str]:
    """Alertmanager without clustering that notifies that webhook, or nobody; yields its base URL."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "alertmanager.yaml"
    receiver: dict[str, Any] = {"name": "somebody"}
    if notified is not None:
        receiver["webhook_configs"] = [{"url": notified, "send_resolved": True}]
    route = {"receiver": "somebody", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"}
    file.write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["prometheus-alertmanager", f"--config.file={file}", f"--storage.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=warn"]
    with server(command, f"{url}/-/ready", folder / "alertmanager.log"):
        yield url


def live_config(
    folder: Path,
    target: str,
    alertmanager_url: str,
    interval: str = "250ms",
    groups: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The shipped configuration and rules with that target, a short interval and no waiting before an alert fires.

    Where groups of rules are given, as the chart renders them, they are in the rules' place, as they are.
    """
    config: dict[str, Any] = yaml.safe_load((PROMETHEUS_FILES / "scrape.yaml").read_text())
    config["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    [static] = config["alerting"]["alertmanagers"][0]["static_configs"]
    static["targets"] = [alertmanager_url.removeprefix("http://")]
    folder.mkdir(parents=True, exist_ok=True)
    if groups is not None:
        (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": list(groups)}, width=10_000))
        config["rule_files"] = ["rules.yaml"]
        return config
    for name in config["rule_files"]:
        content = yaml.safe_load((PROMETHEUS_FILES / name).read_text())
        for rule in (rule for group in content["groups"] for rule in group["rules"] if "alert" in rule):
            rule.update(SHORT_RULES)
        (folder / name).write_text(yaml.safe_dump(content, width=10_000))
    return config


def secured_config(target: str, token_file: Path, ca_file: Path, interval: str = "250ms") -> dict[str, Any]:
    """The shipped configuration for a port with a token and TLS, with that target and these files."""
    config: dict[str, Any] = yaml.safe_load((PROMETHEUS_FILES / "scrape-secured.yaml").read_text())
    config["global"] = {"scrape_interval": interval, "scrape_timeout": interval}
    [job] = config["scrape_configs"]
    job["authorization"]["credentials_file"] = str(token_file)
    job["tls_config"]["ca_file"] = str(ca_file)
    job["static_configs"][0]["targets"] = [target]
    return config


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """The samples of an instant query: `metric` (labels) and `value` (time, text)."""
    data = get_json(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")["data"]
    return list(data["result"])


def alerts(alertmanager_url: str) -> dict[str, dict[str, Any]]:
    """The alerts that Alertmanager holds, by name."""
    return {alert["labels"]["alertname"]: alert for alert in get_json(f"{alertmanager_url}/api/v2/alerts")}


def get_json(url: str) -> Any:
    """The JSON that a GET of `url` answers."""
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)
