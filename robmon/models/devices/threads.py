"""How many threads a process may compute with, whatever libraries the model brings and whatever it asks of them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import sys
from pathlib import Path
from typing import Any

VARIABLES = (
    *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"),  # the latter binds too who asks for a number, as XGBoost and LightGBM may
    *("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("LOKY_MAX_CPU_COUNT", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS"),
    "TORCHINDUCTOR_COMPILE_THREADS",  # processes, and as many as there are processors, of a model that compiles itself
)
"""What libraries read when they are loaded: OpenMP, BLAS, joblib, NumExpr, Numba, TensorFlow, Rust's, torch."""

_held: int | None = None


def environment(threads: int) -> dict[str, str]:
    """The variables of a process that is held to so many threads from its start."""
    return dict.fromkeys(VARIABLES, str(threads))


def hold(threads: int) -> None:
    """Hold this process to so many threads: libraries to come by their variables, those that are loaded directly."""
    global _held
    _held = threads
    os.environ.update(environment(threads))
    hold_loaded()


def held() -> int | None:
    """The number of threads to which this process is held; None where it is not."""
    return _held


def hold_loaded() -> None:
    """Hold the libraries that have been loaded, as far as the process is held; again after a model was loaded."""
    if _held is None:
        return
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(_held)
        with contextlib.suppress(RuntimeError):  # too late: the pool has been used
            torch.set_num_interop_threads(_held)
    if (threadpoolctl := _module("threadpoolctl")) is not None and "numpy" in sys.modules:
        threadpoolctl.threadpool_limits(_held)
    if "sklearn" in sys.modules or "joblib" in sys.modules:
        _hold_joblib(_held)


def default_threads() -> int:
    """As many as this process may use processors, by its affinity and its cgroup's quota; fewer by OMP_NUM_THREADS."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if (quota := cgroup_processors()) is not None:
        threads = min(threads, math.ceil(quota))
    with contextlib.suppress(ValueError):
        threads = min(threads, int(os.environ.get("OMP_NUM_THREADS", "")))
    return max(threads, 1)


def cgroup_processors(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """How many processors' time the cgroup's quota allows, by version 2 or 1; None where there is none.

    A container sees its own cgroup at the root.
    """
    for quota_of, period_of in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):
            words = (root / quota_of).read_text(encoding="ascii").split()
            words += [] if period_of is None else (root / period_of).read_text(encoding="ascii").split()
            quota, period = map(int, words)  # "max", which is no number, stands for no quota, as does -1
            return quota / period if quota > 0 and period > 0 else None
    return None


def _hold_joblib(threads: int) -> None:
    """Bound what joblib's backends make of `n_jobs`: of an explicit number no variable takes anything."""
    parallel = _module("joblib.parallel")
    if parallel is None:
        return
    for name, backend in list(parallel.BACKENDS.items()):
        if isinstance(backend, type):
            original = getattr(backend, "unbounded", backend)
            parallel.register_parallel_backend(name, _bounded(original, threads))


def _bounded(backend: Any, threads: int) -> Any:
    class Bounded(backend):  # type: ignore[misc]
        """A backend of joblib that starts no more than so many workers."""

        unbounded = backend

        def effective_n_jobs(self, n_jobs: int | None) -> int:
            return min(int(super().effective_n_jobs(n_jobs)), threads)

    return Bounded


def _module(name: str) -> Any:
    """A module, imported where it is installed."""
    if name in sys.modules:
        return sys.modules[name]
    return importlib.import_module(name) if importlib.util.find_spec(name.partition(".")[0]) is not None else None
