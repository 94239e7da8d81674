"""Commands of robmon as a user gives them, each in a process of its own that need not import the heavy packages first.

Importing MLflow takes longer than most commands do, so one process imports it, once for all tests, and is forked for
each command. What a command imports, prints while it does and leaves alone is for those who run `python -m robmon`.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tests.patience import PATIENCE_SECONDS
from tests.servers import QUIET_MLFLOW

REPOSITORY = Path(__file__).resolve().parents[1]


def run(words: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`robmon WORDS` in that folder and that environment, without a terminal."""
    with tempfile.TemporaryDirectory() as folder:
        printed = {name: str(Path(folder, name)) for name in ("stdout", "stderr")}
        wanted = {"words": list(map(str, words)), "cwd": str(cwd), "environment": dict(environment)}
        status = _ask(json.dumps(wanted | printed))
        stdout, stderr = (Path(file).read_text(encoding="utf-8") for file in printed.values())
    return subprocess.CompletedProcess(list(map(str, words)), status, stdout, stderr)


def _ask(line: str) -> int:
    forking = _forking()
    assert forking.stdin is not None and forking.stdout is not None
    print(line, file=forking.stdin, flush=True)
    if not select.select([forking.stdout], [], [], PATIENCE_SECONDS)[0]:
        _end(forking)
        _forking.cache_clear()
        raise TimeoutError(f"not within {PATIENCE_SECONDS:g} s: {line}")
    return int(forking.stdout.readline())


@functools.cache
def _forking() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.commands"],
        cwd=REPOSITORY,
        env=os.environ | QUIET_MLFLOW,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    with process:  # closes its pipes
        pass


def _serve() -> None:
    """Fork for each line on standard input; write the exit status of what it asks for."""
    import matplotlib.pyplot  # noqa: F401
    import mlflow.pyfunc
    import mlflow.sklearn
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import robmon.audit.local
    import robmon.cli.main
    import robmon.daemon.app
    import robmon.incident.history_facts
    import robmon.library.attack
    import robmon.library.baselines
    import robmon.library.compare
    import robmon.library.rank  # noqa: F401

    gc.freeze()  # else each child would look through, and so copy, all that was imported before
    answers = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            answers.close()
            _end_as(_become(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _become(words: list[str], cwd: str, environment: dict[str, str], stdout: str, stderr: str) -> object:
    """The command; with what it leaves the interpreter."""
    files = (os.devnull, os.O_RDONLY), (stdout, os.O_CREAT | os.O_WRONLY), (stderr, os.O_CREAT | os.O_WRONLY)
    for target, (file, flags) in enumerate(files):
        opened = os.open(file, flags, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["robmon", *words]
    try:
        runpy.run_module("robmon", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code
    except BaseException:
        traceback.print_exc()
        return 1
    return None


def _end_as(status: object) -> NoReturn:
    """As the interpreter ends, but that nothing is taken down, for which all that is shared would be copied first."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    _serve()
