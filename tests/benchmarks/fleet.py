"""A fleet of 200 models of three pods each in one Prometheus: series, rules, and the overview's queries.

    python tests/benchmarks/fleet.py [--models 200] [--pods 3]

Every pod exports what a pod exports at most by default. One process serves them all, a path a pod. Prometheus scrapes
them at the shipped interval, evaluates the shipped rules, and is asked what the dashboard of all models asks. Prints
what is required; exit status 1 if a requirement is not met.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from grafana import asking
from robmon.export.circumstances import Circumstances
from tests.benchmarks._figures import Requirement, judge
from tests.export.test_series import MOST_SERIES, exposed, series
from tests.servers import wait_until
from tests.watching.prometheus import PROMETHEUS_FILES, get_json, prometheus_server, query

BOARD = "robmon-overview"
MAX_QUERY_SECONDS = 2.0
MAX_EVALUATION_SECONDS = 5.0
SCRAPES = 3
PAGE = exposed(Circumstances())
TIMES = re.compile(r"^(robmon_\w*timestamp_seconds(?:{.*})?) .*$", re.MULTILINE)


class Fleet(ThreadingHTTPServer):
    """Whose clients may go at any time."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class Pods(BaseHTTPRequestHandler):
    """Every pod of every model, as it is now: its path is /MODEL/POD."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer what the pod exports."""
        model = self.path.split("/")[1]
        text = TIMES.sub(rf"\1 {time.time()}", PAGE.replace('model_name="digits"', f'model_name="{model}"')).encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def configuration(port: int, models: int, pods: int) -> dict[str, Any]:
    """The shipped one, with these targets."""
    config: dict[str, Any] = yaml.safe_load((PROMETHEUS_FILES / "scrape.yaml").read_text())
    config.pop("alerting")
    [job] = config["scrape_configs"]
    job["static_configs"] = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                "__metrics_path__": f"/model-{model}/{pod}",
                "instance": f"{model}-{pod}",
                "namespace": f"n{model % 7}",
            },
        }
        for model in range(models)
        for pod in range(pods)
    ]
    config["rule_files"] = [str(PROMETHEUS_FILES / name) for name in ("rules.yaml", "alerts.yaml")]
    return config


def measured(url: str, models: int, pods: int) -> Iterator[Requirement]:
    """What is required of it."""
    wait_until(lambda: query(url, f"count(up == 1) == {models * pods}"), 300, "every pod is scraped")
    wait_until(
        lambda: query(url, f"count(count_over_time(up[10m]) >= {SCRAPES}) == {models * pods}"), 300, "more scrapes"
    )
    each = len(series(PAGE))
    yield each <= MOST_SERIES, f"a pod has at most {MOST_SERIES} series", f"{each}, {len(PAGE.encode())} bytes a scrape"
    total = get_json(f"{url}/api/v1/status/tsdb")["data"]["headStats"]["numSeries"]
    yield True, f"{models * pods} pods", f"{total} series in Prometheus, with the rules' own"
    groups = get_json(f"{url}/api/v1/rules")["data"]["groups"]
    slowest = max(group["evaluationTime"] for group in groups)
    failed = [rule["lastError"] for group in groups for rule in group["rules"] if rule["health"] == "err"]
    yield not failed and slowest <= MAX_EVALUATION_SECONDS, "rules are evaluated in time", f"{slowest:.3f} s, {failed}"
    seconds, rows = {}, 0
    for panel in asking.panels(asking.boards()[BOARD]):
        for target in panel["targets"]:
            began = time.perf_counter()
            found = query(url, asking.asked(target["expr"], ""))
            seconds[panel["title"], target["refId"]] = time.perf_counter() - began
            rows = max(rows, len(found))
    (title, _), longest = max(seconds.items(), key=lambda item: item[1])
    yield rows == models, "every model has a row", str(rows)
    told = f"{longest:.3f} s ({title}), all {len(seconds)} queries {sum(seconds.values()):.3f} s"
    yield longest <= MAX_QUERY_SECONDS, "the overview answers", told


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--pods", type=int, default=3)
    given = parser.parse_args()
    server = Fleet(("127.0.0.1", 0), Pods)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(server.server_port, given.models, given.pods)
        with prometheus_server(Path(folder), config) as url:
            met = judge(measured(url, given.models, given.pods))
    server.shutdown()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
