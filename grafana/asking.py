"""What the committed dashboards ask Prometheus, as a browser would with every variable on All."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "dashboards"
ALL = re.compile(r'"\$(?:cluster|namespace|job|instance|model_name|model_version)"')


def boards() -> dict[str, dict[str, Any]]:
    """The dashboards, by their identifiers."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels of a dashboard but its rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asked(expression: str, model_name: str) -> str:
    """An expression for one model, where it is for one, and for all of everything else."""
    quoted = model_name.replace("\\", "\\\\").replace('"', '\\"')
    one = expression.replace('model_name="$model_name"', f'model_name="{quoted}"')
    return ALL.sub('".*"', one).replace("$__rate_interval", "30s")
