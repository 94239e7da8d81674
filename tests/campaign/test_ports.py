"""Whoever reaches the ports, with or without a token, keeps no probe out and holds up nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.campaign.watch import watched
from tests.certificates import Authority
from tests.e2e.daemon import ROWS, Daemon, again_and_again, running_daemon
from tests.e2e.registry import COLUMNS
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import summed
from tests.e2e.test_security import exchange
from tests.endpoint import V2Model, serving
from tests.ports.test_protocol import NO_HTTP, SMUGGLING

REPOSITORY = Path(__file__).parents[2]

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
            client.sendall(bytes.fromhex(sys.argv[3]))
            client.settimeout(20)
            client.recv(1)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=hold, args=(int(sys.argv[1]),), daemon=True).start()
sys.stdin.read()
"""


ASKING = """
import contextlib, socket, sys, threading
def ask(port, request):
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
            client.settimeout(20)
            client.sendall(request * 16)
            answers = b""
            while piece := client.recv(65536):
                answers += piece
                answered = answers.count(b"HTTP/1.1 200")
                client.sendall(request * answered)
                answers = answers[-11:] if answered else answers
for _ in range(int(sys.argv[2])):
    threading.Thread(target=ask, args=(int(sys.argv[1]), bytes.fromhex(sys.argv[3])), daemon=True).start()
sys.stdin.read()
"""


LEAVING = """
import contextlib, os, socket, struct, sys, threading
def flood():
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for _ in range(200):
                client = stack.enter_context(socket.socket())
                client.settimeout(5)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.connect(("127.0.0.1", int(sys.argv[1])))
                client.sendall(bytes.fromhex(sys.argv[3]))
for _ in range(int(sys.argv[2])):
    threading.Thread(target=flood, daemon=True).start()
sys.stdin.read()
os._exit(0)
"""


@contextlib.contextmanager
def held(
    port: int, holders: int = HOLDERS, beginning: bytes = b"GET /met", program: str = HALF_HEADS
) -> Iterator[None]:
    """Clients of another process that come back whenever thrown out: they begin a head and never end it, or do what the
    program says with these bytes."""
    command = [sys.executable, "-c", program, str(port), str(holders), beginning.hex()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.communicate()


@pytest.mark.parametrize(
    "port", [pytest.param("http_port", marks=pytest.mark.red), pytest.param("inputs_port", marks=pytest.mark.campaign)]
)
def test_half_heads(port: str, daemon: Daemon) -> None:
    with watched(daemon, f"{HOLDERS} clients that hold half heads on {port}"), held(daemon.port(port)):
        time.sleep(SECONDS)
    daemon.wait_for_assessments()


@pytest.mark.campaign
def test_requests_without_a_pause(daemon: Daemon) -> None:
    """Of clients that read all they are told, and always have sixteen more on their way."""
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        watched(daemon, f"{HOLDERS} clients that ask for /healthz without a pause"),
        held(daemon.port("http_port"), HOLDERS, request, ASKING),
    ):
        time.sleep(SECONDS)
    daemon.wait_for_assessments()


def escaped_quotes() -> bytes:
    return b'{"specversion":"1.0","data":"' + b'{\\"a\\":1.5},' * 500


def nothing_but_quotes() -> bytes:
    return b"{" + b'\\"' * 2047


def deep() -> bytes:
    return b'{"id":' + b"[" * 4000


@pytest.mark.campaign
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(escaped_quotes, marks=pytest.mark.red),
        pytest.param(nothing_but_quotes, marks=pytest.mark.red),
        deep,
    ],
)
def test_events_that_are_hard_to_read(body: Callable[[], bytes], daemon: Daemon) -> None:
    url, content = f"http://127.0.0.1:{daemon.port('inputs_port')}/", body()
    headers = {"content-type": "application/cloudevents+json"}

    def post() -> None:
        daemon.client.post(url, content=content, headers=headers)

    with watched(daemon, f"events, {body.__name__}, one after the other"), again_and_again(post, 0.0):
        time.sleep(SECONDS)
    with daemon.traffic():  # the last sample of the flood holds few requests of others
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

    with watched(daemon, "labels of nobody, 2,000 a body"), again_and_again(post, 0.05):
        time.sleep(20)
    daemon.wait_for_assessments()


