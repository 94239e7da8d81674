"""A fleet: one PodMonitor of all pods with robmon, rules and dashboards once. And OpenShift, which chooses the user."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.servers import wait_until
from tests.watching.kubernetes import Manifest, at, of_kind, render_each, validate
from tests.watching.prometheus import get_json, prometheus_server

MODEL = {"settings": {"model": {"uri": "models:/digits@champion"}}}
CASES: dict[str, Manifest] = {
    "fleet": {"fleet": {"enabled": True}, "access": {"http": {"tokenSecret": "t"}}},
    "some-namespaces": {
        "fleet": {
            "enabled": True,
            "namespaces": ["shop", "search"],
            "matchLabels": {"team": "ml", "robmon.dev/watched": None},
        },
        "podMonitor": {"enabled": True, "interval": "1m", "relabelings": [{"action": "labeldrop", "regex": "x"}]},
        "prometheusRule": {"enabled": True, "additionalLabels": {"release": "p"}},
        "dashboards": {"enabled": True},
    },
    "alone": MODEL | {"standalone": {"enabled": True}},
    "beside": MODEL,
    "openshift": MODEL | {"standalone": {"enabled": True}, "persistence": {"existingClaim": "c"}},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    return render_each(CASES, home=tmp_path_factory.mktemp("helm"), sidecars=["beside"])


@pytest.mark.parametrize("name", ["fleet", "some-namespaces"])
def test_a_fleet_has_one_of_each(name: str, rendered: dict[str, list[Manifest]]) -> None:
    manifests = rendered[name]
    validate(manifests, "1.37")
    assert len(of_kind(manifests, "PodMonitor")) == len(of_kind(manifests, "PrometheusRule")) == 1
    dashboards = [key for one in of_kind(manifests, "ConfigMap") for key in one["data"]]
    assert dashboards and len(set(dashboards)) == len(dashboards)
    assert not of_kind(manifests, "Deployment")


def test_it_scrapes_every_pod_with_the_label_wherever_it_is(rendered: dict[str, list[Manifest]]) -> None:
    [monitor] = of_kind(rendered["fleet"], "PodMonitor")
    assert monitor["spec"]["namespaceSelector"] == {"any": True}
    assert at(monitor, "spec.podMetricsEndpoints.0.authorization.credentials") == {"name": "t", "key": "token"}
    [deployment] = of_kind(rendered["alone"], "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["selector"]["matchLabels"] == {"robmon.dev/watched": "true"}


def test_what_is_said_of_a_pod_monitor_holds_for_the_fleets(rendered: dict[str, list[Manifest]]) -> None:
    [monitor] = of_kind(rendered["some-namespaces"], "PodMonitor")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["shop", "search"]}
    assert monitor["spec"]["selector"]["matchLabels"] == {"team": "ml"}
    assert at(monitor, "spec.podMetricsEndpoints.0.interval") == "1m"
    assert at(monitor, "spec.podMetricsEndpoints.0.relabelings.1") == {"action": "labeldrop", "regex": "x"}


APPLICATIONS = [("models", "digits", "models/digits"), ("models", "", "robmon/fleet"), ("a-b", "c.d_e", "a-b/c.d_e")]
"""Namespace and name of a pod's application, and its job; that of the PodMonitor itself is robmon/fleet."""


def test_prometheus_makes_each_application_a_job(rendered: dict[str, list[Manifest]], tmp_path: Path) -> None:
    [monitor] = of_kind(rendered["fleet"], "PodMonitor")
    relabelings = [
        {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key): value for key, value in rule.items()}
        for rule in at(monitor, "spec.podMetricsEndpoints.0.relabelings")
    ]
    pods = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                "__meta_kubernetes_namespace": namespace,
                "__meta_kubernetes_pod_label_app_kubernetes_io_name": name,
            },
        }
        for port, (namespace, name, _) in enumerate(APPLICATIONS, start=1)
    ]
    scrape = {"job_name": "robmon/fleet", "static_configs": pods, "relabel_configs": relabelings}
    with prometheus_server(tmp_path, {"scrape_configs": [scrape]}) as prometheus:

        def targets() -> dict[str, str]:
            found = get_json(f"{prometheus}/api/v1/targets")["data"]["activeTargets"]
            return {target["labels"]["instance"]: target["labels"]["job"] for target in found}

        wait_until(lambda: len(targets()) == len(APPLICATIONS), 90, "the targets")
        assert [targets()[f"127.0.0.1:{port}"] for port in range(1, len(APPLICATIONS) + 1)] == [
            job for _, _, job in APPLICATIONS
        ]


def test_on_openshift_the_container_names_no_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("helm")
    given = ("--api-versions", "security.openshift.io/v1")
    manifests = render_each({"openshift": CASES["openshift"]}, *given, home=home, sidecars=["openshift"])["openshift"]
    [deployment] = of_kind(manifests, "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    for container in (spec["containers"][0], manifests[-1]["spec"]["initContainers"][0]):
        context = container["securityContext"]
        assert {"runAsUser", "runAsGroup"}.isdisjoint(context) and context["runAsNonRoot"] is True
    assert "securityContext" not in spec, "the cluster chooses the group of the volumes too"
