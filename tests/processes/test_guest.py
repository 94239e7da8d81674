"""How a process behaves beside a model server."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TOLD = """
import os
from robmon.processes.guest import behave_as_guest
before = os.nice(0)
behave_as_guest()
print(os.nice(0) - before, open("/proc/self/oom_score_adj").read().strip(), os.environ["CUDA_MPS_CLIENT_PRIORITY"])
"""


@pytest.mark.parametrize(("given", "priority"), [({}, "1"), ({"CUDA_MPS_CLIENT_PRIORITY": "0"}, "0")])
def test_a_guest_yields_to_others(given: dict[str, str], priority: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")} | given
    done = subprocess.run([sys.executable, "-c", TOLD], env=environment, capture_output=True, text=True, check=True)
    niceness, killed_first, told = done.stdout.split()
    assert int(niceness) in (10, 19 - os.nice(0)), "there is no nicer than 19"
    assert (killed_first, told) == ("1000", priority)
