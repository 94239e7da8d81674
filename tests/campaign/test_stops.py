"""A daemon, a worker or a machine that stands still for a while goes on where it was."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.watch import watched
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.registry import Registry


@pytest.fixture
def daemon(local: Registry, tmp_path: Path) -> Iterator[Daemon]:
    model = local.model()
    uri = f"models:/{model.name}/{model.add()}"
    with running_daemon(tmp_path, uri, local.tracking_uri, worker__timeout_seconds=20) as daemon:
        daemon.send()
        daemon.wait_for_assessments()
        yield daemon


@pytest.mark.campaign
def test_a_daemon_that_was_stopped_takes_the_answers_that_lie_ready(daemon: Daemon) -> None:
    worker = daemon.worker()
    with watched(daemon, "SIGSTOP of the daemon for 22 s in an assessment"):
        daemon.model("is slow")
        daemon.wait_for_call()
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(22)
        daemon.process.send_signal(signal.SIGCONT)
        daemon.model("behaves")
        daemon.wait_for_assessments(2)
    assert daemon.worker() == worker, "it had answered in time"
    assert daemon.count("robmon_assessments_total", outcome="failed") == 0


@pytest.mark.campaign
def test_a_worker_that_was_stopped_beyond_its_time_is_replaced(daemon: Daemon) -> None:
    with watched(daemon, "SIGSTOP of the worker"):
        daemon.worker().send_signal(signal.SIGSTOP)
        daemon.wait_for_assessments(outcome="failed", reason="timeout")
        daemon.wait_for_assessments()
