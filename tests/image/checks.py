"""What holds for every variant of the image."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.image.container import Container
from tests.image.store import SOURCE, Image
from tests.watching.prometheus import REPOSITORY

Contents = dict[str, tuple[int, ...]]


def contents(root: Path) -> Contents:
    """Every file and folder below `root`, with what tells whether it was written to."""
    return {
        str(path.relative_to(root)): (told.st_mode, told.st_uid, told.st_size, told.st_mtime_ns, told.st_ctime_ns)
        for path, told in _entries(root)
    }


def _entries(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            yield path, path.lstat()


def size_bytes(root: Path) -> int:
    """Of all files, each once."""
    return sum({told.st_ino: told.st_size for _, told in _entries(root)}.values())


def hold_to_its_labels(image: Image, variant: str, revision: str) -> None:
    """What the image says of itself."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    labels = image.configuration["Labels"]
    expected = {
        "title": "robmon",
        "licenses": "Apache-2.0",
        "version": project["version"],
        "revision": revision,
        "source": SOURCE,
    }
    assert (
        expected.items()
        <= {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}.items()
    )
    assert labels["dev.robmon.variant"] == variant
    assert image.configuration["User"] == "1000:1000"


def hold_to_no_rights(root: Path) -> None:
    """No program gives rights that its user lacks."""
    assert [path for path, told in _entries(root) if stat.S_ISREG(told.st_mode) and told.st_mode & 0o6000] == []


def hold_confined(container: Container, memory_bytes: int) -> None:
    """Every process is an ordinary user's, has no rights and can get none; nothing but its volumes can be written."""
    for process in container.inside():
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert {*status["Uid"].split(), *status["Gid"].split()} == {"1000"}
        assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert container.memory().limit_bytes == memory_bytes
    for place in ("/", "/opt/robmon", "/etc", "/var/tmp", "/run"):
        done = container.execute("touch", f"{place}/written")
        assert done.returncode != 0 and "Read-only file system" in done.stderr, place
    for place in ("/data", "/tmp"):
        assert container.execute("sh", "-c", f"touch {place}/written && rm {place}/written").returncode == 0
    assert container.execute("setarch", "--uname-2.6", "true").returncode == 0
    filtered = container.execute("setarch", "--addr-no-randomize", "true")
    assert filtered.returncode != 0, "what any user may ask of the kernel, and no container"


def hold_nothing_written(container: Container, root: Path, before: Contents) -> None:
    """Nothing outside the volumes: not in the image, and not in what every container has in memory either."""
    assert contents(root) == before
    inside = Path(f"/proc/{container.inside()[0].pid}/root")
    assert [path for place in ("dev/shm", "dev/mqueue") for path in (inside / place).iterdir()] == []


def megabytes(count: float) -> str:
    """In words, as engines tell the size of images."""
    return f"{count / 1e6:,.0f} MB"


def mebibytes(count: float) -> str:
    """In words, as limits are given."""
    return f"{count / 2**20:.0f} MiB"


def measured(variant: str, root: Path, container: Container) -> str:
    """Size, times and memory of a container that has assessed, in words."""
    memory = container.memory()
    assert memory.kills == 0
    [worker] = container.children("robmon.worker")
    resident = {"worker": worker, "daemon": worker.parent()}
    of_processes = ", ".join(f"{name} {mebibytes(each.memory_info().rss)}" for name, each in resident.items())
    return (
        f"{variant}: {megabytes(size_bytes(root))}, /healthz after {container.healthy_seconds:.1f} s, model after "
        f"{container.ready_seconds:.1f} s, cgroup at most {mebibytes(memory.peak_bytes)} of "
        f"{mebibytes(memory.limit_bytes)}, resident {of_processes}"
    )
