"""The worker has its model compiled, between two assessments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from robmon.processes.messages.model import Compiled
from robmon.processes.temporary import temporary_home
from robmon.worker.model_here import ModelHere


def compile_model(here: ModelHere) -> Compiled:
    """Compile the model where that pays; on a CUDA device within this process's share of that.

    Raises:
        DeviceUnavailableError: others need the device.
    """
    try:
        with here.assessing(), _own_cache():
            compilation = here.model.compilation
            if compilation is None:
                return _uncompiled("it is no torch module on a CUDA device any more")
            return Compiled(**compilation.decide()._asdict())
    except OSError as error:
        return _uncompiled(f"the compiler has no folder to write to, such as TMPDIR ({error.strerror})")


def _uncompiled(because: str) -> Compiled:
    return Compiled(because=because, time_ratio=None, seconds=0.0)


@contextmanager
def _own_cache() -> Iterator[None]:
    """The compiler writes to a folder that goes with this: it takes for whole what a killed worker left half written.

    What it has made is loaded by then.
    """
    with temporary_home("robmon-compiling-") as folder:
        own = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"), "TRITON_CACHE_DIR": str(folder / "triton")}
        before = {name: os.environ.pop(name, None) for name in own}
        os.environ.update(own)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                os.environ.update({} if value is None else {name: value})
