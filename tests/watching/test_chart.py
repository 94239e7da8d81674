"""The chart: linted, rendered in every mode, valid for Kubernetes, and true to what a guest in a pod must be."""

from __future__ import annotations

import itertools
import json
import re
import runpy
import shutil
from pathlib import Path

import pytest
import yaml

from tests.watching.kubernetes import (
    CHART,
    Manifest,
    environment,
    helm,
    of_kind,
    pod_spec,
    render,
    validate,
)
from tests.watching.prometheus import REPOSITORY

CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
MODEL = ("--set", "settings.model.uri=models:/digits@champion")
ALONE = (*MODEL, "--set", "standalone.enabled=true")
SYNC = runpy.run_path(str(REPOSITORY / "helm" / "sync.py"))

# The form in which a pod names its resource claims has been the same since then.
OLDEST = {"device-claim-values": "1.31"}
NEWEST = "1.37"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example chart with its dependency built, in a copy."""
    folder = tmp_path_factory.mktemp("helm")
    shutil.copytree(REPOSITORY / "helm", folder, dirs_exist_ok=True)
    chart = folder / "examples" / "served-model"
    result = helm("dependency", "build", chart, home=folder)
    assert result.returncode == 0, result.stderr
    return chart


def robmon_container(spec: Manifest) -> Manifest:
    [container] = [one for one in spec.get("initContainers", []) + spec["containers"] if one["name"] == "robmon"]
    found: Manifest = container
    return found


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.stem)
def test_every_mode_lints_and_is_valid(values: Path, tmp_path: Path) -> None:
    result = helm("lint", "--strict", CHART, "--values", values, home=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    for version in (OLDEST.get(values.stem, "1.29"), NEWEST):
        manifests = render(CHART, "--values", values, "--kube-version", version, home=tmp_path)
        assert manifests
        validate(manifests, version)


def test_the_example_lints_and_is_valid(example: Path, tmp_path: Path) -> None:
    result = helm("lint", "--strict", example, home=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    for version in ("1.29", NEWEST):
        validate(render(example, "--kube-version", version, home=tmp_path), version)


def test_a_sidecar_is_native_and_holds_up_nothing(example: Path, tmp_path: Path) -> None:
    spec = pod_spec(render(example, home=tmp_path))
    assert [container["name"] for container in spec["containers"]] == ["model"]
    [sidecar] = spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": 9877}
    assert {"readinessProbe", "startupProbe", "lifecycle"}.isdisjoint(sidecar)
    assert "securityContext" not in spec, "the pod's belongs to the model server"
    assert environment(sidecar)["ROBMON_MODEL__FOLLOW"] == "pinned"
    assert environment(sidecar)["ROBMON_MODEL__URI"] == "models:/digits@champion"


@pytest.mark.parametrize(
    "values",
    [file for file in CI_VALUES if file.stem not in {"sidecar-values", "fleet-values"}],
    ids=lambda file: file.stem,
)
def test_the_container_is_a_harmless_guest(values: Path, tmp_path: Path) -> None:
    spec = pod_spec(render(CHART, "--values", values, home=tmp_path))
    container = robmon_container(spec)
    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "readinessProbe" not in container
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["memory"]
    assert spec["automountServiceAccountToken"] is False
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume.pop("name"): volume for volume in spec["volumes"]}
    assert set(mounts) == set(volumes)
    written = {name: volume for name, volume in volumes.items() if "secret" not in volume}
    assert {name: mounts[name]["mountPath"] for name in written} == {"robmon-data": "/data", "robmon-tmp": "/tmp"}
    assert {kind for volume in written.values() for kind in volume} == {"emptyDir"}
    assert all(mounts[name]["readOnly"] and "subPath" not in mounts[name] for name in volumes.keys() - written.keys())
    assert not re.search(r"hostPath|privileged|hostNetwork|NVIDIA_VISIBLE_DEVICES", json.dumps(spec))


def test_without_a_device_no_gpu_is_seen(tmp_path: Path) -> None:
    container = robmon_container(pod_spec(render(CHART, *MODEL, "--set", "standalone.enabled=true", home=tmp_path)))
    assert environment(container)["CUDA_VISIBLE_DEVICES"] == ""
    assert set(container["resources"]["limits"]) == {"memory"}


def test_a_device_of_its_own(tmp_path: Path) -> None:
    spec = pod_spec(render(CHART, "--values", CHART / "ci" / "device-resource-values.yaml", home=tmp_path))
    container = robmon_container(spec)
    assert container["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu.shared": 1}
    assert environment(container)["ROBMON_DEVICE__NAME"] == "auto"
    assert "CUDA_VISIBLE_DEVICES" not in environment(container)


def test_a_device_shared_by_claim(example: Path, tmp_path: Path) -> None:
    claim = ("--set", "robmon.device.mode=claim", "--set", "robmon.device.claim.templateName=single-gpu")
    manifests = render(example, *claim, home=tmp_path)
    validate(manifests, NEWEST)
    spec = pod_spec(manifests)
    assert spec["resourceClaims"] == [{"name": "shared-gpu", "resourceClaimTemplateName": "single-gpu"}]
    for container in (*spec["containers"], *spec["initContainers"]):
        assert container["resources"]["claims"] == [{"name": "shared-gpu"}]


def test_probe_and_scrape_speak_tls_where_robmon_does(tmp_path: Path) -> None:
    values = ("--values", CHART / "ci" / "secured-values.yaml")
    secured = render(CHART, *values, home=tmp_path)
    open_to_all = render(CHART, *values, "--set", "access.http.tlsSecret=,access.http.tokenSecret=", home=tmp_path)
    probes = [robmon_container(pod_spec(one))["livenessProbe"]["httpGet"] for one in (secured, open_to_all)]
    assert [probe.get("scheme") for probe in probes] == ["HTTPS", None]
    endpoints = [of_kind(one, "PodMonitor")[0]["spec"]["podMetricsEndpoints"][0] for one in (secured, open_to_all)]
    assert endpoints == [
        {
            "port": "robmon-http",
            "path": "/metrics",
            "scheme": "https",
            "authorization": {"credentials": {"name": "robmon-http-token", "key": "token"}},
            "tlsConfig": {
                "ca": {"secret": {"name": "robmon-tls", "key": "ca.crt"}},
                "serverName": "robmon.models.svc",
            },
        },
        {"port": "robmon-http", "path": "/metrics"},
    ]
    [own_key] = of_kind(render(CHART, *values, "--set", "podMonitor.tokenKey=prometheus", home=tmp_path), "PodMonitor")
    assert own_key["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"]["key"] == "prometheus"


def test_the_network_policy_admits_nobody_who_is_not_named(tmp_path: Path) -> None:
    values = ("--values", CHART / "ci" / "secured-values.yaml")
    for emptied, ports in (
        ([], [9878, 9877]),
        (["inputsFrom"], [9877]),
        (["httpFrom"], [9878]),
        (["inputsFrom", "httpFrom"], []),
    ):
        arguments = [part for name in emptied for part in ("--set-json", f"networkPolicy.{name}=[]")]
        [policy] = of_kind(render(CHART, *values, *arguments, home=tmp_path), "NetworkPolicy")
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        rules = policy["spec"].get("ingress", [])
        assert [port["port"] for rule in rules for port in rule["ports"]] == ports
        assert all(rule["from"] for rule in rules)


def test_a_new_version_of_the_chart_alone_is_no_new_pod(tmp_path: Path) -> None:
    chart = tmp_path / "robmon"
    shutil.copytree(CHART, chart)
    image = ("--set", "image.tag=1.2.3,standalone.podLabels.team=a")
    [before] = of_kind(render(chart, *ALONE, *image, home=tmp_path), "Deployment")
    described = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(re.sub(r"(?m)^(version|appVersion): .*$", r"\1: 9.9.9", described))
    [after] = of_kind(render(chart, *ALONE, *image, home=tmp_path), "Deployment")
    assert before["spec"] == after["spec"]
    assert before["metadata"]["labels"] != after["metadata"]["labels"]
    labels = after["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "a" and after["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("standalone.enabled=true", "robmon watches models:/digits@champion. Send it copies"),
        ("fleet.enabled=true", "Pods with these labels are scraped in all namespaces:\n  robmon.dev/watched=true"),
        (
            "standalone.enabled=true,access.http.tokenSecret=t,access.http.tlsSecret=s,networkPolicy.enabled=true,"
            "podMonitor.tlsConfig.insecureSkipVerify=true",
            "once networkPolicy.inputsFrom lets somebody: now nobody may,\n"
            "and see what it says, at https://127.0.0.1:9877/ (with a token of the Secret t), after\n",
        ),
        (
            "audit.rayJob.enabled=true,audit.rayJob.image=i,audit.rayJob.inputs=a: b,audit.rayJob.out=s3://b/c",
            "\nKubeRay's operator audits models:/*, and the results are written below s3://b/c:\n",
        ),
        ("nameOverride=x", "Nothing runs yet: include robmon in the pod of your model server"),
    ],
)
def test_whoever_installs_it_is_told_what_comes_next(given: str, told: str, tmp_path: Path) -> None:
    result = helm("install", "release", CHART, "--dry-run=client", *MODEL, "--set", given, home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert told in result.stdout.partition("NOTES:")[2]


def test_alone_it_renders_nothing(tmp_path: Path) -> None:
    assert render(CHART, home=tmp_path) == []


def test_dashboards_are_installed_as_they_are(tmp_path: Path) -> None:
    manifests = render(CHART, "--values", CHART / "ci" / "sidecar-values.yaml", home=tmp_path)
    found = of_kind(manifests, "ConfigMap")
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in found} == {"1"}
    sources = sorted((REPOSITORY / "grafana" / "dashboards").glob("*.json"))
    assert [each["data"] for each in found] == [{source.name: source.read_text()} for source in sources]
    assert len({each["metadata"]["name"] for each in found}) == len(sources) == 3


def test_the_pod_monitor_finds_the_port_by_its_name(example: Path, tmp_path: Path) -> None:
    manifests = render(example, home=tmp_path)
    [monitor] = of_kind(manifests, "PodMonitor")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    [deployment] = of_kind(manifests, "Deployment")
    pod = deployment["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in robmon_container(pod["spec"])["ports"]}
    assert ports[endpoint["port"]] == 9877
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_the_chart_is_in_step_with_its_sources() -> None:
    for path, text in SYNC["copies"]().items():
        assert path.read_text() == text, f"run helm/sync.py: {path.name} is out of step"


def test_the_variants_are_those_of_the_image() -> None:
    program = (REPOSITORY / "deploy" / "install_variant.sh").read_text()
    variants = re.findall(r"^ +(\w+)\) parts=", program, flags=re.MULTILINE)
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert variants == schema["image"]["properties"]["variant"]["enum"][1:]
    assert set(variants) == set(schema["resourcesByVariant"]["properties"])


def test_the_schema_describes_and_closes_everything() -> None:
    def check(schema: Manifest, path: str) -> None:
        assert schema.get("description"), path
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path
        for name, child in schema.get("properties", {}).items():
            check(child, f"{path}.{name}")

    schema = json.loads((CHART / "values.schema.json").read_text())
    check(schema, "values")
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) == {*values, "global"}


def test_every_value_has_a_comment_above_it() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    groups = {"image:", "device:", "volumes:", "standalone:", "podMonitor:", "prometheusRule:", "dashboards:"}
    groups |= {"data:", "tmp:", "capabilities:", "seccompProfile:", "networkPolicy:", "fleet:"}
    for above, line in itertools.pairwise(lines):
        if re.match(r"\s*\w+:", line) and line.strip() not in groups:
            assert above.strip().startswith("#"), line
