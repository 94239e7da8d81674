"""The kustomize components: the same sidecar as the chart's, in Deployments and in KServe's predictors, or an error."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from robmon import settings
from tests.watching.kubernetes import TOOLS, Manifest, environment, kustomize, of_kind, pod_spec, render_each, validate
from tests.watching.prometheus import REPOSITORY

KUSTOMIZE = REPOSITORY / "deploy" / "kustomize"
MODEL = {"settings": {"model": {"uri": "models:/digits@champion"}}}
SECURED = MODEL | {
    "access": {port: {"tokenSecret": f"robmon-{port}-token", "tlsSecret": "robmon-tls"} for port in ("http", "inputs")}
}
EXAMPLES = {"example": MODEL, "example-secured": SECURED, "example-kserve": MODEL}
VERSIONS = ("1.29", "1.37")


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    """For each example a pod into which the chart puts robmon."""
    return render_each(EXAMPLES, home=tmp_path_factory.mktemp("helm"), sidecars=list(EXAMPLES))


@pytest.fixture(scope="module")
def built() -> dict[str, list[Manifest]]:
    return {name: kustomize(KUSTOMIZE / name) for name in EXAMPLES}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of all components and examples."""
    shutil.copytree(KUSTOMIZE, tmp_path, dirs_exist_ok=True)
    return tmp_path


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run build.sh as users do."""
    variables = os.environ | {"KUBECTL": str(TOOLS / "kubectl")}
    command = ["sh", str(KUSTOMIZE / "build.sh"), str(folder)]
    return subprocess.run(command, env=variables, text=True, capture_output=True, check=False)


def spec_of(manifests: list[Manifest]) -> Manifest:
    """The pod of the only Deployment, or the predictor of the only InferenceService."""
    services = of_kind(manifests, "InferenceService")
    return services[0]["spec"]["predictor"] if services else pod_spec(manifests)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_components_make_the_charts_sidecar(
    name: str, charts: dict[str, list[Manifest]], built: dict[str, list[Manifest]]
) -> None:
    manifests = built[name]
    for version in VERSIONS:
        validate(manifests, version)
    ours, theirs = spec_of(manifests), charts[name][-1]["spec"]

    def by_name(items: list[Manifest]) -> list[Manifest]:
        return sorted(items, key=lambda item: str(item["name"]))

    assert by_name(ours["volumes"]) == by_name(theirs["volumes"])

    def files(container: Manifest) -> dict[str, str]:
        return {name: value for name, value in environment(container).items() if name.endswith("_FILE")}

    def without_settings(container: Manifest) -> dict[str, Any]:
        rest = {key: value for key, value in container.items() if key not in {"env", "envFrom"}}
        return rest | {"volumeMounts": by_name(container["volumeMounts"])}

    [our_container], [their_container] = ours["initContainers"], theirs["initContainers"]
    assert without_settings(our_container) == without_settings(their_container)
    assert files(our_container) == files(their_container)
    assert bool(files(our_container)) == (name == "example-secured")
    [config] = of_kind(manifests, "ConfigMap")
    assert {variable.variable for variable in settings.leaves()} >= set(config["data"])
    assert our_container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]


def test_a_fleet_finds_their_pods(built: dict[str, list[Manifest]]) -> None:
    [deployment] = of_kind(built["example"], "Deployment")
    assert deployment["spec"]["template"]["metadata"]["labels"]["robmon.dev/watched"] == "true"
    assert spec_of(built["example-kserve"])["labels"]["robmon.dev/watched"] == "true"


def test_a_predictor_keeps_what_it_has(folder: Path) -> None:
    """Kustomize replaces the lists of a kind of which it does not know how they are merged."""
    file = folder / "example-kserve" / "inferenceservice.yaml"
    service = yaml.safe_load(file.read_text())
    own: dict[str, list[Manifest]] = {
        "initContainers": [{"name": "warm-up", "image": "w"}],
        "containers": [{"name": "helper", "image": "h"}],
        "volumes": [{"name": "cache", "emptyDir": {}}],
    }
    service["spec"]["predictor"] |= own
    other = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "other"}}
    other["spec"] = {"predictor": {"model": {"modelFormat": {"name": "onnx"}}}}
    file.write_text(yaml.safe_dump_all([service, other]))
    manifests = kustomize(folder / "example-kserve")
    validate(manifests, "1.37")
    [patched, left] = of_kind(manifests, "InferenceService")
    predictor = patched["spec"]["predictor"]
    for key, items in own.items():
        assert all(item in predictor[key] for item in items)
    assert len(predictor["initContainers"]) == 2 and len(predictor["volumes"]) == 3
    assert predictor["model"] == service["spec"]["predictor"]["model"]
    assert left == other


OTHERS = [
    ("sidecar", "serving.kserve.io/v1beta1", "InferenceService"),
    ("sidecar", "apps/v1", "StatefulSet"),
    ("sidecar", "apps/v1", "DaemonSet"),
    ("sidecar", "networking.istio.io/v1", "DestinationRule"),
    ("kserve", "apps/v1", "Deployment"),
    ("kserve", "serving.kserve.io/v1alpha1", "InferenceGraph"),
    ("kserve", "networking.k8s.io/v1", "Ingress"),
]


@pytest.mark.parametrize(("component", "api", "kind"), OTHERS)
def test_a_component_fails_on_what_it_cannot_put_robmon_into(component: str, api: str, kind: str, folder: Path) -> None:
    labelled = {"apiVersion": api, "kind": kind, "metadata": {"name": "m", "labels": {"robmon/inject": "true"}}}
    (folder / "example" / "deployment.yaml").write_text(yaml.safe_dump(labelled | {"spec": {"predictor": {}}}))
    kustomization = folder / "example" / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("../sidecar", f"../{component}"))
    done = build(folder / "example")
    assert done.returncode != 0 and done.stdout == ""
    assert "inject is for" in done.stderr and "and this is none" in done.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_build_with_robmon_in_it_is_printed(name: str, built: dict[str, list[Manifest]]) -> None:
    done = build(KUSTOMIZE / name)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(yaml.safe_load_all(done.stdout)) == built[name]


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("example/deployment.yaml", 'robmon/inject: "true"', "app: served-model", "robmon is in nothing of"),
        ("example/deployment.yaml", 'robmon/inject: "true"', 'robmon/inject: "yes"', "robmon is in nothing of"),
        ("example/kustomization.yaml", "components:\n  - ../sidecar\n", "", "Deployment/served-model has the label"),
        (
            "example-kserve/kustomization.yaml",
            "components:\n  - ../kserve\n",
            "",
            "InferenceService/digits has the label",
        ),
        ("example-kserve/kustomization.yaml", "resources:", "resources:\n  - nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_a_build_without_robmon_is_an_error(file: str, old: str, new: str, complaint: str, folder: Path) -> None:
    changed = folder / file
    assert old in changed.read_text()
    changed.write_text(changed.read_text().replace(old, new))
    done = build(changed.parent)
    assert done.returncode != 0 and done.stdout == ""
    assert complaint in done.stderr
