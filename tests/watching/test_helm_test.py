"""The pods of `helm test`; tests/e2e/test_security.py runs what they run against a daemon."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import free_port
from tests.watching import admission
from tests.watching.kubernetes import Manifest, of_kind, render_each, validate
from tests.watching.test_injection import POLICIES

ALONE: Manifest = {"settings": {"model": {"uri": "models:/digits@champion"}}, "standalone": {"enabled": True}}
CASES: dict[str, Manifest] = {
    "alone": ALONE | {"settings": {"model": {"uri": "models:/digits@champion"}, "http": {"port": 9000}}},
    "secured": ALONE | {"access": {"http": {"tlsSecret": "tls"}}, "fullnameOverride": "watcher"},
    "behind-a-policy": ALONE | {"networkPolicy": {"enabled": True}},
    "injection": {"injection": {"enabled": True}},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    return render_each(CASES, *POLICIES, home=tmp_path_factory.mktemp("helm"))


def command(pod: Manifest) -> list[str]:
    [container] = pod["spec"]["containers"]
    return [*container["command"], *container["args"]]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("alone", "http://release-robmon.models.svc:9000/healthz"),
        ("secured", "https://watcher.models.svc:9877/healthz"),
        ("injection", "http://127.0.0.1:9877/healthz"),
    ],
)
def test_it_asks_robmon_itself(name: str, address: str, rendered: dict[str, list[Manifest]]) -> None:
    validate(rendered[name], "1.37")
    [pod] = of_kind(rendered[name], "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert command(pod)[3] == address
    for service in of_kind(rendered[name], "Service"):
        assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items(), "it would get requests"
        assert address.split("/")[2].split(".")[0] == service["metadata"]["name"]
        assert f":{service['spec']['ports'][1]['port']}/" in address


def test_the_one_of_the_injection_asks_to_be_injected(rendered: dict[str, list[Manifest]]) -> None:
    [pod] = of_kind(rendered["injection"], "Pod")
    assert pod["metadata"]["annotations"]["robmon.dev/inject"] == "true"
    assert "give the namespace models the labels" in command(pod)[4]
    [policy] = of_kind(rendered["injection"], "MutatingAdmissionPolicy")
    assert [one["name"] for one in admission.admit(policy, pod)["spec"]["initContainers"]] == ["robmon"]


def test_there_is_none_that_a_network_policy_would_not_let_in(rendered: dict[str, list[Manifest]]) -> None:
    assert of_kind(rendered["behind-a-policy"], "NetworkPolicy") and not of_kind(rendered["behind-a-policy"], "Pod")


def test_it_says_what_is_wrong(rendered: dict[str, list[Manifest]]) -> None:
    [pod] = of_kind(rendered["injection"], "Pod")
    _, flag, program, _, sentence = command(pod)
    assert "+ 60" in program
    impatient = [
        sys.executable,
        flag,
        program.replace("+ 60", "- 1"),
        f"http://127.0.0.1:{free_port()}/healthz",
        sentence,
    ]
    done = subprocess.run(impatient, text=True, capture_output=True, check=False)
    assert (
        done.returncode == 1 and "Connection refused" in done.stderr and "asked for robmon and has none" in done.stderr
    )
