"""Writes the schemas of custom resources that tests/watching checks manifests against, from packages of their models.

    pip install --target FOLDER cloudcoil-models-prometheus-operator==0.80.1.0
    pip install --target FOLDER --no-deps kserve==0.21.0
    PYTHONPATH=FOLDER python tools/vendor_schemas.py FOLDER ray.io_rayjobs.yaml

The last is the CRD of KubeRay's release, helm-chart/kuberay-operator/crds in its repository: no package has it.
Every object is closed: a field that the API server would drop, or refuse, is an error. What is Kubernetes' own in them,
such as the containers of an InferenceService, is left open here, and checked against Kubernetes' schemas.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

SCHEMAS = Path(__file__).resolve().parents[1] / "tests" / "watching" / "schemas"
OPERATOR = ("PodMonitor", "PrometheusRule")
SIMPLE = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
# Kubernetes has schemas of these.
OPEN = {"ObjectMeta", "FieldsV1", "ManagedFieldsEntry", "OwnerReference", "Time"}


def main() -> None:
    """Write all of them."""
    models = importlib.import_module("cloudcoil.models.prometheus_operator").v1
    for kind in OPERATOR:
        write(kind, closed(getattr(models, kind).model_json_schema(by_alias=True)))
    write("InferenceService", inference_service(Path(sys.argv[1]) / "kserve" / "models"))
    write("RayJob", ray_job(Path(sys.argv[2])))


def write(kind: str, schema: dict[str, Any]) -> None:
    """Write the schema of one kind."""
    (SCHEMAS / f"{kind}.json").write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of pydantic's without titles and defaults, whose objects have no further fields."""
    definitions = {name: {"type": "object"} if name in OPEN else part for name, part in schema.pop("$defs").items()}
    return _closed(schema) | {"$defs": {name: _closed(part) for name, part in definitions.items()}}


def _closed(part: Any) -> Any:
    if isinstance(part, list):
        return [_closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _closed(value) for key, value in part.items() if key not in {"title", "default", "description"}}
    if isinstance(kept.get("properties"), dict) and kept.get("type") == "object":
        kept["properties"] = {key: _closed(value) for key, value in part["properties"].items()}
        kept["additionalProperties"] = False
    return kept


def inference_service(folder: Path) -> dict[str, Any]:
    """KServe's classes as a schema: each has a table of its fields' types, and one of their names."""
    definitions: dict[str, Any] = {}
    top = _of_class("V1beta1InferenceService", folder, definitions)
    return top | {"$defs": definitions}


def ray_job(crd: Path) -> dict[str, Any]:
    """The schema in KubeRay's CRD; templates of pods are left open."""
    versions = yaml.safe_load(crd.read_text("utf-8"))["spec"]["versions"]
    [schema] = [each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1"]
    schema["properties"].pop("status", None)
    closed: dict[str, Any] = _closed(_of_crd(schema))
    return closed


def _of_crd(part: Any, name: str = "") -> Any:
    """A part of a CRD's schema in the words of JSON schema alone."""
    if name in {"template", "submitterPodTemplate", "metadata"}:
        return {"type": "object"}
    if isinstance(part, list):
        return [_of_crd(one) for one in part]
    if not isinstance(part, dict):
        return part
    if part.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    return {key: _of_crd(value, key) for key, value in part.items() if not key.startswith("x-") and key != "format"}


def _of_class(name: str, folder: Path, definitions: dict[str, Any]) -> dict[str, Any]:
    file = next((one for one in folder.glob("v1beta1_*.py") if f"\nclass {name}(" in one.read_text("utf-8")), None)
    if file is None:
        return {}
    [body] = [node.body for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    tables = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    }
    properties = {
        tables["attribute_map"][attribute]: _of_type(kind, folder, definitions)
        for attribute, kind in tables["openapi_types"].items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _of_type(kind: str, folder: Path, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    if of := re.fullmatch(r"list\[(.*)\]", kind):
        return {"type": "array", "items": _of_type(of[1], folder, definitions)}
    if of := re.fullmatch(r"dict\(str, (.*)\)", kind):
        return {"type": "object", "additionalProperties": _of_type(of[1], folder, definitions)}
    if kind not in definitions:
        definitions[kind] = {}  # of itself, perhaps
        definitions[kind] = _of_class(kind, folder, definitions)
    return {"$ref": f"#/$defs/{kind}"} if definitions[kind] else {}


if __name__ == "__main__":
    main()
