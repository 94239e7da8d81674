"""Images, built by buildah in a folder of their own; the base that a registry would give is made by debootstrap."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.image.host import PATH
from tests.image.packages import debian_mirror, pip_configuration
from tests.watching.prometheus import REPOSITORY

FOLDER = (REPOSITORY / ".tools" / "image").resolve()  # runc takes no symbolic link
SOURCE = "https://example.org/robmon"


@dataclass(frozen=True)
class Image:
    """A built image: its tag, and its configuration as the OCI's image specification names things."""

    tag: str
    configuration: Mapping[str, Any]


class Store:
    """The folder, which one process has at a time. What was left there by one that was killed is cleared away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary = folder / "tmp"

    @contextlib.contextmanager
    def held(self) -> Iterator[Store]:
        """Hold it; wait for another process that does."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._clear()
            try:
                yield self
            finally:
                self._clear()

    def _clear(self) -> None:
        self._buildah("rm", "--all")
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir()

    def build(self, variant: str, revision: str) -> Image:
        """Build a variant of the image, of the work tree as it is."""
        configuration, named = pip_configuration()
        pip_conf = self._temporary / "pip.conf"
        pip_conf.write_text(configuration)
        volumes = [f"{path}:{path}:ro" for path in named] + [f"{pip_conf}:/etc/pip.conf:ro"]
        arguments = {"VARIANT": variant, "PYTHON_IMAGE": self._base(), "SOURCE": SOURCE, "REVISION": revision}
        tag = f"localhost/robmon:{variant}"
        self._buildah(
            "bud", "--isolation", "chroot", "--network", "host", "--pull-never", "--quiet",
            *(word for volume in volumes for word in ("--volume", volume)),
            *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
            "--file", REPOSITORY / "deploy" / "Dockerfile", "--tag", tag, REPOSITORY,
        )  # fmt: skip
        self._buildah("rmi", "--prune")
        told = json.loads(self._buildah("inspect", "--type", "image", tag))
        return Image(tag, told["OCIv1"]["config"])

    def _base(self) -> str:
        """What the slim image of Python is elsewhere: Debian, its Python, and nothing else. Made once."""
        release, mirror = debian_mirror()
        tag = f"localhost/python:{release}"
        if tag in self._buildah("images", "--all", "--format", "{{.Name}}:{{.Tag}}").splitlines():
            return tag
        root = self._temporary / "base"
        packages = "ca-certificates,python-is-python3,python3,python3-venv"
        self._run("debootstrap", "--variant=minbase", f"--include={packages}", release, root, mirror)
        archive = self._temporary / "base.tar"
        self._run("tar", "--directory", root, "--create", "--file", archive, ".")
        container = self._buildah("from", "scratch").strip()
        self._buildah("add", "--quiet", container, archive, "/")
        self._buildah("commit", "--quiet", "--rm", container, tag)
        return tag

    @contextlib.contextmanager
    def mounted(self, image: Image) -> Iterator[Path]:
        """The root file system of a container of that image, which may be written to."""
        container = self._buildah("from", "--pull-never", image.tag).strip()
        try:
            yield Path(self._buildah("mount", container).strip())
        finally:
            self._buildah("rm", container)

    def _buildah(self, *words: str | Path) -> str:
        places = ["--root", self._folder / "storage", "--runroot", self._folder / "runroot"]
        return self._run("buildah", *places, "--storage-driver", "overlay", *words)

    def _run(self, *words: str | Path) -> str:
        variables = os.environ | {"PATH": PATH, "TMPDIR": str(self._temporary)}
        done = subprocess.run(list(map(str, words)), env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(
                f"{words[0]} ended with status {done.returncode}:\n{(done.stdout + done.stderr)[-8000:]}"
            )
        return done.stdout
