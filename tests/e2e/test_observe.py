"""`make observe` as a colleague is shown it: the alert arrives, the dashboards have data, a rollback resolves it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_demo import THEIRS, processes_of, read_until
from tests.patience import PATIENCE_SECONDS
from tests.watching.prometheus import REPOSITORY

pytestmark = pytest.mark.long


def test_the_alert_arrives_and_goes_and_nothing_is_left(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-m", "tools.observe"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=THEIRS | {"TMPDIR": str(temporary)},
        start_new_session=True,
    )
    try:
        output = read_until(child, "Everything keeps running until Ctrl-C") + read_until(child, "accept version 2")
        assert "webhook: firing: RobmonRobustnessRegression" in output
        assert re.search(r"digits\s+version\s+2\s+\(against\s+1\)", output)
        panels = re.findall(r"^  robmon: (.+): (\d+) of (\d+) panels have data$", output, re.MULTILINE)
        assert [name for name, _, _ in panels] == ["model", "all models", "sidecar"]
        assert all(int(found) >= 0.6 * int(of) for _, found, of in panels)
        assert len(re.findall(r"http://127\.0\.0\.1:\d+/graph\?", output)) == 2
        rollback = dict(re.findall(r"^  (roll back) +(.+)$", output, re.MULTILINE))["roll back"]
        done = subprocess.run(["sh", "-c", rollback], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        read_until(child, "webhook: resolved: RobmonRobustnessRegression")
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=PATIENCE_SECONDS)
        assert child.returncode == 0, rest
        assert processes_of(temporary) == []
        assert list(temporary.iterdir()) == []
    finally:
        for process in processes_of(temporary):
            with contextlib.suppress(psutil.Error):
                process.kill()
