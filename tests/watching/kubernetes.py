"""helm and kubectl, and what they render."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.watching import custom_resources
from tests.watching.prometheus import REPOSITORY

TOOLS = REPOSITORY / ".tools" / "bin"
CHART = REPOSITORY / "helm" / "robmon"
ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}

POD_WITH_SIDECAR = """
{{- range $name := .Values.sidecars }}
{{- $robmon := get $.Subcharts $name }}
---
apiVersion: v1
kind: Pod
metadata:
  name: {{ $name }}
spec:
  containers: [{name: model, image: model}]
  initContainers:
    {{- include "robmon.sidecar" $robmon | nindent 4 }}
  volumes:
    {{- include "robmon.volumes" $robmon | nindent 4 }}
  {{- with include "robmon.resourceClaims" $robmon }}
  resourceClaims:
    {{- . | nindent 4 }}
  {{- end }}
{{- end }}
"""

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


def render_each(
    cases: Mapping[str, Manifest], *arguments: str | Path, home: Path, sidecars: Sequence[str] = ()
) -> dict[str, list[Manifest]]:
    """The manifests of the chart with each of these values, all by one process: that of a chart that holds them all.

    Those named in `sidecars` are also included in a pod as a model server's chart does it, the last manifest.
    """
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    parts = [{"name": "robmon", "version": described["version"], "alias": name} for name in cases]
    chart = home / "all"
    (chart / "charts").mkdir(parents=True)
    (chart / "charts" / "robmon").symlink_to(CHART)
    (chart / "templates").mkdir()
    (chart / "templates" / "pods.yaml").write_text(POD_WITH_SIDECAR)
    (chart / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": "all", "version": "0.1.0", "dependencies": parts})
    )
    values = {name: {"nameOverride": "robmon"} | given for name, given in cases.items()}
    (home / "values.yaml").write_text(yaml.safe_dump(values | {"sidecars": list(sidecars)}))
    given = ("--namespace", "models", "--values", home / "values.yaml", *arguments)
    result = helm("template", "release", chart, *given, home=home)
    assert result.returncode == 0, result.stderr
    rendered: dict[str, list[Manifest]] = {name: [] for name in cases}
    included = []
    for document in re.split(r"^---\n", result.stdout, flags=re.MULTILINE):
        if of := re.match(r"# Source: all/charts/([\w-]+)/", document):
            rendered[of[1]] += [manifest for manifest in yaml.safe_load_all(document) if manifest]
        elif document.startswith("# Source: all/templates/"):
            included.append(yaml.safe_load(document))
    for pod in included:
        rendered[pod["metadata"]["name"]].append(pod)
    return rendered


def kustomize(folder: Path) -> list[Manifest]:
    """The manifests of a kustomization."""
    result = subprocess.run([TOOLS / "kubectl", "kustomize", folder], text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def validate(manifests: list[Manifest], version: str) -> None:
    """Check manifests against the strict schemas of a Kubernetes version, custom resources against their operators'."""
    for manifest in manifests:
        if "." in manifest["apiVersion"].removesuffix(".k8s.io/v1").rpartition("/")[0]:
            custom_resources.validate(manifest, version)
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Every pod in them: its `spec`."""
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            yield manifest["spec"]["template"]["spec"]


def forbidden(spec: Manifest) -> list[str]:
    """What of a pod the Pod Security Standard `restricted` forbids (Kubernetes 1.36)."""
    found = [f"pod: {key}" for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers") if spec.get(key)]
    found += [f"volume {volume['name']}" for volume in spec.get("volumes", []) if not volume.keys() & ALLOWED_VOLUMES]
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        context = spec.get("securityContext", {}) | container.get("securityContext", {})
        capabilities = context.get("capabilities", {})
        checks = {
            "privileged": not context.get("privileged"),
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "runAsUser": context.get("runAsUser") != 0,
            "seccompProfile": context.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "capabilities.drop": "ALL" in capabilities.get("drop", []),
            "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "procMount": context.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "hostProcess": not context.get("windowsOptions", {}).get("hostProcess"),
        }
        found += [f"{container['name']}: {name}" for name, is_kept in checks.items() if not is_kept]
    return found


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def at(manifest: Any, path: str) -> Any:
    """What stands at a path, whose words are keys, places in a list, or names items; None where nothing does."""
    for word in path.split("."):
        if isinstance(manifest, list):
            items = {str(place): item for place, item in enumerate(manifest)}
            manifest = items.get(word) or next((item for item in manifest if item.get("name") == word), None)
        else:
            manifest = manifest.get(word)
        if manifest is None:
            return None
    return manifest


def pod_spec(manifests: list[Manifest]) -> Manifest:
    """The pod of the only Deployment."""
    [deployment] = of_kind(manifests, "Deployment")
    spec: Manifest = deployment["spec"]["template"]["spec"]
    return spec


def environment(container: Manifest) -> dict[str, str]:
    """A container's environment variables with plain values."""
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def rule_groups(folder: Path, **values: Any) -> list[Manifest]:
    """The groups of the PrometheusRule that the chart renders with these values of `prometheusRule`."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump({"prometheusRule": {"enabled": True, **values}}))
    [rule] = of_kind(render(CHART, "--values", file, home=folder), "PrometheusRule")
    found: list[Manifest] = rule["spec"]["groups"]
    return found
