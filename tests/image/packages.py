"""How pip and debootstrap reach packages on this machine: what is configured here is what a build inside is given."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

REACH = (
    "cert", "client-cert", "default-timeout", "extra-index-url", "find-links", "index-url", "no-index", "proxy",
    "retries", "timeout", "trusted-host",
)  # fmt: skip
"""pip's options that say where packages are and how they are got; what else is configured is the user's own matter."""


def pip_configuration() -> tuple[str, list[Path]]:
    """A pip.conf that holds for a build, and the files and folders of this machine that it names."""
    options = _options()
    options.setdefault("cert", os.environ.get("REQUESTS_CA_BUNDLE", ""))
    lines = [f"{name} = {value}" for name, value in sorted(options.items()) if value]
    words = " ".join(options.values()).split()
    paths = {Path(word.removeprefix("file://")) for word in words if word.startswith(("/", "file:///"))}
    named = sorted(_whole(path) for path in paths if path.exists())
    return "\n".join(["[global]", *lines, ""]), named


def _options() -> dict[str, str]:
    """Those of `pip install`: variables outweigh the command's own section of the files, and that the one for all."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    options: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listed.stdout.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(f"{section}.") and (option := name.removeprefix(f"{section}.")) in REACH:
                options[option] = " ".join(str(ast.literal_eval(value)).split())
    return options


def _whole(path: Path) -> Path:
    """The folder of an index (`.../simple`), whose pages may point beside it; any other path as it is."""
    return path.parent if path.name == "simple" else path


def debian_mirror() -> tuple[str, str]:
    """The release of Debian that this machine's apt is configured with, and where it is."""
    if (found := _release()) is None:
        subprocess.run(
            ["apt-get", "update", "-qq"], check=True, capture_output=True
        )  # apt knows nothing before the first
        found = _release()
    if found is None:
        raise RuntimeError("apt is configured with no release of Debian")
    return found


def _release() -> tuple[str, str] | None:
    form = "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        origin, release, component, address = line.split("|")
        # Not a part of one (`-updates`, `-security`), of which alone no system can be made.
        if (origin, component) == ("Debian", "main") and "-" not in release:
            return release, address
    return None
