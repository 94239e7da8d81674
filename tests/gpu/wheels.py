"""What robmon imports beside NumPy and PyTorch, as wheels for a machine without network.

    python -m tests.gpu.wheels        downloads them into .gpu-wheels, on a machine with network

They are for CPython 3.12 on Linux x86_64, in the versions of constraints.txt. They are never installed: the program
unpacks them into a folder that is gone afterwards.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / ".gpu-wheels"
COMMIT = FOLDER / "commit"
"""At which commit the wheels were downloaded: what a tree that travels without its history is taken for."""
NAMES = (
    "annotated-types", "array-api-compat", "packaging", "pydantic", "pydantic_core", "PyYAML", "typing-inspection",
    "typing_extensions",
    "captum", "tqdm",
)  # fmt: skip
"""The last two for the benchmark, which skips captum where it is not there."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def commit_here() -> str | None:
    """The commit of this tree, `-dirty` behind it where files differ; None where its history is not there."""
    described = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        found = subprocess.run(described, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() or None


def download() -> int:
    """Download the wheels: pip's exit status."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.whl"):
        old.unlink()
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in pins if line.partition("==")[0] in NAMES]
    assert len(wanted) == len(NAMES), f"constraints.txt does not pin all of {', '.join(NAMES)}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12", "--dest", str(FOLDER)]
    for each in PLATFORMS:
        command += ["--platform", each]
    status = subprocess.run([*command, *wanted], check=False).returncode
    COMMIT.write_text(f"{commit_here() or 'unknown'}\n", encoding="utf-8")
    return status


def unpack(folder: Path) -> list[str]:
    """Unpack those that fit this Python into a folder: their names."""
    is_made_for = sys.version_info[:2] == (3, 12) and sys.platform == "linux" and platform.machine() == "x86_64"
    fitting = [each for each in sorted(FOLDER.glob("*.whl")) if is_made_for or each.name.endswith("-none-any.whl")]
    for each in fitting:
        with zipfile.ZipFile(each) as archive:
            archive.extractall(folder)
    return [each.name for each in fitting]


if __name__ == "__main__":
    sys.exit(download())
