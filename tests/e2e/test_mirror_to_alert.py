"""The whole way on real programs: client, nginx with its mirror, model server, robmon, Prometheus, Alertmanager and a
webhook; and back: what the alert says to do is done."""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import httpx

from tests import commands
from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.proxies import nginx
from tests.e2e.registry import COLUMNS, Registry
from tests.servers import free_port, wait_until
from tests.watching.kubernetes import rule_groups
from tests.watching.prometheus import alertmanager, live_config, prometheus_server, query, webhook

ALERT = "RobmonRobustnessRegression"
AT_ONCE = {"for": "0s", "keepFiringFor": "0s"}
RUNBOOKS, GRAFANA = "https://docs.example.org/robmon", "https://grafana.example.org"


def test_a_mirrored_request_ends_as_an_alert_that_can_be_acted_on(
    tmp_path: Path, served: Registry, model_url: str
) -> None:
    model = served.model()
    good, fragile = model.add(1.0), model.add(2.0)
    model.serve(good)
    with contextlib.ExitStack() as stack:
        as_in_a_container = running_daemon(
            tmp_path, model.uri, served.tracking_uri, by_environment=True, http__port=free_port()
        )
        daemon = stack.enter_context(as_in_a_container)
        proxy = stack.enter_context(nginx(tmp_path / "nginx", model_url, daemon.port("inputs_port")))
        client = stack.enter_context(httpx.Client(base_url=proxy, trust_env=False))
        for row in ROWS[:60]:
            body = {"dataframe_split": {"columns": list(COLUMNS), "data": [row]}}
            answer = client.post("/invocations", json=body)
            assert answer.json()["predictions"] == [row[0] + row[1]], "the client's answer is the model's"
        daemon.wait_for(lambda: daemon.count("robmon_inputs_received_total", source="mlflow") == 60, "60 copies")
        daemon.wait_for_assessments()

        hook, told = stack.enter_context(webhook())
        manager = stack.enter_context(alertmanager(tmp_path / "alertmanager", hook))
        groups = rule_groups(tmp_path, runbookBaseUrl=RUNBOOKS, dashboardBaseUrl=GRAFANA, rules={ALERT: AT_ONCE})
        target = f"127.0.0.1:{daemon.port('http_port')}"
        config = live_config(tmp_path / "prometheus", target, manager, groups=groups)
        prometheus = stack.enter_context(prometheus_server(tmp_path / "prometheus", config))
        wait_until(lambda: query(prometheus, "robmon_noise_mse_bound"), 90, "a bound in Prometheus")
        assert not any(alert["labels"]["alertname"] == ALERT for alert in told)

        model.serve(fragile)
        daemon.wait_for(lambda: daemon.regression_stands, "the regression")
        alert = next_alert(told, "firing")
        description = alert["annotations"]["description"]
        assert alert["labels"]["model_name"] == model.name and alert["labels"]["severity"] == "warning"
        assert f"Model {model.name} version {fragile} (against {good}) is less robust than its reference, since 20" in (
            description
        )
        assert re.search(r"(\d\.\d\d) times as much \(all levels together, interval \1 to \1\)", description), (
            description
        )
        assert alert["annotations"]["runbook_url"] == f"{RUNBOOKS}/docs/operate/runbooks/{ALERT}.md"
        assert (
            f"{GRAFANA}/d/robmon-model?var-job=robmon&var-model_name={model.name}&from"
            in (alert["annotations"]["dashboard_url"])
        )

        keep, rollback, accept = re.findall(r"^  (robmon .+)$", description, re.MULTILINE)
        gathered = run_as_told(daemon, keep.replace("/tmp/", f"{tmp_path}/"))
        assert f"{model.name}: version {fragile} is worse than version {good}" in gathered
        assert says_of_it(tmp_path / "incident.tar.gz")["standing"]["against"] == good
        shown = run_as_told(daemon, rollback)
        assert f"version {fragile} against version {good}" in shown and "on the same rows" in shown
        assert daemon.regression_stands, "until --yes is added"
        run_as_told(daemon, rollback, "--yes")
        next_alert(told, "resolved")
        daemon.wait_for(lambda: daemon.assessed_version == good, "the version before")

        model.serve(fragile)
        assert accept in next_alert(told, "firing")["annotations"]["description"], "it is remembered"
        assert "accepted: " in run_as_told(daemon, accept)
        next_alert(told, "resolved")
        assert daemon.assessed_version == fragile


def says_of_it(bundle: Path) -> dict[str, Any]:
    """What `incident.json` says."""
    with tarfile.open(bundle) as archive:
        (member,) = (each for each in archive.getmembers() if each.name.endswith("/incident.json"))
        content = archive.extractfile(member)
        assert content is not None
        facts: dict[str, Any] = json.load(content)
    return facts


def next_alert(told: list[dict[str, Any]], status: str) -> dict[str, Any]:
    """What the webhook is told next of that alert, which then counts as read."""

    def first() -> dict[str, Any] | None:
        return next((each for each in told if each["labels"]["alertname"] == ALERT and each["status"] == status), None)

    found = wait_until(first, what=f"the webhook is told that {ALERT} is {status}")
    told.clear()
    return found


def run_as_told(daemon: Daemon, command: str, *more: str) -> str:
    """A command of the alert's text, where robmon runs: in its environment."""
    done = commands.run([*command.split()[1:], *more], cwd=Path("/"), environment=daemon.environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
