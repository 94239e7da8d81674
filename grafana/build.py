"""Writes grafana/dashboards/*.json. Run it after a change (`python -m grafana.build`).

The JSON is committed, and a test holds that both agree.
"""

from __future__ import annotations

from pathlib import Path

from grafana import model, overview, sidecar

FOLDER = Path(__file__).resolve().parent / "dashboards"


def dashboards() -> dict[str, str]:
    """Each dashboard's JSON, by the name of its file."""
    return {f"{each.IDENTIFIER}.json": each.build() for each in (overview, model, sidecar)}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
