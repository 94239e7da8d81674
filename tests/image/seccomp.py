"""The filter of system calls that container engines give by default, for a process without capabilities."""

from __future__ import annotations

import json
import platform
from typing import Any

from tests.image.host import SECCOMP

ARCHITECTURES = {"x86_64": ("SCMP_ARCH_X86_64", "amd64"), "aarch64": ("SCMP_ARCH_AARCH64", "arm64")}
"""As seccomp and as the profile's conditions name them."""


def without_capabilities() -> dict[str, Any]:
    """The profile as the OCI's runtime specification wants it: its conditions, of which that knows none, decided."""
    profile = json.loads(SECCOMP.read_text())
    seccomp_name, condition_name = ARCHITECTURES[platform.machine()]
    [family] = [entry for entry in profile["archMap"] if entry["architecture"] == seccomp_name]
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [seccomp_name, *family["subArchitectures"]],
        "syscalls": [_rule(each) for each in profile["syscalls"] if _holds(each, condition_name)],
    }


def _holds(entry: dict[str, Any], architecture: str) -> bool:
    """Whether a rule is one for such a process on this machine."""
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    # `minKernel` names kernels of ten years ago.
    assert {*includes, *excludes} <= {"caps", "arches", "minKernel"}
    if "caps" in includes or architecture in excludes.get("arches", []):
        return False
    return architecture in includes.get("arches", [architecture])


def _rule(entry: dict[str, Any]) -> dict[str, Any]:
    rule = {"names": entry["names"], "action": entry["action"]}
    if entry.get("args"):
        rule["args"] = entry["args"]
    if entry.get("errnoRet") is not None:
        rule["errnoRet"] = entry["errnoRet"]
    return rule
