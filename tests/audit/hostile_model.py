"""A linear model that does, when it is loaded, what its configuration says: saved as code, so it stands alone."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

SHOUTED_BYTES = 2**30


def _leaves_a_daemon(_folder: Path, word: str) -> None:
    """Twice orphaned, in a session of its own, deaf to what can be ignored; the word is among its arguments."""
    code = (
        "import os, signal, sys, time\n"
        "if os.fork(): sys.exit()\n"
        "os.setsid()\n"
        "if os.fork(): sys.exit()\n"
        "[signal.signal(each, signal.SIG_IGN) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "time.sleep(3600)\n"
    )
    told = Path(os.environ["TMPDIR"]).parent / "daemon"
    subprocess.run([sys.executable, "-c", code, str(told), word], check=True)
    while not told.exists() or not told.read_text():
        time.sleep(0.01)


def _shouts(_folder: Path, _word: str) -> None:
    chunk = b"x" * 2**20
    for _ in range(SHOUTED_BYTES // len(chunk)):
        os.write(1, chunk)


def _moves_out(folder: Path, _word: str) -> None:
    Path("left-behind").touch()
    shutil.rmtree(folder)
    os.umask(0o777)
    os.chdir("/")


def _patches_json(_folder: Path, _word: str) -> None:
    json.dumps = json.loads = lambda *what, **how: "{}"  # type: ignore[assignment]
    json.JSONEncoder.encode = lambda *what: "{}"  # type: ignore[method-assign]


def _forges(_folder: Path, _word: str) -> None:
    """The answer of the process that it is in."""
    from robmon.processes.channel import encode
    from robmon.processes.messages.audit import Examined

    pieces = b"".join(encode(Examined(content={"outcome": "ok", "score": {"scores": [float("nan")]}})))
    for descriptor in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, pieces)
        except OSError:
            continue


BEHAVIOURS: dict[str, Any] = {
    "behaves": lambda _folder, _word: None,
    "leaves a daemon": _leaves_a_daemon,
    "shouts": _shouts,
    "moves out": _moves_out,
    "patches json": _patches_json,
    "forges": _forges,
}


class HostileModel(PythonModel):
    """The sum of the first two columns, times a weight."""

    def load_context(self, context: Any) -> None:
        """Read the weight, and behave."""
        self.weight = context.model_config["weight"]
        behaviour, _, word = context.model_config["on_load"].partition(":")
        BEHAVIOURS[behaviour](Path(__file__).resolve().parent, word)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would obey types
        """Outputs of shape (rows,)."""
        return self.weight * np.asarray(model_input, dtype=np.float64)[:, :2].sum(axis=1)


set_model(HostileModel())
