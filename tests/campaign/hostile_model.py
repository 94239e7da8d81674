"""A model that does its worst, in its interpreter or through the kernel. MLflow saves it as code: this file is copied.

What it does is told by a word in the file `behaviour` of the temporary folder; `once` beside it says whether what is
done once has been done.
"""

from __future__ import annotations

import builtins
import ctypes
import gc
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import mlflow.pyfunc
import numpy as np
from mlflow.models import set_model
from numpy.typing import NDArray

Array = NDArray[np.float64]
FOLDER = Path(tempfile.gettempdir())


class HostileModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The sum of a row's first two numbers, after what it was told to do."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would obey types
        """Outputs of shape (rows,)."""
        rows = np.array(model_input, dtype=np.float64)
        told = FOLDER / "behaviour"
        word = told.read_text(encoding="ascii") if told.exists() else "behaves"
        changed = BEHAVIOURS[word](rows if word != "changes its inputs" else model_input)
        return rows[:, :2].sum(axis=1) if changed is None else changed


def once(do: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """In the first call after the word was told, and not in the ones after it."""

    def perhaps(rows: Array) -> Any:
        flag = FOLDER / "once"
        if flag.exists():
            return None
        flag.touch()
        return do(rows)

    return perhaps


def _raises_a_name(rows: Array) -> NoReturn:
    raise type(f"X{rows[0, 2]:.0f}", (Exception,), {})


def _raises_in_a_file(rows: Array) -> None:
    exec(compile("1 / 0", f"X{rows[0, 2]:.0f}.py", "exec"), {})


def _broken(*_: object, **__: object) -> NoReturn:
    raise RuntimeError


def _patches_numpy(_rows: Array) -> None:
    np.isfinite = _broken


def _takes_descriptors(_rows: Array) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def _leaves_a_session(_rows: Array) -> NoReturn:
    subprocess.Popen(["sleep", "3602"], start_new_session=True)
    os._exit(7)


def _forks_away(_rows: Array) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "3602"])
        os._exit(0)
    os.wait()


def _has_300_children(_rows: Array) -> None:
    for _ in range(300):
        subprocess.Popen(["sleep", "3602"])


def _has_threads(_rows: Array) -> None:
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


def _prints_without_end(_rows: Array) -> None:
    def work() -> None:
        while True:
            os.write(1, b"x" * 2**16)

    threading.Thread(target=work, daemon=True).start()


def _ignores_signals(_rows: Array) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)


def _changes_the_process(_rows: Array) -> None:
    os.environ.clear()
    os.umask(0o777)
    os.chdir("/")
    np.seterr(all="raise")
    warnings.simplefilter("error")
    random.seed(0)
    np.random.seed(0)
    gc.disable()
    sys.setrecursionlimit(150)


def _interrupts(_rows: Array) -> NoReturn:
    raise KeyboardInterrupt


def _leaves_a_generator(_rows: Array) -> NoReturn:
    raise GeneratorExit


def _returns_a_billion_rows(_rows: Array) -> Array:
    return np.broadcast_to(np.float64(1), (10**9,))


class _Hostile(np.ndarray[Any, Any]):
    def __array_function__(self, *_: object, **__: object) -> NoReturn:
        raise MemoryError

    def __array_ufunc__(self, *_: object, **__: object) -> NoReturn:
        raise MemoryError

    def __repr__(self) -> str:
        raise SystemExit


def _returns_a_hostile_array(rows: Array) -> Array:
    return rows[:, 0].view(_Hostile)


def _changes_its_inputs(model_input: Any) -> None:
    with_values = model_input.iloc[:, :2]
    model_input.iloc[:, :2] = with_values * 0 + 1


def _returns_a_list_without_end(_rows: Array) -> list[float]:
    return [1.0] * 300_000_000


def _wants_memory_for_a_moment(_rows: Array) -> None:
    block = np.ones(375_000_000)
    time.sleep(1)
    del block


def _overflows_the_stack(_rows: Array) -> None:
    sys.setrecursionlimit(10**9)
    deep: list[Any] = []
    for _ in range(10**7):
        deep = [deep]
    repr(deep)


def _breaks_memory(_rows: Array) -> None:
    ctypes.string_at(0)


def _forges_frames(_rows: Array) -> None:
    for descriptor in range(3, 64):
        try:
            socket.socket(fileno=os.dup(descriptor)).sendall(b'{"kind":"assessed"}\n' + b"\xff" * 4096)
        except (OSError, ValueError):
            continue


def _removes_isinstance(_rows: Array) -> None:
    del builtins.isinstance


def _stops_itself(_rows: Array) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


BEHAVIOURS: dict[str, Callable[[Any], Any]] = {
    "behaves": lambda _rows: None,
    "raises a name made of an input": _raises_a_name,
    "raises in a file named after an input": _raises_in_a_file,
    "patches numpy once": once(_patches_numpy),
    "leaves three descriptors": once(_takes_descriptors),
    "leaves a process in a session and exits": once(_leaves_a_session),
    "forks a process away": once(_forks_away),
    "has 300 children": once(_has_300_children),
    "has 100 threads": once(_has_threads),
    "prints without end": once(_prints_without_end),
    "ignores signals and has a timer": _ignores_signals,
    "changes environment, folder, warnings and limits": _changes_the_process,
    "raises KeyboardInterrupt": _interrupts,
    "raises GeneratorExit": _leaves_a_generator,
    "returns a billion rows": _returns_a_billion_rows,
    "returns a hostile array": _returns_a_hostile_array,
    "changes its inputs": _changes_its_inputs,
    "returns a list of 300 million": _returns_a_list_without_end,
    "wants 3 GB for a moment": _wants_memory_for_a_moment,
    "overflows the stack": _overflows_the_stack,
    "breaks memory": _breaks_memory,
    "forges frames": _forges_frames,
    "removes isinstance": once(_removes_isinstance),
    "stops itself": _stops_itself,
}

set_model(HostileModel())
