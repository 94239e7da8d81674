"""Install robmon with an extra into this Python's environment, pinned; tell what is downloaded, and how long it takes.

    .venv/bin/python tools/install.py demo

pip's own lines are shortened to one a package, numbered, with its size.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CPU_TORCH = "torch==2.13.0"
SIZES = {
    "demo": "MLflow, scikit-learn and what they need, no torch: about 200 MB",
    "dev": "everything: MLflow, the CPU build of torch, tools of the tests: about 650 MB",
}
"""What an extra brings, and how much is downloaded where no cache has it."""
_DOWNLOAD = re.compile(
    r"\s*(?:Downloading|Using cached) (?:\S*/)?(?P<file>[^\s/]+\.(?:whl|tar\.gz|zip))"
    r" \((?P<size>[\d.]+) (?P<unit>[kMG]?B)\)"
)
_MEGABYTES = {"B": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}


def main(extra: str) -> int:
    """Install the extra; pip's exit status."""
    began = time.monotonic()
    _tell(f"installing robmon[{extra}] into {sys.prefix}: {SIZES[extra]}")
    # Alone and first where it is wanted: an unpinned torch would bring gigabytes of CUDA libraries.
    for what in ([[CPU_TORCH]] if extra == "dev" else []) + [["--editable", f".[{extra}]"]]:
        if status := _pip(what, began):
            return status
    _tell(f"installed in {time.monotonic() - began:.0f} s")
    return 0


def _pip(what: list[str], began: float) -> int:
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    # Compiling all that is installed takes a third of the time; what is imported is compiled then.
    command += ["--no-compile", "--constraint", "constraints.txt", *what]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as pip:
        if pip.stdout is not None:
            for line in progress(pip.stdout):
                _tell(f"{time.monotonic() - began:4.0f} s  {line}")
        _, complaints = pip.communicate()
    if pip.returncode:
        sys.stderr.write(complaints)
    return pip.returncode


def progress(lines: Iterable[str]) -> Iterator[str]:
    """What pip says, a line a package that it gets, with its size and the sum so far.

    >>> list(progress(["Collecting x", "  Downloading x-1.whl (500 kB)", "  Using cached y-2.whl (2.0 MB)"]))
    ['1: x-1.whl, 0.5 MB, 0.5 MB in all', '2: y-2.whl, 2.0 MB, 2.5 MB in all']
    """
    count, total = 0, 0.0
    for line in lines:
        if found := _DOWNLOAD.match(line):
            size = float(found["size"]) * _MEGABYTES[found["unit"]]
            count, total = count + 1, total + size
            yield f"{count}: {found['file']}, {size:.1f} MB, {total:.1f} MB in all"
        elif line.startswith("Installing collected packages"):
            yield f"installing {len(line.split(','))} packages"


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
