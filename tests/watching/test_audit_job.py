"""The audit of a registry as a RayJob: what the chart renders, against the schemas of KubeRay and Kubernetes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from robmon.cli.main import main
from tests.environment import REPOSITORY
from tests.watching import custom_resources
from tests.watching.kubernetes import CHART, Manifest, forbidden, helm, of_kind, render

RAY = REPOSITORY / "deploy" / "ray"
VERSIONS = ("1.29", "1.37")
OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return render(CHART, "--values", RAY / "values.yaml", home=tmp_path_factory.mktemp("helm"))


def job(manifests: list[Manifest]) -> dict[str, Any]:
    return dict(of_kind(manifests, "RayJob")[0])


def pod_templates(manifests: list[Manifest]) -> list[dict[str, Any]]:
    cluster = job(manifests)["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_as_kuberay_and_kubernetes_have_it(rendered: list[Manifest], version: str) -> None:
    custom_resources.validate(job(rendered), version)
    for template in pod_templates(rendered):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, version, strict=True)
        assert not forbidden(template["spec"])


def test_its_pods_are_pulled_and_placed_as_said(tmp_path: Path) -> None:
    given = {"imagePullSecrets": [{"name": "pull"}], "nodeSelector": {"a/b": "c"}, "tolerations": [{"key": "d"}]}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"audit": {"rayJob": given}}))
    made = render(CHART, "--values", RAY / "values.yaml", "--values", values, home=tmp_path)
    for template in pod_templates(made):
        assert {name: template["spec"][name] for name in given} == given


def test_a_field_that_kuberay_has_not_is_an_error(rendered: list[Manifest]) -> None:
    wrong = job(rendered)
    wrong["spec"] = wrong["spec"] | {"activeDeadlineSecond": 1}
    with pytest.raises(jsonschema.ValidationError):
        custom_resources.validate(wrong, VERSIONS[0])


def test_its_command_is_one_of_robmons(rendered: list[Manifest], tmp_path: Path) -> None:
    """It is read up to the map, which is not there."""
    program, *words = shlex.split(job(rendered)["spec"]["entrypoint"])
    assert program == "robmon"
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "/etc/robmon/map.yaml" in result.output
    (content,) = [each["data"]["map.yaml"] for each in of_kind(rendered, "ConfigMap")]
    assert list(yaml.safe_load(content)) == ["digits-*", "*"]


def test_the_manifest_beside_the_values_is_what_the_chart_renders(tmp_path: Path) -> None:
    """After: helm template audit helm/robmon -f deploy/ray/values.yaml"""
    result = helm("template", "audit", CHART, "--values", RAY / "values.yaml", home=tmp_path)
    manifests = [each for each in yaml.safe_load_all(result.stdout) if each]
    for manifest in manifests:
        for label in OF_HELM:
            manifest["metadata"]["labels"].pop(label)
    assert [each for each in yaml.safe_load_all((RAY / "rayjob.yaml").read_text("utf-8")) if each] == manifests


@pytest.mark.parametrize("lacking", ["image", "inputs", "out"])
def test_what_it_cannot_do_without_is_named(lacking: str, tmp_path: Path) -> None:
    empty = f"audit.rayJob.{lacking}="
    result = helm("template", "audit", CHART, "--values", RAY / "values.yaml", "--set", empty, home=tmp_path)
    assert result.returncode != 0
    assert f"audit.rayJob.enabled needs audit.rayJob.{lacking}" in result.stderr
