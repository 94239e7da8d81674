"""The chart's values: what each of them does."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest

from tests.watching.kubernetes import Manifest, at, forbidden, of_kind, pods, render_each, validate

DIGEST = "sha256:" + "0123456789abcdef" * 4
SPEC = "spec.template.spec"
ROBMON = f"{SPEC}.containers.0"
ENDPOINT = "spec.podMetricsEndpoints.0"

Case = tuple[Manifest, str, dict[str, Any]]
"""Values beside a standalone robmon's, the kind of object, and what stands there at which path (None: nothing)."""

CASES: dict[str, Case] = {
    "registry": ({"image": {"registry": "ghcr.io/me/"}}, "Deployment", {f"{ROBMON}.image": "ghcr.io/me/robmon:0.1.0"}),
    "repository": ({"image": {"repository": "me/robmon"}}, "Deployment", {f"{ROBMON}.image": "me/robmon:0.1.0"}),
    "tag": ({"image": {"tag": "1.2.3"}}, "Deployment", {f"{ROBMON}.image": "robmon:1.2.3"}),
    "digest": ({"image": {"digest": DIGEST}}, "Deployment", {f"{ROBMON}.image": f"robmon@{DIGEST}"}),
    "tag-and-digest": (
        {"image": {"registry": "r:5000", "tag": "1", "digest": DIGEST}},
        "Deployment",
        {f"{ROBMON}.image": f"r:5000/robmon:1@{DIGEST}"},
    ),
    "variant-cpu": (
        {"image": {"variant": "cpu"}},
        "Deployment",
        {
            f"{ROBMON}.image": "robmon:0.1.0",
            f"{ROBMON}.resources.requests": {"cpu": "100m", "memory": "640Mi", "ephemeral-storage": "1Gi"},
            f"{ROBMON}.resources.limits": {"memory": "1Gi"},
        },
    ),
    "variant-cuda": (
        {"image": {"variant": "cuda", "tag": "1.2.3"}},
        "Deployment",
        {f"{ROBMON}.image": "robmon:1.2.3-cuda", f"{ROBMON}.resources.limits": {"memory": "4Gi"}},
    ),
    "variant-remote": (
        {
            "image": {"variant": "remote", "tag": "1.2.3-remote"},
            "settings": {"model": {"uri": "http://127.0.0.1:8080/v2/models/digits/infer"}},
        },
        "Deployment",
        {
            f"{ROBMON}.image": "robmon:1.2.3-remote",
            f"{ROBMON}.resources.requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "256Mi"},
            f"{ROBMON}.resources.limits": {"memory": "256Mi"},
        },
    ),
    "variant-of-a-device": (
        {"device": {"mode": "resource"}},
        "Deployment",
        {
            f"{ROBMON}.image": "robmon:0.1.0-cuda",
            f"{ROBMON}.resources.limits": {"memory": "4Gi", "nvidia.com/gpu": 1},
        },
    ),
    "resources": (
        {"resources": {"requests": {"cpu": 1, "memory": None}, "limits": {"memory": "2Gi"}}},
        "Deployment",
        {
            f"{ROBMON}.resources": {
                "requests": {"cpu": 1, "ephemeral-storage": "1Gi"},
                "limits": {"memory": "2Gi"},
            }
        },
    ),
    "webhook-secret": (
        {"access": {"http": {"webhookSecret": "mlflow-webhook", "webhookKey": "key"}}},
        "Deployment",
        {
            f"{ROBMON}.env.ROBMON_MLFLOW__WEBHOOK_SECRET_FILE.value": "/etc/robmon/http-webhook/key",
            f"{SPEC}.volumes.robmon-http-webhook.secret.secretName": "mlflow-webhook",
            f"{ROBMON}.volumeMounts.robmon-http-webhook.mountPath": "/etc/robmon/http-webhook",
        },
    ),
    "no-limits": (
        {"resources": {"limits": {"memory": None}}},
        "Deployment",
        {f"{ROBMON}.resources.limits": None},
    ),
    "resources-by-variant": (
        {"resourcesByVariant": {"cpu": {"limits": {"memory": "3Gi"}}}},
        "Deployment",
        {f"{ROBMON}.resources.limits.memory": "3Gi", f"{ROBMON}.resources.requests.memory": "640Mi"},
    ),
    "ca-bundle": (
        {"caBundle": {"configMap": "company", "key": "bundle.pem"}},
        "Deployment",
        {
            f"{SPEC}.volumes.robmon-ca": {"name": "robmon-ca", "configMap": {"name": "company"}},
            f"{ROBMON}.volumeMounts.robmon-ca.mountPath": "/etc/robmon/ca",
            f"{ROBMON}.env.SSL_CERT_FILE.value": "/etc/robmon/ca/bundle.pem",
            f"{ROBMON}.env.REQUESTS_CA_BUNDLE.value": "/etc/robmon/ca/bundle.pem",
            f"{ROBMON}.env.AWS_CA_BUNDLE.value": "/etc/robmon/ca/bundle.pem",
        },
    ),
    "ca-bundle-of-a-secret": (
        {"caBundle": {"secret": "company"}},
        "Deployment",
        {
            f"{SPEC}.volumes.robmon-ca": {"name": "robmon-ca", "secret": {"secretName": "company"}},
            f"{ROBMON}.env.SSL_CERT_FILE.value": "/etc/robmon/ca/ca.crt",
        },
    ),
    "extra-volumes": (
        {
            "extraVolumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}],
            "extraVolumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
        },
        "Deployment",
        {
            f"{SPEC}.volumes.models.persistentVolumeClaim.claimName": "models",
            f"{ROBMON}.volumeMounts.models.readOnly": True,
        },
    ),
    "listen-address": (
        {"listenAddress": "::"},
        "Deployment",
        {f"{ROBMON}.env.ROBMON_HTTP__HOST.value": "::", f"{ROBMON}.env.ROBMON_INPUTS__HOST.value": "::"},
    ),
    "settings-config-map": (
        {
            "settings": {"model": {"uri": "", "follow": None}},
            "settingsConfigMap": "digits",
            "envFrom": [{"secretRef": {"name": "s"}}],
        },
        "Deployment",
        {
            f"{ROBMON}.envFrom": [{"configMapRef": {"name": "digits"}}, {"secretRef": {"name": "s"}}],
            f"{ROBMON}.env.ROBMON_MODEL__URI": None,
            f"{ROBMON}.env.ROBMON_MODEL__FOLLOW": None,
        },
    ),
    "priority-class": ({"priorityClassName": "low"}, "Deployment", {f"{SPEC}.priorityClassName": "low"}),
    "runtime-class": ({"runtimeClassName": "nvidia"}, "Deployment", {f"{SPEC}.runtimeClassName": "nvidia"}),
    "spread": (
        {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
            ]
        },
        "Deployment",
        {f"{SPEC}.topologySpreadConstraints.0.maxSkew": 1},
    ),
    "pod-security-context": (
        {"podSecurityContext": {"fsGroup": 2000, "supplementalGroups": [3000]}},
        "Deployment",
        {f"{SPEC}.securityContext": {"fsGroup": 2000, "supplementalGroups": [3000]}},
    ),
    "no-pod-security-context": (
        {},
        "Deployment",
        {f"{SPEC}.securityContext": None, f"{SPEC}.enableServiceLinks": False},
    ),
    "service-links": ({"enableServiceLinks": True}, "Deployment", {f"{SPEC}.enableServiceLinks": True}),
    "service-account": (
        {"serviceAccount": {"create": True, "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}}},
        "ServiceAccount",
        {
            "metadata.name": "release-robmon",
            "metadata.annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"},
            "automountServiceAccountToken": False,
        },
    ),
    "service-account-that-is-there": (
        {"serviceAccount": {"name": "registry-reader"}},
        "Deployment",
        {f"{SPEC}.serviceAccountName": "registry-reader", f"{SPEC}.automountServiceAccountToken": False},
    ),
    "service-account-of-a-name": (
        {"serviceAccount": {"create": True, "name": "mine"}},
        "Deployment",
        {f"{SPEC}.serviceAccountName": "mine"},
    ),
    "existing-claim": (
        {"persistence": {"existingClaim": "robmon-data"}},
        "Deployment",
        {
            f"{SPEC}.volumes.robmon-data": {
                "name": "robmon-data",
                "persistentVolumeClaim": {"claimName": "robmon-data"},
            },
            f"{SPEC}.securityContext": {"fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"},
        },
    ),
    "claim": (
        {"persistence": {"size": "8Gi"}, "podSecurityContext": {"fsGroup": 2000}},
        "PersistentVolumeClaim",
        {
            "metadata.name": "release-robmon",
            "metadata.annotations": {"helm.sh/resource-policy": "keep"},
            "spec.resources.requests.storage": "8Gi",
        },
    ),
    "claim-in-the-pod": (
        {"persistence": {"size": "8Gi"}, "podSecurityContext": {"fsGroup": 2000}},
        "Deployment",
        {
            f"{SPEC}.volumes.robmon-data.persistentVolumeClaim.claimName": "release-robmon",
            f"{SPEC}.securityContext": {"fsGroup": 2000},
        },
    ),
    "common-labels": (
        {
            "commonLabels": {"team": "digits"},
            "persistence": {"size": "1Gi"},
            "serviceAccount": {"create": True},
            **{name: {"enabled": True} for name in ("podMonitor", "prometheusRule", "dashboards", "networkPolicy")},
        },
        "Deployment",
        {
            "metadata.labels.team": "digits",
            "spec.template.metadata.labels.team": "digits",
            "spec.selector.matchLabels.team": None,
        },
    ),
    "extra-manifests": (
        {
            "extraManifests": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "{{ .Release.Name }}-more"},
                    "data": {"a": "b"},
                },
                'apiVersion: v1\nkind: Secret\nmetadata: {name: "{{ .Release.Name }}-secret"}\n',
            ]
        },
        "ConfigMap",
        {"metadata.name": "release-more", "data": {"a": "b"}},
    ),
    "namespace-selector": (
        {"podMonitor": {"enabled": True, "namespaceSelector": {"matchNames": ["a", "b"]}}},
        "PodMonitor",
        {"spec.namespaceSelector": {"matchNames": ["a", "b"]}},
    ),
    "metric-relabelings": (
        {
            "podMonitor": {
                "enabled": True,
                "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "robmon_inputs_.*", "action": "drop"}],
            }
        },
        "PodMonitor",
        {f"{ENDPOINT}.metricRelabelings.0.action": "drop"},
    ),
    "pod-target-labels": (
        {"podMonitor": {"enabled": True, "podTargetLabels": ["team"]}},
        "PodMonitor",
        {"spec.podTargetLabels": ["team"]},
    ),
    "sample-limit": (
        {"podMonitor": {"enabled": True, "sampleLimit": 1500}},
        "PodMonitor",
        {"spec.sampleLimit": 1500},
    ),
    "pod-monitor-by-default": (
        {"podMonitor": {"enabled": True}},
        "PodMonitor",
        {
            "spec.sampleLimit": None,
            "spec.namespaceSelector": None,
            ENDPOINT: {"port": "robmon-http", "path": "/metrics"},
        },
    ),
    "rules-and-dashboards": (
        {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}, "fullnameOverride": "x" * 63},
        "PrometheusRule",
        {"metadata.name": "x" * 63},
    ),
}


