"""Whoever reaches the ports, with or without a token, keeps no probe out and holds up nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.campaign.watch import Finding, watched
from tests.e2e.daemon import Daemon, again_and_again, running_daemon
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving

HOLDERS = 80
SECONDS = 6.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Of a model at an endpoint, because it takes no time to load."""
    model = V2Model(summed, "kserve", [])
    with (
        serving(model) as server,
        running_daemon(tmp_path, f"{server.url}/v2/models/digits/infer", NO_REGISTRY, **QUICK) as daemon,
    ):
        daemon.send()
        daemon.wait_for_assessments()
        yield daemon


HALF_HEADS = """
import contextlib, socket, sys, threading
def hold(port):
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET /met")
            client.settimeout(20)
            client.recv(1)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=hold, args=(int(sys.argv[1]),), daemon=True).start()
sys.stdin.read()
"""


@contextlib.contextmanager
def held(port: int) -> Iterator[None]:
    """Clients of another process that begin a head, never end it, and come back whenever thrown out."""
    command = [sys.executable, "-c", HALF_HEADS, str(port), str(HOLDERS)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.communicate()


def last_for(seconds: float, finding: Finding, most_seconds: float) -> None:
    """Let it last; every probe is answered, and soon."""
    time.sleep(seconds)
    assert finding.refused == 0
    assert finding.slowest["/healthz"] < most_seconds


@pytest.mark.parametrize("port", ["http_port", pytest.param("inputs_port", marks=pytest.mark.campaign)])
def test_half_heads(port: str, daemon: Daemon) -> None:
    with watched(daemon, f"{HOLDERS} clients that hold half heads on {port}") as finding, held(daemon.port(port)):
        last_for(SECONDS, finding, 2.0)
    daemon.wait_for_assessments()


def escaped_quotes() -> bytes:
    return b'{"specversion":"1.0","data":"' + b'{\\"a\\":1.5},' * 500


def nothing_but_quotes() -> bytes:
    return b"{" + b'\\"' * 2047


def deep() -> bytes:
    return b'{"id":' + b"[" * 4000


@pytest.mark.campaign
@pytest.mark.parametrize("body", [escaped_quotes, nothing_but_quotes, deep])
def test_events_that_are_hard_to_read(body: Callable[[], bytes], daemon: Daemon) -> None:
    url, content = f"http://127.0.0.1:{daemon.port('inputs_port')}/", body()
    headers = {"content-type": "application/cloudevents+json"}

    def post() -> None:
        daemon.client.post(url, content=content, headers=headers)

    with watched(daemon, f"events, {body.__name__}, one after the other") as finding, again_and_again(post, 0.0):
        last_for(SECONDS, finding, 1.0)
    daemon.wait_for_assessments()


@pytest.mark.campaign
def test_labels_of_nobody(daemon: Daemon) -> None:
    """A flood of labels whose requests never came, and requests that wait for theirs."""
    url = f"http://127.0.0.1:{daemon.port('inputs_port')}/feedback"
    numbers = iter(range(10**9))

    def post() -> None:
        labels = [{"id": f"nobody {next(numbers)}", "target": 1.0} for _ in range(2000)]
        assert daemon.client.post(url, content=json.dumps(labels).encode()).status_code == 202
        daemon.send()

    with watched(daemon, "labels of nobody, 2,000 a body") as finding, again_and_again(post, 0.05):
        last_for(20, finding, 1.0)
    assert finding.growth is not None and finding.growth.memory_bytes < 40 * 2**20
    daemon.wait_for_assessments()
