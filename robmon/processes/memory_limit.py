"""How much memory a process may take: as it is set, or by its cgroup."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import psutil


def memory_limit_bytes(setting: int | Literal["auto"]) -> int | None:
    """The memory at which a worker is killed: the setting, or 85 % of the cgroup's limit less 128 MiB, or None."""
    if setting != "auto":
        return setting
    limit = cgroup_limit_bytes()
    if limit is not None and limit < psutil.virtual_memory().total:
        return max(int(0.85 * limit) - 128 * 2**20, 64 * 2**20)
    return None


def cgroup_limit_bytes(root: Path = Path("/")) -> int | None:
    """The memory limit of the cgroup that this process is in: the lowest of its own and of those above it.

    In a cgroup namespace of its own a process sees itself at the root of them; without one it must look for itself.
    """
    limits = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        for mount in ("memory",) if controllers else ("", "unified"):
            top = root / "sys/fs/cgroup" / mount
            own = top / path.lstrip("/")
            for folder in (own, *own.parents):
                if folder == top or top in folder.parents:
                    limits += [int(text) for text in _text(folder / name).split() if text.isdecimal()]
    return min(limits, default=None)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
