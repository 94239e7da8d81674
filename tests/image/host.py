"""What a machine must have for an image to be built and run on it, and how nothing of that stays behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

SECCOMP = Path("/usr/share/containers/seccomp.json")
PROGRAMS = ("buildah", "runc", "debootstrap", "setpriv")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 0x40000


def what_is_missing() -> str | None:
    """Why no image can be built and run here, by name; None where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return f"an image is built and run by root on Linux, and this is user {os.geteuid()} on {sys.platform}"
    if absent := [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]:
        return f"not installed: {', '.join(absent)} (tools/install_debian_packages.sh image, on Debian)"
    if not SECCOMP.exists():
        return f"there is no profile of system calls at {SECCOMP}"
    version_2 = Path("/sys/fs/cgroup/cgroup.controllers")
    controllers = version_2.read_text().split() if version_2.exists() else []
    if "memory" not in controllers and not Path("/sys/fs/cgroup/memory").is_dir():
        return "there is no memory cgroup"
    return None


def keep_mounts_to_this_process() -> None:
    """What is mounted from now on is seen by this process and its children alone, and goes with them, even killed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "no mounts of our own can be had")
