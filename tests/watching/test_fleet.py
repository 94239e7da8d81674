"""A fleet: one PodMonitor of all pods with robmon, rules and dashboards once. And OpenShift, which chooses the user."""

from __future__ import annotations

import re

import pytest

from tests.watching.kubernetes import Manifest, at, of_kind, render_each, validate

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


@pytest.mark.parametrize(
    ("namespace", "name", "job"),
    [("models", "digits", "models/digits"), ("models", "", None), ("", "digits", None), ("a-b", "c.d_e", "a-b/c.d_e")],
)
def test_each_application_is_a_job(
    namespace: str, name: str, job: str | None, rendered: dict[str, list[Manifest]]
) -> None:
    """As Prometheus relabels: the values, joined, must match as a whole, and the first group is the new one."""
    [monitor] = of_kind(rendered["fleet"], "PodMonitor")
    rule = at(monitor, "spec.podMetricsEndpoints.0.relabelings.0")
    assert rule["sourceLabels"][0] == "__meta_kubernetes_namespace" and rule["targetLabel"] == "job"
    found = re.fullmatch(rule["regex"], rule["separator"].join((namespace, name)))
    assert (found and found[1]) == job


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
