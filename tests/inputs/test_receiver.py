"""The receiver on a real server, spoken to over raw sockets: what it keeps, and that no bound gives way."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from robmon.inputs import receiver
from robmon.inputs.receiver import _Pieces
from robmon.ports import server as port_server
from robmon.vocabulary import PROBE_HEADER
from tests.inputs.conftest import MAX_BODY_BYTES, MAX_INFLIGHT_BYTES, Served
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until

BODY = json.dumps({"inputs": [[1.0, 2.0]]}).encode()
MARK = f"{PROBE_HEADER}: 1"


@contextlib.contextmanager
def connection(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(served.address, timeout=PATIENCE_SECONDS) as client:
        yield client


def head(*headers: str, method: str = "POST", path: str = "/invocations") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def post(body: bytes = BODY, *headers: str) -> bytes:
    return head(f"Content-Length: {len(body)}", "Content-Type: application/json", *headers) + body


def status(client: socket.socket) -> int:
    """The status of the next answer, all of which have an empty body."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = client.recv(4096)
        if not piece:
            return 0
        answer += piece
    return int(answer.split()[1])


def closed(client: socket.socket) -> bool:
    try:
        return client.recv(4096) == b""
    except ConnectionResetError:
        return True


def alive(served: Served) -> bool:
    with connection(served) as client:
        client.sendall(post())
        return status(client) == 202


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_a_prediction_request_is_kept_and_answered_202(served: Served) -> None:
    with contextlib.closing(http.client.HTTPConnection(*served.address)) as client:
        client.request("POST", "/invocations", BODY, {"Content-Type": "application/json", "Authorization": "Bearer x"})
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (202, b"")
    (item,) = served.sample.snapshot(1000)
    assert (item.body, item.format, item.headers, item.received_at) == (
        BODY,
        "mlflow",
        {"content-type": "application/json"},
        1000,
    )
    assert (served.counts.received["mlflow"], served.counts.sampled["mlflow"]) == (1, 1)
    assert served.counts.rejected.total() == served.counts.skipped.total() == 0


def test_the_bytes_of_mlflows_own_client(served: Served) -> None:
    """In a process of its own: the client waits for an answer with predictions, which ours is not."""
    code = (
        "import sys, numpy\n"
        "from mlflow.pyfunc.scoring_server.client import ScoringServerClient\n"
        "try: ScoringServerClient('127.0.0.1', int(sys.argv[1])).invoke(numpy.arange(6.0).reshape(2, 3))\n"
        "except Exception: pass\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(served.address[1])], check=True, timeout=PATIENCE_SECONDS
    )
    (item,) = served.sample.snapshot(1000)
    assert json.loads(item.body) == {"inputs": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]}
    assert item.headers["content-type"] == "application/json"


def test_many_requests_on_one_connection(served: Served) -> None:
    with connection(served) as client:
        for number in range(300):
            client.sendall(post(str(number).encode()))
            assert status(client) == 202
    assert served.counts.received["mlflow"] == 300
    assert 8 <= served.counts.sampled["mlflow"] < 100  # about 8 ln(300 / 8) + 8
    assert served.sample.rows(1000) == 8


def test_a_body_in_pieces(served: Served) -> None:
    with connection(served) as client:
        client.sendall(post()[:-5])
        wait_until(lambda: served.receiver.inflight_bytes == len(BODY) - 5)
        client.sendall(BODY[-5:])
        assert status(client) == 202
    assert [item.body for item in served.sample.snapshot(1000)] == [BODY]
    assert served.receiver.inflight_bytes == 0