def standalone(values: Manifest) -> Manifest:
    """These values beside those of a robmon on its own."""
    return {"settings": {"model": {"uri": "models:/digits@champion"}}, "standalone": {"enabled": True}} | values


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    cases = {name: standalone(values) for name, (values, _, _) in CASES.items()}
    return render_each(cases, home=tmp_path_factory.mktemp("helm"))


@pytest.mark.parametrize("name", CASES)
def test_each_value_does_what_it_says(name: str, rendered: dict[str, list[Manifest]]) -> None:
    _, kind, expected = CASES[name]
    manifests = rendered[name]
    found = [
        manifest for manifest in of_kind(manifests, kind) if manifest["metadata"]["name"].startswith(("release", "x"))
    ]
    assert {path: at(found[0], path) for path in expected} == expected
    validate(manifests, "1.37")
    assert [forbidden(spec) for spec in pods(manifests)] == [[]] * len(list(pods(manifests)))


def test_pods_carry_neither_chart_nor_version(rendered: dict[str, list[Manifest]]) -> None:
    """Else a release that changes neither would restart them, and lose what they have learnt."""
    for manifests in rendered.values():
        for deployment in of_kind(manifests, "Deployment"):
            template = deployment["spec"]["template"]
            labels = template["metadata"]["labels"]
            assert {"helm.sh/chart", "app.kubernetes.io/version"}.isdisjoint(labels)
            assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
            assert "helm.sh/chart" in deployment["metadata"]["labels"]


