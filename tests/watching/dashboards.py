"""The dashboards as they are committed: panels, expressions, and what Grafana's own engine makes of answers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grafana import asking
from tests.patience import PATIENCE_SECONDS
from tests.watching.prometheus import REPOSITORY

FOLDER = asking.FOLDER
BOARDS = asking.boards()
ENGINE = REPOSITORY / ".tools" / "grafana" / "engine.cjs"
"""`@grafana/data`, as tools/install_grafana_packages.py makes it."""
TRANSFORM = REPOSITORY / "tests" / "watching" / "transform.cjs"

Frame = dict[str, list[Any]]
"""Columns in their order: name and values."""


def panels(board: str) -> list[dict[str, Any]]:
    """All panels of a dashboard but its rows."""
    return asking.panels(BOARDS[board])


def panel(board: str, title: str) -> dict[str, Any]:
    """The panel with that title."""
    [found] = [each for each in panels(board) if each["title"] == title]
    return found


def expressions() -> list[tuple[str, str]]:
    """Every expression of every panel and annotation, with the name of its dashboard."""
    of_panels = [(name, each["expr"]) for name in BOARDS for one in panels(name) for each in one["targets"]]
    return of_panels + [(name, each["expr"]) for name in BOARDS for each in BOARDS[name]["annotations"]["list"]]


def transformed(
    asked: Iterable[tuple[Mapping[str, Any], Mapping[str, Sequence[Mapping[str, Any]]]]],
) -> list[list[Frame]]:
    """What Grafana's own engine makes of panels: their frames, after their transformations.

    Args:
        asked: panels, and for each what Prometheus answered to its queries, by their letters.
    """
    question = {
        "engine": str(ENGINE),
        "panels": [
            {
                "targets": [
                    {"refId": each["refId"], "format": each.get("format"), "result": answers[each["refId"]]}
                    for each in one["targets"]
                ],
                "transformations": one.get("transformations", []),
            }
            for one, answers in asked
        ],
    }
    done = subprocess.run(
        ["node", str(TRANSFORM)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return [[{each["name"]: each["values"] for each in frame} for frame in one] for one in json.loads(done.stdout)]