@pytest.mark.campaign
@pytest.mark.parametrize("port", ["http_port", "inputs_port"])
def test_smuggling(port: str, daemon: Daemon) -> None:
    """Whatever can be read in two ways is the last of its connection: what follows becomes no request."""
    following = b"GET /healthz?smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    all_sent = [*NO_HTTP, *(each + b"0\r\n\r\n" for each in SMUGGLING)]
    with watched(daemon, f"smuggling and broken HTTP on {port}", len(all_sent)):
        for sent in all_sent:
            answers = exchange(daemon, port, sent + following)
            assert answers.count(b"HTTP/1.1 200") == 0, sent
    daemon.wait_for_assessments()


@pytest.mark.campaign
def test_a_thousand_half_heads_and_thousands_of_requests_at_once(daemon: Daemon) -> None:
    """Bounded, and over when their clients are gone."""
    with watched(daemon, "1,000 half heads on each port, 5,000 requests in one piece"):
        with contextlib.ExitStack() as stack:
            for port in ("http_port", "inputs_port"):
                stack.enter_context(held(daemon.port(port), 500))
            time.sleep(SECONDS)
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        exchange(daemon, "http_port", request * 5000)
        daemon.wait_for_assessments()


ODD_LABELS = [
    json.dumps({"id": "x" * 2**20, "target": 1}).encode(),
    json.dumps({"id": "a\nrobmon_up 7\n", "target": 1}).encode(),
    b'{"id":' + b"[" * 100_000,
    b'{"id": 1e400, "target": 1}',
    b'{"id": "\\ud800", "target": 1}',
    b'{"id": "x", "target": ' + b"9" * 100_000 + b"}",
    b"\n" * 2**20,
    b"[" + b"{}," * 300_000 + b"{}]",
    b"\xff\xfe\x00",
    b'[{"id": "x", "target": [' + b"1," * 200_000 + b"1]}]",
]


@pytest.mark.campaign
def test_odd_labels(daemon: Daemon) -> None:
    url = f"http://127.0.0.1:{daemon.port('inputs_port')}/feedback"
    with watched(daemon, "labels with odd ids, deep, large, broken", len(ODD_LABELS)):
        for body in ODD_LABELS:
            assert daemon.client.post(url, content=body).status_code in (202, 400, 413)
        assert "robmon_up 7" not in daemon.get("/metrics").text
        daemon.wait_for_assessments()


LABEL_BYTES = 2**20


@pytest.mark.campaign
@pytest.mark.red
def test_requests_that_wait_for_their_labels(tmp_path: Path) -> None:
    """Small ones, many more than their budget holds: what Python holds of them stays within it."""
    model = V2Model(summed, "kserve", [])
    settings = QUICK | {"inputs__label_bytes": LABEL_BYTES, "inputs__sample_rows": 2000}
    with (
        serving(model) as server,
        running_daemon(tmp_path, f"{server.url}/v2/models/digits/infer", NO_REGISTRY, **settings) as daemon,
    ):
        feedback = f"http://127.0.0.1:{daemon.port('inputs_port')}/feedback"
        assert daemon.client.post(feedback, content=b'{"id": "nobody", "target": 1.0}').status_code == 202
        daemon.send()
        daemon.wait_for_assessments()
        sent = send_with_ids(daemon, 8000)
        daemon.wait_for_assessments(2)
        with watched(daemon, "small requests that wait for labels", memory_bytes=8 * LABEL_BYTES) as finding:
            while sent < 60_000:
                sent += send_with_ids(daemon, 4000)
                daemon.wait_for_assessments()
            finding.times = sent
    assert finding.slowest["/metrics"] < 1.0


