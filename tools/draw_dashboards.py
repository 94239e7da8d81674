"""Draws the first rows of a dashboard for the manual, from a Prometheus that has data: `make observe`'s, for example.

    python -m tools.draw_dashboards http://127.0.0.1:PORT [--board robmon-model] [--folder docs/images]

They are drawn with Grafana's own components (`@grafana/ui`) and the options of our dashboards, in Chromium. That is not
Grafana, which no package holds: the pages on which the pictures stand say so.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from grafana import asking
from tools.install_grafana_packages import PICTURES, REPOSITORY, WANTED, install

MODEL = "digits"
ROWS = {"robmon-model": 24, "robmon-overview": 17}
"""Of the dashboards' grids, in which most panels are 8 high; a timeline's component is in no package."""
WIDTH, ROW_HEIGHT = 1280, 38
MINUTES = 5
BUNDLE = (
    "--bundle",
    "--format=iife",
    "--log-level=error",
    "--loader:.ttf=empty",
    "--define:process.env.NODE_ENV='production'",
)
TRANSFORM = REPOSITORY / "tests" / "watching" / "transform.cjs"


class Source:
    """What a Prometheus says."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.to = time.time()

    def _ask(self, path: str, expression: str, **parameters: float) -> list[dict[str, Any]]:
        question: dict[str, str | float] = {"query": asking.asked(expression, MODEL), **parameters}
        answer = self._client.get(f"/api/v1/{path}", params=question)
        result: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
        return result

    def now(self, target: dict[str, Any]) -> list[dict[str, Any]]:
        """The answer to an instant query."""
        return self._ask("query", target["expr"], time=self.to)

    def over_time(self, target: dict[str, Any]) -> list[dict[str, Any]]:
        """The answer to a query over the last minutes."""
        return self._ask("query_range", target["expr"], start=self.to - 60 * MINUTES, end=self.to, step=2)


def with_data(panel: dict[str, Any], source: Source) -> dict[str, Any]:
    """A panel with its series, or its columns where it has transformations."""
    targets = panel["targets"]
    if "transformations" in panel:
        return panel | {"columns": columns(panel, [source.now(target) for target in targets])}
    if panel["type"] == "timeseries":
        found = [
            {
                "name": named(target, each["metric"]),
                "times": [1000 * at for at, _ in each["values"]],
                "values": [float(value) for _, value in each["values"]],
            }
            for target in targets
            for each in source.over_time(target)
        ]
    else:
        found = [
            {"name": named(target, each["metric"]), "values": [float(each["value"][1])]}
            for target in targets
            for each in source.now(target)
        ]
    return panel | {"series": found}


def named(target: dict[str, Any], labels: dict[str, str]) -> str:
    """The legend of a series."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), target["legendFormat"])


def columns(panel: dict[str, Any], answers: list[list[dict[str, Any]]]) -> dict[str, list[Any]]:
    """The columns of a panel after its transformations, by Grafana's own engine."""
    targets = [
        {"refId": target["refId"], "format": target.get("format"), "result": answer}
        for target, answer in zip(panel["targets"], answers, strict=True)
    ]
    one = {"targets": targets, "transformations": panel["transformations"]}
    question = {"engine": str(PICTURES / "engine.cjs"), "panels": [one]}
    done = subprocess.run(["node", TRANSFORM], input=json.dumps(question), capture_output=True, text=True, check=True)
    [[frame]] = json.loads(done.stdout)
    return {each["name"]: each["values"] for each in frame}


def draw(panels: list[dict[str, Any]], source: Source, mode: str, file: Path) -> None:
    """One picture, in a light or a dark theme."""
    to = 1000 * source.to
    asked = {"panels": panels, "width": WIDTH, "mode": mode, "from": to - 60_000 * MINUTES, "to": to}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "drawn.js"
        subprocess.run(
            ["node_modules/.bin/esbuild", "picture.js", *BUNDLE, f"--outfile={script}"], cwd=PICTURES, check=True
        )
        page = Path(folder) / "picture.html"
        data = json.dumps(asked).replace("<", "\\u003c")
        page.write_text(
            f'<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="drawn.css"><body style="margin:0">'
            f'<div id="board"></div>'
            f'<script>window.asked = {data}</script><script src="{script.name}"></script>',
            encoding="utf-8",
        )
        chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        chromium += [f"--user-data-dir={folder}/profile", "--virtual-time-budget=10000"]
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        chromium += [f"--window-size={WIDTH},{rows * ROW_HEIGHT + 8}", f"--screenshot={file.absolute()}", page.as_uri()]
        subprocess.run(chromium, check=True, capture_output=True, timeout=120)


def main() -> None:
    """Draw it, light and dark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("prometheus")
    parser.add_argument("--board", choices=ROWS, default="robmon-model")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "docs" / "images")
    given = parser.parse_args()
    install(pictures=True)
    (PICTURES / "picture.js").write_bytes((WANTED / "picture.js").read_bytes())
    source = Source(given.prometheus)
    board = asking.boards()[given.board]
    rows = ROWS[given.board]
    first = [panel for panel in asking.panels(board) if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= rows]
    panels = [with_data(panel, source) for panel in first]
    top = min(panel["gridPos"]["y"] for panel in panels)
    for panel in panels:
        panel["gridPos"] = panel["gridPos"] | {"y": panel["gridPos"]["y"] - top}
    for mode in ("light", "dark"):
        draw(panels, source, mode, given.folder / f"{given.board.removeprefix('robmon-')}-dashboard-{mode}.png")


if __name__ == "__main__":
    main()
