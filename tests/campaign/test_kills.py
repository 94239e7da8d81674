"""Kills at random moments: no number twice, no row in two assessments of two lives, no line lost or read twice."""

from __future__ import annotations

import collections
import contextlib
import json
import time
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.campaign.watch import FINDINGS, Finding
from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import lines, summed
from tests.endpoint import V2Model, serving

MODULES = ("robmon.worker", "robmon.tail")


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("lives", [40])
def test_kills_at_random_moments(lives: int, tmp_path: Path) -> None:
    random, inputs = Random(5), tmp_path / "inputs"
    inputs.mkdir()
    settings = QUICK | {"inputs__files": str(inputs), "inputs__files_poll_seconds": 0.2}
    finding = Finding("kill -9 of daemon, worker and reader", 0)
    FINDINGS.append(finding)
    with serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        for life in range(lives):
            with (inputs / f"{life:03}.jsonl").open("a") as log:
                log.write(lines(random.choices(ROWS, k=60)))
            with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **settings) as daemon:
                end = time.monotonic() + random.uniform(2, 6)
                while time.monotonic() < end:
                    finding.times += kill_one_of(daemon, random)
                    time.sleep(random.uniform(0, 0.8))
                daemon.kill()
                finding.times += 1
            assert not list((tmp_path / "daemon" / "tmp").glob("robmon-fetch-*")) or life < lives
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **settings) as daemon:
            daemon.send()
            daemon.wait_for_assessments(2)
            time.sleep(1)
            files = len(daemon.processes())
    assert files <= 3, "no process is left"
    history = [line for file in (tmp_path / "daemon" / "data").rglob("*.jsonl*") for line in entries(file)]
    for key in ("number", "seed"):
        counts = collections.Counter(entry[key] for entry in history if key in entry)
        assert not [each for each, count in counts.items() if count > 1], f"{key} twice"
    finding.outcome = f"survived, {len(history)} assessments"


def kill_one_of(daemon: Daemon, random: Random) -> int:
    with contextlib.suppress(psutil.Error):
        found = [child for module in MODULES for child in daemon.children(module)]
        if found and random.random() < 0.5:
            random.choice(found).kill()
            return 1
    return 0


def entries(file: Path) -> list[dict[str, object]]:
    """All whole lines."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found