def send_with_ids(daemon: Daemon, count: int) -> int:
    """Send as many small requests, each with an id of its own, on one connection."""
    body = json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": [ROWS[0]]}}).encode()
    with socket.create_connection(("127.0.0.1", daemon.port("inputs_port")), 30) as client:
        for _ in range(count // 50):
            client.sendall(b"".join(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Request-Id: %d\r\nContent-Length: %d\r\n\r\n%b"
                % (next(IDS), len(body), body)
                for _ in range(50)
            ))  # fmt: skip
            answered = 0
            while answered < 50:
                piece = client.recv(2**16)
                assert piece, "the connection was closed"
                answered += piece.count(b"HTTP/1.1 202")
    return count


IDS = itertools.count()


@pytest.fixture
def daemon_over_tls(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """With a certificate on both ports."""
    secrets = tmp_path_factory.mktemp("secrets")
    Authority(secrets).sign("tls")
    model = V2Model(summed, "kserve", [])
    files = {"tls_cert_file": secrets / "tls.crt", "tls_key_file": secrets / "tls.key"}
    settings = QUICK | {f"{port}__{name}": file for port in ("http", "inputs") for name, file in files.items()}
    with (
        serving(model) as server,
        running_daemon(tmp_path, f"{server.url}/v2/models/digits/infer", NO_REGISTRY, **settings) as daemon,
    ):
        daemon.scheme = "https"
        daemon.client = httpx.Client(timeout=5, trust_env=False, verify=False)
        daemon.send()
        daemon.wait_for_assessments()
        yield daemon


HALF_HELLO = b"\x16\x03\x01\x02\x00\x01"


@pytest.mark.campaign
@pytest.mark.red
def test_half_handshakes(daemon_over_tls: Daemon) -> None:
    """On a port with TLS, clients that begin a handshake and never end it."""
    with (
        watched(daemon_over_tls, f"{HOLDERS} clients that hold half handshakes"),
        held(daemon_over_tls.port("http_port"), beginning=HALF_HELLO),
    ):
        time.sleep(SECONDS)
    daemon_over_tls.wait_for_assessments()


@pytest.mark.campaign
@pytest.mark.parametrize("clients", [1, 4])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("key updates", marks=pytest.mark.red),
        pytest.param("key updates that ask for replies", marks=pytest.mark.red),
        "one byte and a key update",
        "one byte",
        "empty",
    ],
)
def test_records_that_say_little(kind: str, clients: int, daemon_over_tls: Daemon) -> None:
    """As many as their clients can make."""
    with watched(daemon_over_tls, f"clients that send records of TLS without end, {kind}", clients):
        flood(daemon_over_tls, kind, clients)
    daemon_over_tls.wait_for_assessments()


@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["hello", "hello and its answer"])
def test_handshakes_that_are_left(kind: str, daemon_over_tls: Daemon) -> None:
    """Ten busy loops: where they wait for the answer, the daemon has signed it."""
    with watched(daemon_over_tls, f"clients that reset after a whole {kind}", 10):
        flood(daemon_over_tls, kind, 10)
    daemon_over_tls.wait_for_assessments()


def flood(daemon: Daemon, kind: str, clients: int) -> None:
    """That of `tests.tls_records`, of as many processes, which come back whenever they are thrown out."""
    command = [sys.executable, "-m", "tests.tls_records", str(daemon.port("http_port")), kind]
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            process = stack.enter_context(subprocess.Popen(command, cwd=REPOSITORY))
            stack.callback(process.kill)
        time.sleep(SECONDS)


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("scheme", "beginning"),
    [("http", b""), ("http", b"GET /met"), ("https", b""), ("https", HALF_HELLO)],
    ids=["http silent", "http half a head", "https silent", "https half a hello"],
)
def test_clients_that_connect_and_reset(scheme: str, beginning: bytes, request: pytest.FixtureRequest) -> None:
    """Two threads, each with 200 at once, again and again."""
    daemon = request.getfixturevalue("daemon_over_tls" if scheme == "https" else "daemon")
    said = "said nothing" if not beginning else "sent half a head" if scheme == "http" else "sent half a hello"
    with (
        watched(daemon, f"clients that connect by {scheme} and reset, 200 at once, having {said}"),
        held(daemon.port("http_port"), 2, beginning, LEAVING),
    ):
        time.sleep(SECONDS)
    daemon.wait_for_assessments()
