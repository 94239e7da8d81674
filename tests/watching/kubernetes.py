"""helm and kubectl, and what they render."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.watching.prometheus import REPOSITORY

TOOLS = REPOSITORY / ".tools" / "bin"
CHART = REPOSITORY / "helm" / "robmon"
CUSTOM_KINDS = {"PodMonitor", "PrometheusRule"}

Manifest = dict[str, Any]


def helm(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run helm with its caches in `home`, where it finds no plugin and no configuration of the user's."""
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    command = [str(TOOLS / "helm"), *map(str, arguments)]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=False)


def render(chart: Path, *arguments: str | Path, home: Path) -> list[Manifest]:
    """The manifests of a chart, as the release `release` in the namespace `models`."""
    result = helm("template", "release", chart, "--namespace", "models", *arguments, home=home)
    assert result.returncode == 0, result.stderr
    return [manifest for manifest in yaml.safe_load_all(result.stdout) if manifest]


def kustomize(folder: Path) -> list[Manifest]:
    """The manifests of a kustomization."""
    result = subprocess.run([TOOLS / "kubectl", "kustomize", folder], text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def validate(manifests: list[Manifest], version: str) -> None:
    """Check manifests against the strict schemas of a Kubernetes version; only custom resources may have none."""
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            assert manifest["kind"] in CUSTOM_KINDS


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pod_spec(manifests: list[Manifest]) -> Manifest:
    """The pod of the only Deployment."""
    [deployment] = of_kind(manifests, "Deployment")
    spec: Manifest = deployment["spec"]["template"]["spec"]
    return spec


def environment(container: Manifest) -> dict[str, str]:
    """A container's environment variables with plain values."""
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
