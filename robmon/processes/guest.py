"""How a process of robmon's behaves beside a model server."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

NICENESS = 10
PR_SET_PDEATHSIG = 1
MPS_PRIORITY = "CUDA_MPS_CLIENT_PRIORITY"
BELOW_NORMAL = "1"


def be_expendable() -> None:
    """Die with the process that started this one, and be killed before it where memory runs out."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def behave_as_guest() -> None:
    """Die with the daemon, yield processor and GPU to the model server, and be killed before it."""
    # CUDA reads it when it opens a context, and only MPS heeds it: nothing else orders the work of two processes.
    os.environ.setdefault(MPS_PRIORITY, BELOW_NORMAL)
    be_expendable()
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():
        # Where the kernel groups processes by session, each group has the same share, however nice those in it are.
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")