def test_a_chunked_body(served: Served) -> None:
    with connection(served) as client:
        client.sendall(head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert status(client) == 202
    assert [item.body for item in served.sample.snapshot(1000)] == [b"abcde"]


def test_a_client_that_waits_for_100_continue(served: Served) -> None:
    with connection(served) as client:
        client.sendall(head("Expect: 100-continue", f"Content-Length: {len(BODY)}"))
        assert status(client) == 100
        client.sendall(BODY)
        assert status(client) == 202


def test_requests_sent_without_waiting_for_answers(served: Served) -> None:
    with connection(served) as client:
        client.sendall(post() * 50)
        answers = b""
        while answers.count(b"\r\n\r\n") < 50:
            answers += client.recv(65536)
    assert answers.count(b" 202 ") == 50


@pytest.mark.parametrize(
    ("method", "path", "source"),
    [
        ("GET", "/invocations", "none"),
        ("GET", "/ping", "none"),
        ("GET", "/health?x=1", "none"),
        ("HEAD", "/version", "none"),
        ("POST", "/somewhere/else", "none"),
        ("POST", "/invocations", "mlflow"),
    ],
)
def test_what_is_no_prediction_request_is_skipped(served: Served, method: str, path: str, source: str) -> None:
    with connection(served) as client:
        client.sendall(head("Content-Length: 0", method=method, path=path))
        assert status(client) == 200
    assert served.counts.skipped[source] == 1
    assert served.counts.received.total() == served.sample.rows(1000) == 0


def test_all_sources_are_counted_from_zero(served: Served) -> None:
    contract = {"mlflow", "v1", "v2", "cloudevents", "file", "kafka"}
    assert set(served.counts.received) == set(served.counts.sampled) == contract
    assert set(served.counts.skipped) == contract | {"none"}


def test_an_endless_content_type_is_cut(served: Served) -> None:
    with connection(served) as client:
        client.sendall(post(BODY).replace(b"application/json", b"a" * 5000))
        assert status(client) == 202
    assert len(served.sample.snapshot(1000)[0].headers["content-type"]) == 128


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_an_announced_oversize_is_refused_before_its_body(served: Served) -> None:
    with connection(served) as client:
        client.sendall(head(f"Content-Length: {MAX_BODY_BYTES + 1}"))
        assert status(client) == 413
        assert closed(client)
    assert served.counts.rejected == {("mlflow", "too_large"): 1}
    assert served.counts.received["mlflow"] == 1


def test_the_largest_body_allowed(served: Served) -> None:
    with connection(served) as client:
        client.sendall(post(bytes(MAX_BODY_BYTES)))
        assert status(client) == 202


@pytest.mark.parametrize(("path", "mark"), [("/invocations", "X: 1"), ("/invocations", MARK), ("/elsewhere", "X: 1")])
def test_a_chunked_oversize_is_refused_while_it_arrives(served: Served, path: str, mark: str) -> None:
    chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
    with connection(served) as client:
        client.sendall(head("Transfer-Encoding: chunked", mark, path=path))
        for _ in range(MAX_BODY_BYTES // 10_000):
            client.sendall(chunk)
        client.sendall(b"2710\r\n" + bytes(100))  # the body never ends
        assert status(client) == 413
        assert closed(client)
    is_left_out = mark == MARK or path == "/elsewhere"
    assert served.counts.rejected == ({} if is_left_out else {("mlflow", "too_large"): 1})
    assert served.counts.received["mlflow"] == (not is_left_out)
    assert served.counts.skipped.total() == is_left_out
    assert served.receiver.inflight_bytes == 0


@given(st.lists(st.sampled_from([1, 2, 5000, 16_383, 16_384, 40_000]), max_size=12))
def test_pieces_of_any_size_are_put_together_in_their_order(sizes: list[int]) -> None:
    pieces, body = [bytes([number]) * size for number, size in enumerate(sizes)], _Pieces()
    for piece in pieces:
        body.add(piece)
    assert body.joined_with(b"end") == b"".join(pieces) + b"end"


def test_bodies_still_arriving_are_bounded_together(served: Served) -> None:
    """Three bodies of 60 kB are on their way, 150 kB are allowed: the third is refused, the others arrive."""
    part = post(bytes(60_001))[:-1]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connection(served)) for _ in range(3)]
        for number, client in enumerate(clients[:2], start=1):
            client.sendall(part)
            wait_until(lambda expected=number * 60_000: served.receiver.inflight_bytes == expected)  # type: ignore[misc]
        clients[2].sendall(part)
        assert status(clients[2]) == 503
        assert closed(clients[2])
        assert served.receiver.inflight_bytes == 120_000 <= MAX_INFLIGHT_BYTES
        for client in clients[:2]:
            client.sendall(b"\0")
            assert status(client) == 202
    assert served.counts.rejected == {("mlflow", "inflight_full"): 1}
    assert served.receiver.inflight_bytes == 0


def test_bodies_that_are_not_kept_are_not_stored(served: Served) -> None:
    """A full sample of the smallest keys wants no other request: their bodies pass without being held."""
    for _ in range(8):
        served.sample.add(0.0, b"kept", "mlflow", {}, 1000)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connection(served)) for _ in range(5)]
        for client in clients:
            client.sendall(post(bytes(60_001))[:-1])  # 300 kB on their way: twice what may be held
        for client in clients:
            client.sendall(b"\0")
            assert status(client) == 202
    assert served.counts.received["mlflow"] == 5
    assert served.counts.sampled["mlflow"] == served.counts.rejected.total() == 0


@pytest.mark.parametrize("start", [post()[:-1], head("Content-Length: 10"), head("Transfer-Encoding: chunked")])
def test_a_body_that_never_ends_is_given_up(served: Served, start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "BODY_TIMEOUT_SECONDS", 0.1)
    with connection(served) as client:
        client.sendall(start)
        assert status(client) == 408
        assert closed(client)
    assert served.counts.rejected == {("mlflow", "timeout"): 1}
    assert served.receiver.inflight_bytes == 0
    assert alive(served)


