"""What computes here: the packages and the processor, by which numbers may differ in their last bits."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    *("robmon", "numpy", "scipy", "pandas", "pyarrow", "mlflow", "mlflow-skinny"),
    *("torch", "onnxruntime", "onnxruntime-gpu", "scikit-learn", "xgboost", "lightgbm", "catboost", "statsmodels"),
    *("tensorflow", "keras", "transformers", "threadpoolctl"),
)
CPU_FILE: Final = Path("/proc/cpuinfo")


def library_versions() -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def processor() -> str:
    """The model of the first processor; empty where the system does not tell it."""
    with suppress(OSError), CPU_FILE.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()[:128]
    return platform.machine()
