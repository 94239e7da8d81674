"""`make observe`: the demo, watched as in production, on this machine.

Prometheus with the shipped rules scrapes the demo's robmon, Alertmanager sends the alert to a webhook that prints it,
and every query of the dashboards is asked. Shorter than shipped are only the intervals, and what that alert waits
before it fires. All of it lives on loopback ports and in a temporary folder, and goes on Ctrl-C.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from grafana import asking
from robmon.demo import check_packages, run
from robmon.demo.processes import free_port
from robmon.demo.stage import Stage

SHIPPED = Path(__file__).resolve().parents[1] / "deploy" / "prometheus"
SCRAPE_SECONDS = 2
SHORT = {"for": "0s", "keep_firing_for": "0s"}
ALERT = "RobmonRobustnessRegression"
MODEL = "digits"
LEARNT = 'robmon_input_drifted_features{model_version="2"}'
"""What has data from the time on at which the new version's baseline is learnt, as many panels have."""
ALERT_SECONDS = 120.0
INDENT = " " * 6
GRAPHS = {
    "ratio to the accepted version": "robmon_version_ratio",
    "error of both versions": '{__name__=~"robmon_noise_mse|robmon_reference_noise_mse",level="0.4"}',
}


class Webhook:
    """Prints what Alertmanager sends, and remembers which alerts fire."""

    def __init__(self) -> None:
        self.firing: set[str] = set()
        self.port = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listens on a free loopback port, in threads of its own."""
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(204)
                self.end_headers()
                for alert in json.loads(body)["alerts"]:
                    webhook.tell(alert)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()

    def tell(self, alert: dict[str, Any]) -> None:
        """Print one alert."""
        name, annotations = alert["labels"]["alertname"], alert["annotations"]
        if alert["status"] == "firing":
            self.firing.add(name)
        else:
            self.firing.discard(name)
        lines = [f"webhook: {alert['status']}: {name} ({alert['labels'].get('severity', 'no severity')})"]
        if alert["status"] == "firing":
            lines += [line for told in annotations["description"].splitlines() for line in wrapped(told)]
            lines += [f"{key}: {value}" for key, value in sorted(annotations.items()) if key.endswith("_url")]
        say("\n  ".join(lines))


def wrapped(line: str) -> list[str]:
    """Lines of prose; a command, which is indented, stays one."""
    return [line] if line.startswith("  ") else textwrap.wrap(line, 110, break_long_words=False, break_on_hyphens=False)


class Monitoring:
    """Prometheus and Alertmanager beside the demo; an `Observer` of its story."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self._prometheus = self._alertmanager = ""

    async def watch(self, stage: Stage) -> None:
        """Start both."""
        with stage.view.step("Prometheus and Alertmanager start, with the shipped rules") as step:
            folder = stage.processes.folder / "monitoring"
            folder.mkdir()
            self._alertmanager = self._start(
                stage,
                "prometheus-alertmanager",
                folder,
                alertmanager_config(self._webhook.port),
                "--cluster.listen-address=",
            )
            target, alertmanager = (url.removeprefix("http://") for url in (str(stage.watch.url), self._alertmanager))
            write_rules(folder)
            self._prometheus = self._start(stage, "prometheus", folder, prometheus_config(target, alertmanager))
            for url in (self._alertmanager, self._prometheus):
                await stage.until_it_answers(f"{url}/-/ready", f"{url} is ready")
            step.note = self._prometheus

    def _start(self, stage: Stage, program: str, folder: Path, config: dict[str, Any], *flags: str) -> str:
        file = folder / f"{program}.yaml"
        file.write_text(yaml.safe_dump(config, width=10_000), encoding="utf-8")
        url = f"http://127.0.0.1:{free_port()}"
        data = "--storage.tsdb.path" if program == "prometheus" else "--storage.path"
        words = [f"--config.file={file}", f"{data}={folder / program}", f"--web.listen-address={url[len('http://') :]}"]
        words += [f"--web.external-url={url}", "--log.level=warn", *flags]
        stage.processes.start(program, words, program=str(shutil.which(program)))
        return url

    async def tell(self, stage: Stage) -> None:
        """Wait for the alert, ask what the dashboards ask, and say where to look."""
        await stage.until(lambda: ALERT in self._webhook.firing, ALERT_SECONDS, f"{ALERT} arrives at the webhook")

        async def has_baseline() -> bool:
            return await self._has_data(stage, LEARNT)

        await stage.processes.until(has_baseline, ALERT_SECONDS, "version 2 has a baseline")
        say("\nThe dashboards, asked of this Prometheus:")
        for board in asking.boards().values():
            silent = [panel["title"] for panel in asking.panels(board) if not await self._answers(stage, panel)]
            count = len(asking.panels(board))
            say(f"  {board['title']}: {count - len(silent)} of {count} panels have data")
            say(
                textwrap.fill(
                    f"without: {', '.join(silent) or 'none'}", 110, initial_indent=INDENT, subsequent_indent=INDENT
                )
            )
        say("  Those without are made for other states: a learnt baseline, a GPU, labels, failures.")
        ten_minutes: dict[str, str] = {"g0.tab": "0", "g0.range_input": "10m"}
        graphs = [
            (what, f"{self._prometheus}/graph?{httpx.QueryParams({'g0.expr': expr} | ten_minutes)}")
            for what, expr in GRAPHS.items()
        ]
        say("\nTo look at, beside what follows:")
        for what, url in (
            ("alerts and rules", f"{self._prometheus}/alerts"),
            *graphs,
            ("Alertmanager", self._alertmanager),
            ("dashboards", f"{asking.FOLDER}: import them into a Grafana whose data source is {self._prometheus}"),
        ):
            say(f"  {what:30} {url}")

    async def _answers(self, stage: Stage, panel: dict[str, Any]) -> bool:
        for target in panel["targets"]:
            if await self._has_data(stage, asking.asked(target["expr"], MODEL)):
                return True
        return False

    async def _has_data(self, stage: Stage, query: str) -> bool:
        answer = await stage.client.get(f"{self._prometheus}/api/v1/query", params={"query": query})
        return bool(answer.raise_for_status().json()["data"]["result"])


