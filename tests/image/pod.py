"""A container of a rendered manifest as a kubelet starts it: its environment, its user, its volumes, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.servers import free_port
from tests.watching.kubernetes import CHART, Manifest, environment, of_kind, pod_spec, render

Secrets = Mapping[str, Mapping[str, str]]
"""Secrets and config maps of the namespace, by name: their keys."""
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@dataclass(frozen=True)
class Pod:
    """A pod with one container.

    Attributes:
        spec: of the pod, as rendered.
        secrets: what `envFrom` may name.
        test: the container that `helm test` runs.
    """

    spec: Manifest
    secrets: Secrets
    test: Manifest

    @property
    def container(self) -> Manifest:
        """Of robmon: the only one, or a native sidecar."""
        [container] = [
            each
            for each in [*self.spec["containers"], *self.spec.get("initContainers", [])]
            if each["name"] == "robmon"
        ]
        return container

    @property
    def environment(self) -> dict[str, str]:
        """`env` outweighs `envFrom`."""
        sources = [next(iter(source.values()))["name"] for source in self.container.get("envFrom", [])]
        given = {name: value for source in sources for name, value in self.secrets[source].items()}
        assert all("value" in variable for variable in self.container["env"]), "all that these tests need"
        return given | environment(self.container)

    @property
    def security(self) -> Manifest:
        """The security context: the container's outweighs the pod's."""
        security: Manifest = (self.spec.get("securityContext") or {}) | self.container["securityContext"]
        return security

    @property
    def memory_bytes(self) -> int:
        """The limit."""
        text = self.container["resources"]["limits"]["memory"]
        return int(text[:-2]) * UNITS[text[-2:]]

    @property
    def health_url(self) -> str:
        """What the liveness probe asks."""
        probe = self.container["livenessProbe"]["httpGet"]
        return f"http://127.0.0.1:{probe['port']}{probe['path']}"

    def volumes(self, folder: Path) -> dict[str, Path]:
        """Fresh, empty folders below `folder`, as those of a new pod are: anybody may write to them. By mount path."""
        kinds = {volume["name"]: volume for volume in self.spec["volumes"]}
        folders = {}
        for mount in self.container["volumeMounts"]:
            assert "emptyDir" in kinds[mount["name"]], "all that these tests need"
            folders[mount["mountPath"]] = folder / mount["mountPath"].strip("/").replace("/", "-")
        for each in folders.values():
            each.mkdir(parents=True)
            each.chmod(0o777)
        return folders


def standalone_pod(variant: str, settings: Manifest, folder: Path, secrets: Secrets | None = None) -> Pod:
    """The pod that the chart renders for these settings, on ports that are free here, assessing every second."""
    quick: Manifest = {
        "http": {"port": free_port()},
        "inputs": {"port": free_port(), "sample_rows": 41},
        "assess": {"interval_seconds": 1, "min_rows": 20, "levels": [0.1, 0.3], "trials": 19},
        "log": {"format": "json"},
    }
    values = {
        "standalone": {"enabled": True},
        "image": {"variant": variant},
        "settings": quick | settings,
        "envFrom": [{"secretRef": {"name": name}} for name in secrets or {}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    manifests = render(CHART, "--values", folder / "values.yaml", home=folder)
    [test] = of_kind(manifests, "Pod")
    return Pod(pod_spec(manifests), secrets or {}, test["spec"]["containers"][0])
