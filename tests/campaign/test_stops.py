"""A daemon, a worker or a machine that stands still for a while goes on where it was."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.campaign.watch import Held, asked, begun, watched
from tests.e2e.daemon import END_SECONDS, Daemon, running_daemon
from tests.e2e.loading import measured_patience_seconds
from tests.e2e.registry import Registry
from tests.servers import wait_until

ENDING = (signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)


@pytest.fixture(scope="module")
def uri(local: Registry) -> str:
    """Of an odd model."""
    model = local.model()
    return f"models:/{model.name}/{model.add()}"


@pytest.fixture(scope="module")
def worker_seconds(uri: str, local: Registry, tmp_path_factory: pytest.TempPathFactory) -> float:
    """After which a worker counts as hanging."""
    return measured_patience_seconds(tmp_path_factory.mktemp("first"), uri, local.tracking_uri, at_least=20)


@pytest.fixture
def daemon(uri: str, worker_seconds: float, local: Registry, tmp_path: Path) -> Iterator[Daemon]:
    # What a shell starts in the background, or nohup, ignores some of them, and so would the daemon.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    with running_daemon(tmp_path, uri, local.tracking_uri, worker__timeout_seconds=worker_seconds) as daemon:
        for number, action in before.items():
            signal.signal(number, action)
        daemon.send()
        daemon.wait_for_assessments()
        yield daemon


@pytest.mark.campaign
def test_a_daemon_that_was_stopped_takes_the_answers_that_lie_ready(daemon: Daemon, worker_seconds: float) -> None:
    worker, seconds = daemon.worker(), worker_seconds + 2
    with watched(daemon, f"SIGSTOP of the daemon for {seconds:.0f} s in an assessment", healthz_seconds=None):
        daemon.model("is slow")
        daemon.wait_for_call()
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
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


def in_a_fetch(daemon: Daemon) -> None:
    daemon.wait_for(lambda: daemon.children("robmon.fetch"), "a fetch process")


def in_a_load(daemon: Daemon) -> None:
    daemon.wait_for(lambda: daemon.children("robmon.worker"), "a worker")


def in_an_assessment(daemon: Daemon) -> None:
    daemon.model("hangs")
    daemon.send()
    daemon.wait_for_call()


def with_a_worker_that_is_stopped(daemon: Daemon) -> None:
    daemon.send()
    daemon.wait_for_assessments()
    daemon.worker().send_signal(signal.SIGSTOP)


def with_half_requests_open(daemon: Daemon) -> None:
    OPEN.extend(socket.create_connection(("127.0.0.1", daemon.port("inputs_port"))) for _ in range(20))
    for client in OPEN:
        client.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")


OPEN: list[socket.socket] = []
ENDS = [
    (in_a_fetch, "TERM"),
    (in_a_load, "TERM"),
    (in_an_assessment, "TERM"),
    (in_an_assessment, "TERM TERM INT"),
    (in_an_assessment, "TSTP CONT TERM"),
    (with_a_worker_that_is_stopped, "TERM"),
    (with_half_requests_open, "TERM"),
]


@pytest.mark.campaign
@pytest.mark.parametrize(("moment", "signals"), ENDS)
def test_the_end(moment: Callable[[Daemon], None], signals: str, local: Registry, tmp_path: Path) -> None:
    """Within 10 seconds, with status 0, and no process left, whatever it was at."""
    model = local.model()
    uri = f"models:/{model.name}/{model.add()}"
    finding = begun(f"SIG{signals.replace(' ', ', SIG')} {moment.__name__.replace('_', ' ')}")
    with running_daemon(tmp_path, uri, local.tracking_uri) as daemon:
        before = Held.by(daemon)
        with asked(finding, daemon):
            moment(daemon)
        began = time.monotonic()
        for name in signals.split():
            daemon.process.send_signal(getattr(signal, f"SIG{name}"))
        assert daemon.process.wait(END_SECONDS + 5) == 0
        seconds = time.monotonic() - began
        assert seconds < END_SECONDS
        assert daemon.processes() == []
        finding.growth = Held.by(daemon).less(before)
    while OPEN:
        OPEN.pop().close()
    finding.outcome = f"ended in {seconds:.1f} s with status 0"


@pytest.mark.campaign
@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_signals_that_end_it_at_once(number: signal.Signals, daemon: Daemon) -> None:
    """By default action; its children follow."""
    finding, before = begun(number.name), Held.by(daemon)
    with asked(finding, daemon):
        daemon.wait_for_assessments()
    daemon.process.send_signal(number)
    daemon.process.wait(END_SECONDS)
    wait_until(lambda: not daemon.processes(), END_SECONDS, "the end of all its processes")
    finding.growth = Held.by(daemon).less(before)
    finding.outcome = f"ended with status {daemon.process.returncode}, and its children"
