"""How much memory a process may take."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from robmon.processes.memory_limit import cgroup_limit_bytes, memory_limit_bytes


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "7000"}, 7000),
        ("0::/pods/mine\n", {"pods/mine/memory.max": "5000", "pods/memory.max": "max"}, 5000),
        ("0::/pods/mine\n", {"pods/mine/memory.max": "max", "pods/memory.max": "6000", "other/memory.max": "1"}, 6000),
        ("0::/pods/mine\n", {"pods/mine/memory.max": "max"}, None),
        ("12:memory:/pods/mine\n1:cpu:/x\n", {"memory/pods/mine/memory.limit_in_bytes": "4000"}, 4000),
        ("3:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "4000", "unified/memory.max": "3000"}, 3000),
        ("0::/../../outside\n", {"memory.max": "8000"}, 8000),
        ("", {}, None),
    ],
)
def test_the_limit_of_a_cgroup_is_found_without_a_namespace_of_its_own(
    tmp_path: Path, groups: str, files: dict[str, str], limit: int | None
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, content in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")
    assert cgroup_limit_bytes(tmp_path) == limit


def test_memory_limit() -> None:
    assert memory_limit_bytes(5) == 5
    found = memory_limit_bytes("auto")
    assert found is None or 0 < found < psutil.virtual_memory().total
