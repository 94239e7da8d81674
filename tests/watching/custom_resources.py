"""Custom resources, checked against the schemas in `schemas`."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

SCHEMAS = Path(__file__).parent / "schemas"
KINDS = {file.stem for file in SCHEMAS.glob("*.json")}
POD_FIELDS = {"containers", "initContainers", "volumes", "securityContext", "resourceClaims", "serviceAccountName"}


def validate(manifest: dict[str, Any], version: str) -> None:
    """Check a custom resource, and the parts of a pod in it against the schemas of a Kubernetes version.

    Raises:
        jsonschema.ValidationError: it is not as its operator has it.
        kubernetes_validate.ValidationError: its pod is not as Kubernetes has it.
        KeyError: there is no schema of this kind.
    """
    kind = manifest["kind"]
    if kind not in KINDS:
        raise KeyError(f"there is no schema of {kind} in {SCHEMAS}")
    _validator(kind).validate(manifest)
    if kind == "InferenceService":
        predictor = manifest["spec"]["predictor"]
        spec = {"containers": [{"name": "model"}]} | {key: predictor[key] for key in POD_FIELDS & predictor.keys()}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": spec}
        kubernetes_validate.validate(pod, version, strict=True)


@functools.cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8")))
