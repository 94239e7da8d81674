"""The check of pods against the Pod Security Standard `restricted` finds each thing that it forbids."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.watching.kubernetes import Manifest, forbidden

CONTEXT = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
GOOD: Manifest = {"containers": [{"name": "a", "securityContext": CONTEXT}], "volumes": [{"name": "v", "emptyDir": {}}]}


def with_context(**changes: Any) -> Manifest:
    spec = copy.deepcopy(GOOD)
    context = spec["containers"][0]["securityContext"]
    spec["containers"][0]["securityContext"] = {
        key: value for key, value in (context | changes).items() if value is not None
    }
    return spec


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (GOOD, []),
        (GOOD | {"hostNetwork": True}, ["pod: hostNetwork"]),
        (GOOD | {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, ["volume v"]),
        (GOOD | {"initContainers": [{"name": "b", "securityContext": CONTEXT | {"runAsUser": 0}}]}, ["b: runAsUser"]),
        (with_context(privileged=True), ["a: privileged"]),
        (with_context(allowPrivilegeEscalation=None), ["a: allowPrivilegeEscalation"]),
        (with_context(runAsNonRoot=False), ["a: runAsNonRoot"]),
        (with_context(seccompProfile={"type": "Unconfined"}), ["a: seccompProfile"]),
        (with_context(seccompProfile=None) | {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, []),
        (with_context(capabilities={"drop": ["KILL"]}), ["a: capabilities.drop"]),
        (with_context(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), ["a: capabilities.add"]),
        (with_context(procMount="Unmasked"), ["a: procMount"]),
        ({"containers": [{"name": "a", "securityContext": CONTEXT, "ports": [{"hostPort": 1}]}]}, ["a: hostPort"]),
    ],
)  # fmt: skip
def test_what_is_forbidden_is_found(spec: Manifest, found: list[str]) -> None:
    assert forbidden(spec) == found