def prometheus_config(target: str, alertmanager: str) -> dict[str, Any]:
    """The shipped configuration, with this target, that Alertmanager and short intervals."""
    config: dict[str, Any] = yaml.safe_load((SHIPPED / "scrape.yaml").read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{SCRAPE_SECONDS}s")
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    return config


def write_rules(folder: Path) -> None:
    """The shipped rules, but that this alert does not wait before it fires, nor afterwards."""
    for name in ("rules.yaml", "alerts.yaml"):
        content = yaml.safe_load((SHIPPED / name).read_text(encoding="utf-8"))
        for rule in (rule for group in content["groups"] for rule in group["rules"] if rule.get("alert") == ALERT):
            rule.update(SHORT)
        (folder / name).write_text(yaml.safe_dump(content, width=10_000), encoding="utf-8")


def alertmanager_config(webhook_port: int) -> dict[str, Any]:
    """Everything to the webhook, at once."""
    waits = {"group_wait": "1s", "group_interval": "2s", "repeat_interval": "1h"}
    receiver = {
        "name": "webhook",
        "webhook_configs": [{"url": f"http://127.0.0.1:{webhook_port}", "send_resolved": True}],
    }
    return {"route": {"receiver": "webhook", "group_by": ["alertname"], **waits}, "receivers": [receiver]}


def say(text: str) -> None:
    """Lines, whole ones though they come from several threads."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run it until Ctrl-C."""
    for program in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: tools/install_debian_packages.sh installs it")
    check_packages()
    say(
        "This runs, on this machine and until Ctrl-C: an MLflow registry, a model server with traffic, robmon beside\n"
        "it, Prometheus and Alertmanager with the shipped rules, and a webhook that prints what it is sent. A fragile\n"
        "version is released in a minute or so; then the alert comes.\n"
    )
    webhook = Webhook()
    with webhook.listening():
        run(keep=True, png=None, observer=Monitoring(webhook))


if __name__ == "__main__":
    main()
