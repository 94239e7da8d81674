"""The injection: its policies on pods of many kinds, by Google's CEL runtime."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from robmon.errors import ModelError
from robmon.models.uri import parse
from tests.watching import admission
from tests.watching.kubernetes import Manifest, forbidden, of_kind, render_each, validate

VERSIONS = ("1.36", "1.37")
POLICIES = ("--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
RELEASE = {
    "settings": {"mlflow": {"tracking_uri": "http://mlflow:5000"}, "model": {"require_tags": ["a=b c", 'd="e"']}},
    "env": [{"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": {"secretKeyRef": {"name": "mlflow", "key": "token"}}}],
    "access": {"http": {"tokenSecret": "t", "tlsSecret": "tls"}},
    "envFrom": [{"secretRef": {"name": "registry", "optional": True}}],
    "caBundle": {"configMap": "company"},
    "extraVolumes": [
        {"name": "secrets", "csi": {"driver": "secrets-store", "volumeAttributes": {"class-name": "a/b", "n": "1"}}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"audience": "m", "path": "token"}}]}},
        {
            "name": "scratch",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "metadata": {"labels": {"example.org/team": "ml"}},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                }
            },
        },
    ],
    "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
}
RELEASES: dict[str, Manifest] = {
    "bare": {},
    "full": RELEASE,
    "claim": {"device": {"mode": "claim", "claim": {"templateName": "gpu"}}},
    "resource": {"device": {"mode": "resource"}, "settings": {"device": {"name": "cuda:0"}}},
}
CHAMPION = "models:/digits@champion"
ENDPOINT = "http://127.0.0.1:8080/invocations"
PYTHON = {"name": "ROBMON_WORKER__PYTHON", "value": "/models/bin/python"}

RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(spec: Manifest | None = None, *, uri: str | None = CHAMPION, **metadata: Any) -> Manifest:
    """A pod of a model server that asks for robmon; its annotations without `robmon.dev/`."""
    asks = {"inject": "true"} | ({} if uri is None else {"model-uri": uri}) | metadata.pop("asks", {})
    annotations = metadata.pop("annotations", {}) | {f"robmon.dev/{key}": value for key, value in asks.items()}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "digits-7d4b9c", "namespace": "models", "annotations": annotations} | metadata,
        "spec": {"containers": [{"name": "model", "image": "model:1"}]} | (spec or {}),
    }


INJECTED = {
    "plain": pod(),
    "with-labels": pod(labels={"app.kubernetes.io/name": "digits", "app.kubernetes.io/instance": "shop"}),
    "with-an-init-container": pod({"initContainers": [{"name": "fetch", "image": "curl"}], "volumes": []}),
    "istio": pod(
        {
            "containers": [{"name": "model", "image": "m"}, {"name": "istio-proxy", "image": "proxyv2"}],
            "initContainers": [{"name": "istio-init", "image": "proxyv2"}],
            "volumes": [{"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}],
        },
        annotations={"sidecar.istio.io/status": "{}"},
    ),
    "istio-native": pod({"initContainers": [{"name": "istio-proxy", "image": "proxyv2", "restartPolicy": "Always"}]}),
    "restricted": pod(
        {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, "fsGroup": 3000},
            "containers": [{"name": "model", "image": "m", "securityContext": RESTRICTED}],
        }
    ),
    "openshift": pod(
        {
            "securityContext": {"fsGroup": 1000680000, "seLinuxOptions": {"level": "s0:c26,c15"}},
            "containers": [{"name": "model", "image": "m", "securityContext": {"runAsUser": 1000680000}}],
        },
        annotations={"openshift.io/scc": "restricted-v2"},
    ),
    "gpu": pod(
        {"containers": [{"name": "model", "image": "m", "resources": {"limits": {"nvidia.com/gpu": 1}}}]},
        asks={"variant": "cuda"},
    ),
    "gpu-claim": pod(
        {
            "containers": [{"name": "model", "image": "m", "resources": {"claims": [{"name": "shared-gpu"}]}}],
            "resourceClaims": [{"name": "shared-gpu", "resourceClaimTemplateName": "gpu"}],
        },
        asks={"variant": "cuda"},
    ),
    "gpu-without-the-claim": pod(asks={"variant": "cuda"}),
    "gpu-of-its-own": pod(asks={"variant": "cuda"}),
    "cpu-beside-gpus": pod(asks={"variant": "cpu"}),
    "job": pod(
        {"restartPolicy": "Never"},
        ownerReferences=[{"apiVersion": "batch/v1", "kind": "Job", "name": "score", "uid": "1", "controller": True}],
    ),
    "endpoint": pod(uri=ENDPOINT, asks={"variant": "remote", "settings": "robmon-digits"}, labels={"app": "digits"}),
    "kserve": pod(
        {
            "initContainers": [{"name": "storage-initializer", "image": "s", "args": ["s3://m", "/mnt/models"]}],
            "containers": [{"name": "kserve-container", "image": "mlserver"}, {"name": "agent", "image": "agent"}],
            "volumes": [{"name": "kserve-provision-location", "emptyDir": {}}],
        }
    ),
    "stateful": pod({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-0"}}]}),
    "a-name-of-two-words": pod(uri="models:/two digits/3"),
    "of-a-run": pod(uri="runs:/1f/models/digits"),
    "logged": pod(uri="models:/m-1f"),
    "v2-endpoint": pod(uri="https://me:secret@[::1]:8443/gateway/v2/models/digits/versions/3/infer"),
    "v1-endpoint": pod(uri="HTTP://digits.models.svc/v1/models/digits:predict", asks={"variant": "remote"}),
    "an-empty-name": pod(labels={"app.kubernetes.io/instance": "", "app.kubernetes.io/name": "", "app": "digits"}),
    "odd-name": pod(uri='models:/di"gits\\$(HOME)@champion'),
}
ROBMON = {"name": "robmon", "image": "robmon:0.1.0"}
LEFT_ALONE = {
    "does-not-ask": pod(annotations={}) | {"metadata": {"name": "a", "namespace": "models"}},
    "asks-not-to": pod(asks={"inject": "false"}),
    "already-injected": pod({"initContainers": [ROBMON | {"restartPolicy": "Always"}]}),
    "robmon-is-a-container": pod({"containers": [{"name": "model", "image": "m"}, ROBMON]}),
    "robmon-beside-its-volume": pod({"initContainers": [ROBMON], "volumes": [{"name": "robmon-tmp", "emptyDir": {}}]}),
}
NO_URIS = (
    *("garbage", "models:/x", "models:/a b", "models:/m@", "models:/digits/latest", "models:/a/3/b", "runs:/1f"),
    *("$(HOSTNAME)", "x" * 3000, f"models:/{'x' * 3000}/1", "models:/digits@champion\n", " models:/digits/3"),
    *("s3://bucket/model", "http://h", "http://h:0/invocations", "http://h:65536/invocations", "http:///invocations"),
    *("http://h/invocations?a=b", "http://h/v1/models/a/predict", "http://h/v2/models/a b/infer"),
)
WARNED = {
    "no-model": (pod(uri=None), "robmon.dev/model-uri names no model"),
    "empty-model": (pod(uri=""), "robmon.dev/model-uri names no model"),
    **{
        f"uri-{place}": (pod(uri=uri), "robmon.dev/model-uri names no model: give models:/name@alias")
        for place, uri in enumerate(NO_URIS)
    },
    **{
        f"inject-{word}": (pod(asks={"inject": word}), 'robmon.dev/inject is neither "true" nor "false"')
        for word in ("True", "yes", "1", "")
    },
    "has-the-volume": (pod({"volumes": [{"name": "robmon-tmp", "emptyDir": {}}]}), "name of one of robmon's"),
    "limits-of-the-pod": (pod({"resources": {"limits": {"memory": "512Mi"}}}), "the pod has resources of its own"),
    "requests-of-the-pod": (pod({"resources": {"requests": {"cpu": "1"}}}), "the pod has resources of its own"),
    "remote-and-a-version": (pod(uri="models:/a/3", asks={"variant": "remote"}), "holds no model libraries"),
    "remote-and-a-run": (pod(uri="runs:/1f/model", asks={"variant": "remote"}), "holds no model libraries"),
    "unknown-variant": (pod(asks={"variant": "gpu"}), "robmon.dev/variant is none of cpu, cuda, remote"),
    "no-name": (pod(asks={"settings": "My Settings"}), "robmon.dev/settings is no name of a ConfigMap"),
    "windows": (pod({"os": {"name": "windows"}}), "it is a Linux program"),
    "host-network": (pod({"hostNetwork": True}), "its ports would be the node's"),
}


SCOPES = {"an-empty-name": "digits.models", "with-labels": "shop.models", "endpoint": "digits.models"}
OF_RELEASE = {
    "plain": "bare",
    "endpoint": "bare",
    "v1-endpoint": "bare",
    "v2-endpoint": "bare",
    "gpu-claim": "claim",
    "gpu-without-the-claim": "claim",
    "gpu-of-its-own": "resource",
    "cpu-beside-gpus": "resource",
}
WITH_DEVICE = {"gpu-claim", "gpu-of-its-own"}


def release_of(name: str) -> str:
    """The release whose policies a pod meets."""
    return OF_RELEASE.get(name, "full")


def sidecar_values(name: str) -> Manifest:
    """The values by which the chart itself would put robmon into this pod."""
    annotations = INJECTED[name]["metadata"]["annotations"]
    asked = {key.removeprefix("robmon.dev/"): value for key, value in annotations.items()}
    values = copy.deepcopy(RELEASES[release_of(name)])
    settings = values.pop("settings", {})
    if name not in WITH_DEVICE:
        values.pop("device", None)
        settings.pop("device", None)
    settings["model"] = settings.get("model", {}) | {"uri": asked["model-uri"]}
    settings["history"] = {"scope": SCOPES.get(name, "pods.models")}
    image = {"variant": asked.get("variant", "cpu")}
    return values | {"settings": settings, "image": image, "settingsConfigMap": asked.get("settings", "")}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    """Policies of each release, and for each pod the sidecar as the chart itself renders it."""
    policies = {name: values | {"injection": {"enabled": True}} for name, values in RELEASES.items()}
    sidecars = {f"in-{name}": sidecar_values(name) for name in INJECTED}
    home = tmp_path_factory.mktemp("helm")
    return render_each(policies | sidecars, *POLICIES, home=home, sidecars=list(sidecars))


def policy_of(manifests: list[Manifest]) -> Manifest:
    [policy] = of_kind(manifests, "MutatingAdmissionPolicy")
    return policy


def by_name(items: list[Manifest]) -> dict[str, Manifest]:
    named = {item["name"]: item for item in items}
    assert len(named) == len(items)
    return named


@pytest.mark.parametrize("name", INJECTED)
def test_a_pod_that_asks_gets_the_charts_own_sidecar(name: str, rendered: dict[str, list[Manifest]]) -> None:
    given = INJECTED[name]
    policy = policy_of(rendered[release_of(name)])
    admitted = admission.admit(policy, given)
    charts = rendered[f"in-{name}"][-1]["spec"]

    *others, sidecar = admitted["spec"]["initContainers"]
    [expected] = charts["initContainers"]
    for container in (sidecar, expected):  # as Kubernetes stores amounts
        limits = container["resources"]["limits"]
        limits |= {key: str(amount) for key, amount in limits.items()}
    assert by_name(sidecar.pop("env")) == by_name(expected.pop("env"))
    assert sidecar == expected
    added = len(given["spec"].get("volumes", []))
    assert admitted["spec"]["volumes"][added:] == charts["volumes"]

    restored = copy.deepcopy(admitted)
    restored["spec"] |= {"initContainers": others, "volumes": admitted["spec"]["volumes"][:added]}
    assert restored["metadata"]["labels"].pop("robmon.dev/watched") == "true"
    assert restored == given | {
        "metadata": {"labels": {}} | given["metadata"],
        "spec": {"initContainers": [], "volumes": []} | given["spec"],
    }


@pytest.mark.parametrize("name", INJECTED)
def test_it_is_a_pod_as_before_and_never_injected_twice(name: str, rendered: dict[str, list[Manifest]]) -> None:
    policy = policy_of(rendered[release_of(name)])
    admitted = admission.admit(policy, INJECTED[name])
    for version in VERSIONS:
        validate([admitted], version)
    assert admission.admit(policy, admitted) == admitted
    if name == "restricted":
        assert forbidden(INJECTED[name]["spec"]) == forbidden(admitted["spec"]) == []


@pytest.mark.parametrize("name", [*LEFT_ALONE, *WARNED])
def test_other_pods_are_left_as_they_are(name: str, rendered: dict[str, list[Manifest]]) -> None:
    given = LEFT_ALONE[name] if name in LEFT_ALONE else WARNED[name][0]
    for release in RELEASES:
        assert admission.admit(policy_of(rendered[release]), given) == given


@pytest.mark.parametrize("name", [*INJECTED, *LEFT_ALONE, *WARNED])
def test_who_asks_in_vain_is_told(name: str, rendered: dict[str, list[Manifest]]) -> None:
    """Of a pod, and of what makes pods."""
    given = (INJECTED | LEFT_ALONE).get(name) or WARNED[name][0]
    template = {key: given[key] for key in ("metadata", "spec")}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template}}
    [policy] = of_kind(rendered["bare"], "ValidatingAdmissionPolicy")
    for one in (given, deployment):
        told = admission.warnings(policy, one)
        if name in WARNED:
            assert len(told) == 1 and WARNED[name][1] in told[0]
        else:
            assert told == []


def test_a_deployment_without_metadata_in_its_template_is_not_told(rendered: dict[str, list[Manifest]]) -> None:
    [policy] = of_kind(rendered["bare"], "ValidatingAdmissionPolicy")
    assert admission.warnings(policy, {"spec": {"template": {"spec": {}}}}) == []


@pytest.mark.parametrize("release", RELEASES)
def test_the_policies_are_valid_and_never_in_the_way(release: str, rendered: dict[str, list[Manifest]]) -> None:
    manifests = rendered[release]
    for version in VERSIONS:
        validate(manifests, version)
    for kind in ("MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"):
        [policy] = of_kind(manifests, kind)
        [binding] = of_kind(manifests, f"{kind}Binding")
        assert binding["spec"]["policyName"] == policy["metadata"]["name"]
        assert policy["spec"]["failurePolicy"] == "Ignore"
        assert policy["spec"]["matchConstraints"]["namespaceSelector"] == {
            "matchLabels": {"robmon.dev/injection": "enabled"}
        }
    assert binding["spec"]["validationActions"] == ["Warn", "Audit"]


@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_own_checker_would_take_every_literal(release: str, rendered: dict[str, list[Manifest]]) -> None:
    spec = policy_of(rendered[release])["spec"]
    expressions = [one["expression"] for one in (*spec["matchConditions"], *spec["variables"])]
    expressions += [mutation["jsonPatch"]["expression"] for mutation in spec["mutations"]]
    assert [admission.literal_faults(expression) for expression in expressions] == [[] for _ in expressions]


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ('[{"a": "b", "c": 1}]', "a map holds numbers and text"),
        ('["a", 1]', "a list holds numbers and text"),
        ("Object.spec{a: [Object.spec.b{c: 1}]}", "Object.spec.b stands where Object.spec.a is meant"),
        ("Object.spec{a: Object.spec.b{}}", "Object.spec.b stands where Object.spec.a is meant"),
        ('[Object.spec.a{b: "c"}, "d"]', "a list holds Object.spec.a and text"),
    ],
)
def test_and_it_would_not_take_these(expression: str, fault: str) -> None:
    assert admission.literal_faults(expression) == [fault]


def test_with_a_digest_only_the_variant_of_that_image_is_put_in(
    rendered: dict[str, list[Manifest]], tmp_path: Any
) -> None:
    digest = {"variant": "remote", "digest": "sha256:" + "ab" * 32}
    values = {"image": digest, "injection": {"enabled": True, "namespaceLabels": {"team": "a"}}}
    manifests = render_each({"digest": values}, *POLICIES, home=tmp_path)["digest"]
    policy = policy_of(manifests)
    assert admission.admit(policy, pod(asks={"variant": "cpu"})) == pod(asks={"variant": "cpu"})
    assert admission.admit(policy, pod()) == pod(), "that image holds no model libraries"
    for asked in ({}, {"variant": "remote"}):
        asked |= {"settings": "digits"}
        [sidecar] = admission.admit(policy, pod(uri=ENDPOINT, asks=asked))["spec"]["initContainers"]
        assert sidecar["image"] == f"robmon@{digest['digest']}"
    assert "team: a" in yaml.safe_dump(policy["spec"]["matchConstraints"]["namespaceSelector"])


V2_ENDPOINT = "http://127.0.0.1:8080/v2/models/digits/infer"


@pytest.mark.parametrize("uri", [CHAMPION, ENDPOINT, V2_ENDPOINT])
def test_nothing_is_put_in_that_the_releases_settings_would_stop(uri: str, tmp_path: Any) -> None:
    """robmon ends at once where its settings are not for its URI."""
    releases: dict[str, tuple[Manifest, set[str]]] = {
        "flavors": ({"model": {"allowed_flavors": ["onnx"]}}, {CHAMPION}),
        "precision": ({"device": {"precision": "bfloat16"}}, {CHAMPION}),
        "log": ({"history": {"log_to_mlflow": True}}, {CHAMPION}),
        "name": ({"model": {"name": "digits"}}, {ENDPOINT, V2_ENDPOINT}),
        "nothing": ({}, {CHAMPION, V2_ENDPOINT}),
    }
    cases = {name: {"settings": settings, "injection": {"enabled": True}} for name, (settings, _) in releases.items()}
    given = pod(uri=uri)
    for name, manifests in render_each(cases, *POLICIES, home=tmp_path).items():
        [warning] = of_kind(manifests, "ValidatingAdmissionPolicy")
        is_put_in = uri in releases[name][1]
        assert (admission.admit(policy_of(manifests), given) != given) == is_put_in
        assert (admission.warnings(warning, given) == []) == is_put_in


@pytest.mark.parametrize("python", [{"settings": {"worker": {"python": "/models/bin/python"}}}, {"env": [PYTHON]}])
def test_the_variant_remote_loads_with_an_interpreter_of_its_own(python: Manifest, tmp_path: Any) -> None:
    values = python | {"image": {"variant": "remote"}, "injection": {"enabled": True}}
    policy = policy_of(render_each({"python": values}, *POLICIES, home=tmp_path)["python"])
    [sidecar] = admission.admit(policy, pod())["spec"]["initContainers"]
    assert sidecar["image"] == "robmon:0.1.0-remote"


def test_every_uri_of_the_pods_is_one_of_robmons_or_none() -> None:
    """What is injected starts: robmon's own parser takes it."""
    for given in INJECTED.values():
        parse(given["metadata"]["annotations"]["robmon.dev/model-uri"])
    for uri in set(NO_URIS) - {f"models:/{'x' * 3000}/1", "models:/digits@champion\n", "http://h/v2/models/a b/infer"}:
        with pytest.raises(ModelError):
            parse(uri)