def test_every_object_has_the_common_labels(rendered: dict[str, list[Manifest]]) -> None:
    manifests = rendered["common-labels"]
    assert len({manifest["kind"] for manifest in manifests}) == 8
    assert all(manifest["metadata"]["labels"]["team"] == "digits" for manifest in manifests)


def test_objects_of_one_kind_have_names_of_their_own(rendered: dict[str, list[Manifest]]) -> None:
    for manifests in rendered.values():
        names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("PodMonitor", "spec", {"namespaceSelectors": {}}),
        ("PodMonitor", "spec.podMetricsEndpoints.0", {"intervall": "1m"}),
        ("PodMonitor", "spec.podMetricsEndpoints.0", {"port": 9877}),
        ("PrometheusRule", "spec.groups.0.rules.0", {"record": "a", "severity": "page"}),
        ("PrometheusRule", "spec.groups.0", {"rule": []}),
    ],
)
def test_a_wrong_field_of_a_custom_resource_would_be_found(
    kind: str, path: str, wrong: Manifest, rendered: dict[str, list[Manifest]]
) -> None:
    name = "pod-monitor-by-default" if kind == "PodMonitor" else "rules-and-dashboards"
    [manifest] = copy.deepcopy(of_kind(rendered[name], kind))
    at(manifest, path).update(wrong)
    with pytest.raises(jsonschema.ValidationError):
        validate([manifest], "1.37")
