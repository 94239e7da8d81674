"""A temporary folder that goes with its process, whatever ends it."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".lock"


@contextlib.contextmanager
def temporary_home(prefix: str) -> Iterator[Path]:
    """A temporary folder for all that this process puts into one. Those of dead ones with that prefix are swept."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), (left / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    before = tempfile.tempdir
    # What a thread that cannot be ended still writes there is swept by the next one.
    home = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    with home as folder, (Path(folder) / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before
