"""Writes into the chart what has its source elsewhere: alert rules and what of them can be changed, dashboards, the
schema of the settings, and in its README the table of the values.

Run it after a change to one of them (`python helm/sync.py`); a test holds that the chart is in step.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from robmon.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[1]
CHART = REPOSITORY / "helm" / "robmon"
SCHEMA = CHART / "values.schema.json"
README = CHART / "README.md"
_KEY = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>.*)")
_TABLE = re.compile(r"(?<=<!-- values: made by helm/sync.py -->\n).*?(?=<!-- /values -->)", re.DOTALL)

# Prometheus': each unit once, the long ones first. So many digits that no sum of them is too long.
_UNITS = {"y": 2, "w": 3, "d": 4, "h": 5, "m": 7, "s": 9, "ms": 12}
DURATION = f"^(0|{''.join(f'([0-9]{{1,{digits}}}{unit})?' for unit, digits in _UNITS.items())})$"

# The image and the chart's volumes decide these: `access` says which Secrets are mounted.
FIXED_SETTINGS = {"http.host", "inputs.host", "data_dir", "inputs.tls_client_ca_file", "mlflow.webhook_secret_file"}
FIXED_SETTINGS |= {
    f"{port}.{file}" for port in ("http", "inputs") for file in ("token_file", "tls_cert_file", "tls_key_file")
}


def copies() -> dict[Path, str]:
    """What each file of the chart that is made from another must hold."""
    rules = {CHART / "files" / name: REPOSITORY / "deploy/prometheus" / name for name in ("rules.yaml", "alerts.yaml")}
    dashboards = {
        CHART / "files" / "dashboards" / source.name: source
        for source in sorted((REPOSITORY / "grafana/dashboards").glob("*.json"))
    }
    texts = {target: source.read_text(encoding="utf-8") for target, source in (rules | dashboards).items()}
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["settings"] = settings_schema()
    schema["properties"]["prometheusRule"]["properties"]["rules"] = rules_schema()
    for name in ("interval", "scrapeTimeout"):
        schema["properties"]["podMonitor"]["properties"][name]["pattern"] = DURATION
    table = "\n".join(values_table((CHART / "values.yaml").read_text(encoding="utf-8"))) + "\n"
    return texts | {
        SCHEMA: json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        README: _TABLE.sub(lambda _: table, README.read_text(encoding="utf-8")),
    }


def values_table(text: str) -> Iterator[str]:
    """One row a value: name, default, and the comment above it, to which those of its groups are put.

    A comment is a value's when it stands right above it; a value without one is its group's.
    """
    yield "| value | default | meaning |"
    yield "|---|---|---|"
    for name, default, comment in _values(text):
        yield f"| `{name}` | {_cell(default)} | {comment} |"


def _values(text: str) -> Iterator[tuple[str, str, str]]:
    above: list[str] = []
    path: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.strip().removeprefix("#").strip())
        elif found := _KEY.fullmatch(line):
            path = [*path[: len(found["indent"]) // 2], found["key"]]
            if found["value"] or above:
                yield (
                    ".".join(path),
                    found["value"].strip(),
                    html.escape(" ".join(above), quote=False).replace("|", "\\|"),
                )
            above = []
        else:
            above = []


def _cell(default: str) -> str:
    if not default:
        return ""
    value = yaml.safe_load(default)
    return "" if value == "" else f"`{default}`"


def settings_schema() -> dict[str, Any]:
    """JSON schema of the value `settings`: robmon's own settings, all optional here."""
    full = Settings.model_json_schema()
    sections = {
        section: _section(section, full["$defs"][reference["$ref"].rpartition("/")[2]])
        for section, reference in full["properties"].items()
        if "$ref" in reference
    }
    return {
        "type": "object",
        "description": "Settings of robmon, section by section. What is not set, or null, has robmon's own default.",
        "additionalProperties": False,
        "properties": sections,
    }


def rules_schema() -> dict[str, Any]:
    """JSON schema of the value `prometheusRule.rules`: what can be changed of each alert, and what it is by default."""
    groups = yaml.safe_load((REPOSITORY / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return {
        "type": "object",
        "description": "What is to be otherwise of an alert, by its name",
        "additionalProperties": False,
        "properties": {rule["alert"]: _alert(rule) for group in groups for rule in group["rules"]},
    }


def _alert(rule: dict[str, Any]) -> dict[str, Any]:
    duration = {"type": "string", "pattern": DURATION, "minLength": 1}
    names = {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$", "not": {"const": "__name__"}}
    texts = {"type": "object", "propertyNames": names, "additionalProperties": {"type": "string"}}
    properties: dict[str, dict[str, Any]] = {
        "enabled": {"type": "boolean", "description": "Whether there is this alert. Default: true"},
        "severity": {
            "type": "string",
            "pattern": "^[a-z0-9_-]+$",
            "description": f"Its label severity. Default: {rule['labels']['severity']}",
        },
        "for": {**duration, "description": f"How long it must hold before it fires. Default: {rule['for']}"},
        "keepFiringFor": {
            **duration,
            "description": f"How long it goes on firing when it holds no more. Default: {rule['keep_firing_for']}",
        },
        "labels": {**texts, "description": "Labels added, or put in the place of its own"},
        "annotations": {**texts, "description": "Annotations added, or put in the place of its own"},
    }
    if marked := re.search(r"(\S+ \S+) # threshold", rule["expr"]):
        number = {"type": ["number", "string"], "pattern": "^-?[0-9]+([.][0-9]+)?$"}  # --set makes 0.5 a string
        properties["threshold"] = {**number, "description": f"Number in its condition. Default: {marked[1]}"}
    return {
        "type": ["object", "null"],
        "description": rule["annotations"]["summary"],
        "additionalProperties": False,
        "properties": {name: _nullable(schema) for name, schema in properties.items()},
    }


def _section(section: str, definition: dict[str, Any]) -> dict[str, Any]:
    properties = {
        name: _nullable({key: value for key, value in field.items() if key not in {"title", "default"}})
        for name, field in definition["properties"].items()
        if f"{section}.{name}" not in FIXED_SETTINGS
    }
    if "port" in properties:  # a pod's and a Service's is one that is known
        properties["port"]["anyOf"][0]["minimum"] = 1
    if section == "model":
        properties["uri"] = {"type": "string", "description": definition["properties"]["uri"]["description"]}
    return {
        "type": "object",
        "description": f"Settings of the section {section}",
        "additionalProperties": False,
        "properties": properties,
    }


def _nullable(field: dict[str, Any]) -> dict[str, Any]:
    """Helm removes a key by setting it to null, so every setting may be."""
    description = {"description": field.pop("description")}
    alternatives = field.pop("anyOf", None) or [field]
    null = {"type": "null"}
    return description | {"anyOf": [*(one for one in alternatives if one != null), null]}


def main() -> None:
    """Write the files that differ."""
    for path, text in copies().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
