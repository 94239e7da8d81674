"""Put the Python files of confseq into .tools/python: the tests hold the mean bound against its betting interval.

Its source is fetched, not installed: that would compile its C++ part, which the betting interval does not use, which
needs Boost, and which does not compile for Python 3.11. Running this again does nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "0.0.11"
SHA256 = "b4f7723089478dda4b011a0bfe4d449f017d7ce0ec0d5039181c3e4a576bc914"
REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / ".tools" / "python"


def install(folder: Path = FOLDER) -> None:
    """Extract the files unless they are there in this version."""
    stamp = folder / "confseq" / ".version"
    if stamp.is_file() and stamp.read_text() == VERSION:
        return
    shutil.rmtree(stamp.parent, ignore_errors=True)
    stamp.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as downloads, tarfile.open(_source(Path(downloads))) as archive:
        for member in archive.getmembers():
            path = Path(member.name)
            source = archive.extractfile(member) if path.match("confseq-*/src/confseq/*.py") else None
            if source is not None:
                (stamp.parent / path.name).write_bytes(source.read())
    stamp.write_text(VERSION)


def _source(folder: Path) -> Path:
    """The source archive, fetched from the package index that pip uses, and checked."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"confseq=={VERSION} --hash=sha256:{SHA256}\n")
    # pip asks the archive for its metadata; the packages with which it answers are pinned like all the others.
    pins = str(REPOSITORY / "constraints.txt")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "download", "--no-deps", "--no-binary", "confseq", "--dest", folder, "--requirement", wanted]
    subprocess.run(command, env=os.environ | {"PIP_CONSTRAINT": pins, "PIP_BUILD_CONSTRAINT": pins}, check=True)
    return folder / f"confseq-{VERSION}.tar.gz"


if __name__ == "__main__":
    install()
