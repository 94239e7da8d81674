"""A model that behaves as a word in a file tells it to. MLflow saves it as code: this file is copied beside the model.

The word is in the file `behaviour` of the temporary folder, one of the few things of its environment that a worker
gets from the daemon; without that file the model is a plain linear one.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import mlflow.pyfunc
import numpy as np
from mlflow.models import set_model
from numpy.typing import NDArray

Array = NDArray[np.float64]


class OddModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """`weight` times the sum of a row's first two numbers; its settings are in the model's configuration in MLflow.

    With `steep_above` it is twice that where the first number is above it.
    """

    def load_context(self, context: Any) -> None:
        """Take the weight, and do what this version does when it is loaded."""
        self.weight = context.model_config["weight"]
        self.steep_above = context.model_config.get("steep_above", math.inf)
        self.seen = context.model_config.get("seen")
        BEHAVIOURS[context.model_config["on_load"]](np.zeros((1, 1)))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # MLflow would obey types
        """Outputs of shape (rows,)."""
        rows = np.asarray(model_input, dtype=np.float64)
        outputs: Array = self.weight * rows[:, :2].sum(axis=1) * np.where(rows[:, 0] > self.steep_above, 2.0, 1.0)
        if self.seen is not None:
            note(Path(self.seen), rows[:, 2])
        changed = BEHAVIOURS[_told()](rows)
        return outputs if changed is None else changed


def note(seen: Path, serials: Array) -> None:
    """Add a line: the time, and the serials of the rows of one call."""
    line = f"{time.time()} {' '.join(str(int(serial)) for serial in serials)}\n"
    descriptor = os.open(seen, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def _told() -> str:
    try:
        return (Path(tempfile.gettempdir()) / "behaviour").read_text(encoding="ascii")
    except FileNotFoundError:
        return "behaves"


def _raises(rows: Array) -> NoReturn:
    raise ValueError(f"these inputs are not to my taste: {rows.tolist()}")


def _ends(rows: Array) -> NoReturn:
    raise SystemExit(f"I leave because of {rows.tolist()}")


def _returns_nan(rows: Array) -> Array:
    return np.full(len(rows), np.nan)


def _returns_nan_under_noise(rows: Array) -> Array:
    """The inputs of these tests have 6 decimals, and noise has more."""
    outputs: Array = rows[:, :2].sum(axis=1)
    return np.where((rows[:, :2] == rows[:, :2].round(6)).all(axis=1), outputs, np.nan)


def _returns_text(rows: Array) -> list[str]:
    return [str(value) for value in rows.sum(axis=1).tolist()][1:]


def _hangs(_rows: Array) -> None:
    (Path(tempfile.gettempdir()) / "called").touch()
    time.sleep(3600)


def _hangs_with_a_process(rows: Array) -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    _hangs(rows)


def _leaks(_rows: Array) -> None:
    leak = []
    while True:
        leak.append(np.ones(2**20))
        time.sleep(0.01)


def _exits(_rows: Array) -> None:
    os._exit(3)


def _prints(rows: Array) -> None:
    np.set_printoptions(threshold=sys.maxsize)
    text = repr(rows.tolist())
    for stream in (sys.stdout, sys.stderr):
        print(text, file=stream, flush=True)
    for descriptor in (1, 2):
        os.write(descriptor, text.encode())
    logging.getLogger("robmon.worker").critical(text)


def _closes_descriptors(_rows: Array) -> None:
    os.closerange(0, 4096)


def _is_slow(_rows: Array) -> None:
    (Path(tempfile.gettempdir()) / "called").touch()
    time.sleep(0.03)


def _is_very_slow(_rows: Array) -> None:
    time.sleep(1)


BEHAVIOURS: dict[str, Callable[[Array], Any]] = {
    "behaves": lambda _rows: None,
    "raises": _raises,
    "ends": _ends,
    "returns nan": _returns_nan,
    "returns nan under noise": _returns_nan_under_noise,
    "returns text": _returns_text,
    "hangs": _hangs,
    "hangs with a process": _hangs_with_a_process,
    "leaks": _leaks,
    "exits": _exits,
    "prints": _prints,
    "closes descriptors": _closes_descriptors,
    "is slow": _is_slow,
    "is very slow": _is_very_slow,
}

set_model(OddModel())
