"""How a child process is started: its command line, and what it sees of the daemon's environment."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robmon.models.devices.threads import environment

# What a worker may see of the daemon's environment: nothing in it is a credential.
WORKER_VARIABLES = (
    *("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
WORKER_VARIABLE_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_", "TORCH", "PYTORCH_")


@dataclass(frozen=True)
class Command:
    """How to start a child process.

    `python` is the interpreter and `module` a module of robmon; `environment` is all that the child sees.
    """

    python: str
    module: str
    environment: Mapping[str, str]
    memory_bytes: int | None = None
    log_output: bool = False

    def arguments(self, fd: int) -> list[str]:
        """The command line. A foreign interpreter is lent robmon and array_api_compat, and nothing else of ours."""
        if Path(self.python) == Path(sys.executable):
            return [self.python, "-m", self.module, "--fd", str(fd)]
        return [self.python, "-c", _LEND_PACKAGES, str(Path(__file__).parent.parent), self.module, "--fd", str(fd)]


_LEND_PACKAGES = """
import importlib.machinery, importlib.util, os, runpy, sys
robmon, module = sys.argv[1:3]
lent = {"robmon": robmon}
for folder in {os.path.dirname(robmon), *filter(None, os.environ.get("ROBMON_LENT", "").split(os.pathsep))}:
    compat = os.path.join(folder, "array_api_compat")
    if os.path.isdir(compat):
        lent["array_api_compat"] = compat
class Lender:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in lent:
            init = os.path.join(lent[name], "__init__.py")
            return importlib.util.spec_from_file_location(name, init, submodule_search_locations=[lent[name]])
sys.meta_path.append(Lender)
sys.argv[0:3] = [module]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def worker_environment(threads: int) -> dict[str, str]:
    """What a worker sees: the locale, paths and devices of the daemon, no credentials, and a bound on its threads."""
    seen = {
        name: value
        for name, value in os.environ.items()
        if name in WORKER_VARIABLES or name.startswith(WORKER_VARIABLE_PREFIXES)
    }
    return seen | environment(threads) | _common_environment()


def fetch_environment() -> dict[str, str]:
    """What a fetch process sees: everything, because it alone needs the registry's credentials."""
    return {**os.environ, **_common_environment()}


def _common_environment() -> dict[str, str]:
    spec = importlib.util.find_spec("array_api_compat")
    lent = str(Path(spec.origin).parent.parent) if spec is not None and spec.origin else ""
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "PYTHONUNBUFFERED": "1",
        # Nothing is imported from the folder that the daemon happens to be started in.
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "ignore",
        "ROBMON_LENT": lent,
        # glibc returns freed memory of large arrays at once, so that a worker stays as small as it was.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "131072",
    }