def test_what_is_left_out_is_skipped_whatever_becomes_of_its_body(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "BODY_TIMEOUT_SECONDS", 0.1)
    with connection(served) as client:
        client.sendall(head(f"Content-Length: {MAX_BODY_BYTES + 1}", MARK))
        assert status(client) == 413
    with connection(served) as client:
        client.sendall(head("Content-Length: 10", MARK))
        assert status(client) == 408
    with connection(served) as client:
        client.sendall(head("Content-Length: 10", MARK))
    wait_until(lambda: served.counts.skipped["mlflow"] == 3)
    assert served.counts.rejected.total() == served.counts.received.total() == 0


def test_a_body_that_drips_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "BODY_TIMEOUT_SECONDS", 0.2)
    with connection(served) as client:
        client.sendall(head("Content-Length: 50000"))
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                client.sendall(b"x")
                time.sleep(0.01)
        wait_until(lambda: served.counts.rejected["mlflow", "timeout"] == 1)


def test_a_client_that_goes_away(served: Served) -> None:
    with connection(served) as client:
        client.sendall(post()[:-1])
        wait_until(lambda: served.receiver.inflight_bytes > 0)
    wait_until(lambda: served.counts.rejected["mlflow", "disconnected"] == 1)
    assert served.receiver.inflight_bytes == 0
    assert served.sample.rows(1000) == 0


def test_a_body_longer_than_announced(served: Served) -> None:
    with connection(served) as client:
        client.sendall(head("Content-Length: 5") + BODY)
        assert status(client) in (202, 400)
        wait_until(lambda: served.counts.rejected["none", "not_http"] == 1)
    assert alive(served)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\xff" * 10,
        b"GET\r\n\r\n",
        head("Content-Length: 5", "Content-Length: 6") + b"hello",
        head("Content-Length: -1"),
        head("Content-Length: 99999999999999999999999999"),
        b"POST /invocations HTTQ/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http(served: Served, garbage: bytes) -> None:
    with connection(served) as client:
        client.sendall(garbage)
        assert status(client) == 400
        assert closed(client)
    assert served.counts.rejected == {("none", "not_http"): 1}
    assert alive(served)


@pytest.mark.parametrize("broken", [b"zz\r\nabc\r\n", b"3\r\nabcdef\r\n", b"0\r\nTrailer: " + b"x" * 100 + b"\r\n\r\n"])
def test_broken_chunks_and_trailers(served: Served, broken: bytes) -> None:
    with connection(served) as client:
        client.sendall(head("Transfer-Encoding: chunked"))
        client.sendall(broken)
        wait_until(lambda: served.counts.rejected == {("mlflow", "disconnected"): 1})
    assert alive(served)


def test_every_request_is_counted_under_one_outcome(served: Served) -> None:
    with connection(served) as client:
        for _ in range(20):
            client.sendall(post() + head(method="GET", path="/ping"))
        answers = b""
        while answers.count(b"\r\n\r\n") < 40:
            answers += client.recv(65536)
    for _ in range(5):
        with connection(served) as client:
            client.sendall(head("Content-Length: 99999999"))
            assert status(client) == 413
    assert (served.counts.received["mlflow"], served.counts.skipped["none"]) == (25, 20)
    assert served.counts.rejected == {("mlflow", "too_large"): 5}


def test_the_end_of_the_server_waits_for_no_body(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_server, "SHUTDOWN_SECONDS", 3600)
    with Served() as server, contextlib.ExitStack() as stack:
        client = stack.enter_context(connection(server))
        client.sendall(post()[:-1])
        wait_until(lambda: server.receiver.inflight_bytes > 0)
        server.stop()
        assert closed(client)
    assert server.counts.rejected == {("mlflow", "disconnected"): 1}
    assert caplog.text == ""


# --- logs ------------------------------------------------------------------------------------------------------------


def test_no_byte_of_a_request_is_logged(
    served: Served, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    secret = b"5ecret"
    with capture_logs() as lines:
        for request in (
            post(secret),
            secret,
            head("X: " + secret.decode()) + secret,
            post(secret)[:-1],
            post(secret * 20_000),
        ):
            with connection(served) as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while client.recv(4096):
                        pass
    assert served.counts.rejected.total() >= 3
    output = capfd.readouterr()
    for text in (output.out, output.err, caplog.text, str(lines)):
        assert secret.decode() not in text


def test_the_light_modules_import_nothing_heavy() -> None:
    code = (
        "import sys, robmon.inputs.receiver, robmon.inputs.sample\n"
        "print([m for m in ('numpy', 'pandas', 'torch', 'mlflow', 'pyarrow') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
