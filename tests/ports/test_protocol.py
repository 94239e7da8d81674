"""No client can hold a connection, memory or the log for longer than it should."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from robmon.ports import protocol, server
from tests.ports.conftest import Port, closed, status
from tests.servers import wait_until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines are no part of a test that does not set one: a busy machine may take seconds for the next line."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 600.0)
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 600.0)


def head(*headers: str, method: str = "POST", path: str = "/") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def post(body: bytes = b"{}") -> bytes:
    return head(f"Content-Length: {len(body)}") + body


def drip(client: socket.socket, piece: bytes, seconds: float = 20) -> None:
    """Send a piece again and again, until the other side has had enough."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            client.sendall(piece)
            time.sleep(0.01)


# --- what is no request ----------------------------------------------------------------------------------------------


NO_HTTP = [
    b"\x00\x01\x02\xff" * 10,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS handshake
    b"GET\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST / HTTQ/1.1\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\n\r\n",
    head("Content-Length: -1"),
    head("Content-Length: 99999999999999999999999999"),
    head("Content-Length: 1e3"),
    head("Content-Length: +5") + b"hello",
]


@pytest.mark.parametrize("garbage", NO_HTTP)
def test_what_is_no_http(port: Port, garbage: bytes) -> None:
    with port.connection() as client:
        client.sendall(garbage)
        assert status(client) == 400
        assert closed(client)
    assert port.refused == {"not_http": 1}
    assert port.requests == []
    assert port.answers()


FOLLOWING = b"GET /following HTTP/1.1\r\nHost: x\r\n\r\n"


SMUGGLING = [
    head("Content-Length: 4", "Transfer-Encoding: chunked"),
    head("Transfer-Encoding: chunked", "Content-Length: 4"),
    head("Content-Length: 4", "Content-Length: 5"),
    head("Content-Length: 4, 5"),
    head("Transfer-Encoding: chunked, identity"),
    head("Transfer-Encoding: xchunked"),
    head("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    head("Transfer-Encoding : chunked"),
    head("Transfer-Encoding:\x0bchunked"),
    head("X: a\nContent-Length: 4"),
    head("X: a\r\n Content-Length: 4"),
    head("X: a\rContent-Length: 4"),
    head("X\0: a"),
]


@pytest.mark.parametrize("smuggling", SMUGGLING)
def test_a_request_whose_end_can_be_read_in_two_ways_is_the_last(port: Port, smuggling: bytes) -> None:
    """A proxy in front may have read another end than we did: what follows must not become a request of its own."""
    with port.connection() as client:
        client.sendall(smuggling + b"0\r\n\r\n" + FOLLOWING)
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: port.connections == 0 and bool(port.refused or port.requests))
    assert "/following" not in [request["path"] for request in port.requests]


def test_a_request_that_follows_a_clear_one_is_one(port: Port) -> None:
    with port.connection() as client:
        client.sendall(head("Transfer-Encoding: chunked") + b"0\r\n\r\n" + FOLLOWING)
        assert (status(client), status(client)) == (200, 200)
    assert [request["path"] for request in port.requests] == ["/", "/following"]


@pytest.mark.parametrize("upgrade", ["Upgrade: websocket", "Upgrade: h2c"])
def test_no_other_protocol_is_spoken(port: Port, upgrade: str) -> None:
    """The request itself is answered, and the connection then closed: what comes next may be that other protocol."""
    with port.connection() as client:
        client.sendall(head("Connection: Upgrade", upgrade, method="GET"))
        assert status(client) == 200
        assert closed(client)


def test_http_1_0(port: Port) -> None:
    with port.connection() as client:
        client.sendall(b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
        assert status(client) == 200
        assert closed(client)
    assert port.requests[0]["body"] == b"{}"


# --- slow clients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
def test_a_head_that_never_ends(port: Port, before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    with port.connection() as client:
        client.sendall(before)
        if before:
            assert status(client) == 200
        client.sendall(GET[:-2])
        drip(client, b"X: y\r\n")
        assert closed(client)
    assert port.refused == {"head_timeout": 1}
    assert port.answers()


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
@pytest.mark.parametrize("piece", [b"", b"\r\n"], ids=["silence", "empty lines"])
def test_a_connection_on_which_no_head_begins(
    port: Port, before: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty lines before a request are allowed, so they are no sign of life."""
    monkeypatch.setattr(protocol, "IDLE_SECONDS", 0.2)
    with port.connection() as client:
        client.sendall(before)
        if before:
            assert status(client) == 200
        if piece:
            drip(client, piece)
        assert closed(client)
    assert port.refused == {}, "silence is no offence"
    assert port.answers()


def test_an_answer_that_is_not_read(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answers fill what the kernel and the transport hold; then the next one waits for its client."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.3)
    with port.connection() as client:
        client.sendall(head(method="GET", path="/long") * 3)
        wait_until(lambda: port.refused == {"answer_timeout": 1})
        wait_until(lambda: port.connections == 0)
    assert len(port.requests) < 3
    assert port.answers()


@pytest.mark.parametrize("then", ["close", "keep-alive"])
def test_a_last_answer_that_is_not_read(port: Port, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To close a connection is not enough: what is still to be sent would be waited for."""
    for deadline in ("REQUEST_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(protocol, deadline, 0.2)
    with port.connection() as client:
        client.sendall(head(f"Connection: {then}", method="GET", path="/long"))
        wait_until(lambda: bool(port.requests))
        wait_until(lambda: port.connections == 0)
    assert port.answers()


def test_a_body_that_nobody_reads_is_not_waited_for(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.3)
    with port.connection() as client:
        client.sendall(head("Content-Length: 1000000000000000", method="GET"))
        assert status(client) == 200
        drip(client, b"x" * 1000)
        assert closed(client)
    assert port.refused == {}


def test_a_body_that_nobody_reads_and_that_ends_soon(port: Port) -> None:
    """The answer comes before the body; then the connection is as good as before."""
    with port.connection() as client:
        for _ in range(3):
            client.sendall(head("Content-Length: 200000", method="GET"))
            assert status(client) == 200
            client.sendall(b"x" * 200_000)
    assert len(port.requests) == 3


def test_who_waits_to_send_a_body_that_nobody_reads_sends_none(port: Port) -> None:
    """Whether the client sends it now, or another request instead, cannot be told: the connection ends."""
    with port.connection() as client:
        client.sendall(head("Content-Length: 5", "Expect: 100-continue", method="GET"))
        assert status(client) == 200
        client.sendall(FOLLOWING)
        assert closed(client)
    assert [request["path"] for request in port.requests] == ["/"]


# --- floods ----------------------------------------------------------------------------------------------------------


def test_a_head_that_is_too_large(port: Port) -> None:
    with port.connection() as client:
        client.sendall(GET[:-2] + b"X: ")
        drip(client, b"y" * 4096)
        assert closed(client)
    assert port.refused == {"head_too_large": 1}
    assert port.answers()


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-{number}: {'y' * 900}" for number in range(100)],
        [f"X-{number}:" for number in range(protocol.MAX_HEADERS + 1)],
        [f"X: {'y' * protocol.MAX_HEAD_BYTES}"],
    ],
    ids=["bytes", "headers", "one header"],
)
def test_a_head_that_is_too_large_and_comes_in_one_piece(port: Port, lines: list[str]) -> None:
    with port.connection() as client:
        client.sendall(head(*lines, method="GET"))
        status(client)
        assert closed(client)
    assert port.refused == {"head_too_large": 1}
    assert port.requests == []
    assert port.answers()


def test_the_largest_head_allowed(port: Port) -> None:
    lines = [f"X-{number}: {'y' * 480}" for number in range(protocol.MAX_HEADERS - 1)]
    with port.connection() as client:
        client.sendall(head(*lines, method="GET"))
        assert status(client) == 200


@pytest.mark.parametrize("seed", range(8))
def test_a_body_is_the_same_however_it_is_cut(port: Port, seed: int) -> None:
    """By the sender into chunks, and by the network into pieces."""
    random = Random(seed)
    body = random.randbytes(300_000)
    cuts = sorted(random.choices(range(1, len(body)), k=random.choice([1, 40, 2000])))
    parts = [part for part in map(body.__getitem__, map(slice, [0, *cuts], [*cuts, None])) if part]
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    with port.connection() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, pieces, end in (
            (head(f"Content-Length: {len(body)}"), parts, b""),
            (head("Transfer-Encoding: chunked"), chunks, b"0\r\n\r\n"),
            (head("Transfer-Encoding: chunked"), [b"".join(chunks)], b"0\r\n\r\n"),
        ):
            for piece in (start, *pieces, end):
                client.sendall(piece)
            assert status(client) == 200
    assert [request["body"] == body for request in port.requests] == [True] * 3


@pytest.mark.parametrize(("chunk_bytes", "answer"), [(1, 400), (26, 200)])
def test_a_body_in_countless_chunks_is_refused(port: Port, chunk_bytes: int, answer: int) -> None:
    """Each takes a call, however little it holds."""
    chunk = b"%x\r\n%b\r\n" % (chunk_bytes, b"x" * chunk_bytes)
    with port.connection() as client:
        client.sendall(head("Transfer-Encoding: chunked") + chunk * 60_000 + b"0\r\n\r\n")
        assert status(client) == answer
    assert port.answers()


@pytest.mark.parametrize("endless", [b"1\r\nx\r\n0\r\nX: ", b"1;", b"1\r\nx\r\n0\r\nX"])
def test_what_frames_a_body_does_not_go_on_for_ever(port: Port, endless: bytes) -> None:
    """A trailer or an extension that never ends: the parser holds all of it."""
    with port.connection() as client:
        client.sendall(head("Transfer-Encoding: chunked") + endless)
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                client.sendall(b"y" * 2**16)
        assert closed(client)
    wait_until(lambda: port.refused["not_http"] == 1)
    assert port.answers()


def test_a_head_of_too_many_headers_is_refused_before_it_ends(port: Port) -> None:
    with port.connection() as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (protocol.MAX_HEADERS + 2))
        assert status(client) == 400
    assert port.refused == {"head_too_large": 1}


def test_a_head_that_begins_in_the_piece_of_a_large_body_is_no_large_head(port: Port) -> None:
    for _ in range(20):
        with port.connection() as client:
            client.sendall(post(bytes(100_000)) + GET[:10])
            assert status(client) == 200
            client.sendall(GET[10:])
            assert status(client) == 200
    assert port.refused == {}


def test_a_head_that_is_cut_off_is_counted(port: Port) -> None:
    with port.connection() as client:
        client.sendall(GET[:10])
    wait_until(lambda: port.refused == {"disconnected": 1})
    with port.connection() as client:
        client.sendall(GET)
        assert status(client) == 200
    wait_until(lambda: port.connections == 0)
    assert port.refused == {"disconnected": 1}


def test_requests_that_do_not_wait_for_answers_are_bounded(port: Port) -> None:
    """14,000 requests fit into the 256 KiB that are read at once, and each would be held as some KiB of objects."""
    with port.connection() as client:
        client.sendall(b"GET /n HTTP/1.1\r\n\r\n" * 10_000)
        wait_until(lambda: port.refused == {"too_many_pipelined": 1})
        wait_until(lambda: port.connections == 0)
    assert len(port.requests) <= protocol.MAX_PIPELINED + 1
    assert port.answers()


def test_some_requests_may_come_before_their_answers(port: Port) -> None:
    with port.connection() as client:
        client.sendall(GET * protocol.MAX_PIPELINED)
        answers = b""
        while answers.count(b" 200 ") < protocol.MAX_PIPELINED:
            answers += client.recv(65536)
    assert port.refused == {}


def test_the_longest_idle_connection_gives_way() -> None:
    with Port(max_connections=3) as port, contextlib.ExitStack() as stack:
        busy = stack.enter_context(port.connection())
        busy.sendall(post()[:-1])  # the oldest, in the middle of a body
        wait_until(lambda: port.connections == 1)
        first, second = (stack.enter_context(port.connection()) for _ in range(2))
        for client in (first, second):
            client.sendall(GET)
            assert status(client) == 200
            time.sleep(0.01)  # the loop's clock counts milliseconds
        third = stack.enter_context(port.connection())
        assert closed(first)
        assert port.refused == {"too_many_connections": 1}
        for client in (second, third):
            client.sendall(GET)
            assert status(client) == 200
        busy.sendall(b"}")
        assert status(busy) == 200


def test_the_oldest_half_head_gives_way_where_none_is_idle() -> None:
    with Port(max_connections=2) as port, contextlib.ExitStack() as stack:
        half = [port.wait_past_moment(stack, GET[:-2]) for _ in range(2)]
        newest = stack.enter_context(port.connection())
        newest.sendall(GET)
        assert status(newest) == 200
        assert closed(half[0])
        assert port.refused == {"too_many_connections": 1}
        half[1].sendall(GET[-2:])
        assert status(half[1]) == 200


def test_who_has_said_nothing_yet_gives_way_after_those_who_have_held_a_half_head_for_longer() -> None:
    """A probe whose head is on its way, on a machine too busy to send it at once."""
    with Port(max_connections=2) as port, contextlib.ExitStack() as stack:
        half = port.wait_past_moment(stack, GET[:-2])
        silent = port.wait_past_moment(stack, b"")
        newest = stack.enter_context(port.connection())
        assert closed(half)
        for client in (silent, newest):
            client.sendall(GET)
            assert status(client) == 200
        assert port.refused == {"too_many_connections": 1}


def test_the_oldest_answer_that_is_not_read_gives_way_where_nobody_is_idle_or_in_a_head() -> None:
    with Port(max_connections=2) as port, contextlib.ExitStack() as stack:
        for number in (1, 2):
            client = stack.enter_context(port.connection())
            client.sendall(head(method="GET", path="/long") * 3)
            wait_until(lambda expected=number: port.unread == expected)  # type: ignore[misc]
        for _ in range(3):
            newest = stack.enter_context(port.connection())
            newest.sendall(GET)
            assert status(newest) == 200
        wait_until(lambda: port.connections == 2)


def test_a_connection_that_is_closed_once_its_answer_is_read_keeps_nobody_out() -> None:
    with Port(max_connections=2) as port, contextlib.ExitStack() as stack:
        for number in (1, 2):
            client = stack.enter_context(port.connection())
            client.sendall(head("Connection: close", method="GET", path="/long"))
            wait_until(lambda expected=number: port.unread == expected)  # type: ignore[misc]
        for _ in range(3):
            newest = stack.enter_context(port.connection())
            newest.sendall(GET)
            assert status(newest) == 200


def test_at_twice_the_places_the_oldest_gives_way_whatever_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not who has just come, as a probe has, though it has said nothing yet."""
    monkeypatch.setattr(server, "MOMENT_SECONDS", 60.0)
    with Port(max_connections=2) as port, contextlib.ExitStack() as stack:
        oldest, *others = (stack.enter_context(port.connection()) for _ in range(3))
        for client in (oldest, *others):
            client.sendall(GET)
            assert status(client) == 200
            time.sleep(0.01)  # the loop's clock counts milliseconds
        silent = stack.enter_context(port.connection())
        wait_until(lambda: port.connections == 4)
        newest = stack.enter_context(port.connection())
        assert closed(oldest)
        for client in (silent, newest, *others):
            client.sendall(GET)
            assert status(client) == 200


A_BYTE_SHORT = head("Content-Length: 1", method="GET")


@pytest.mark.parametrize(
    ("begin", "again"),
    [(GET * 40, GET), ((A_BYTE_SHORT + b"x") * 39 + A_BYTE_SHORT, b"x" + A_BYTE_SHORT)],
    ids=["whole", "the last a byte short"],
)
def test_whoever_asks_without_a_pause_keeps_nobody_out(begin: bytes, again: bytes) -> None:
    """Each has forty requests on their way all the while, and is told all it asks for."""
    over = threading.Event()

    def ask(port: Port) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), port.connection() as client:
                client.sendall(begin)
                answers = b""
                while not over.is_set() and (piece := client.recv(65536)):
                    answers += piece
                    answered = answers.count(b"HTTP/1.1 200")
                    client.sendall(again * answered)
                    answers = answers[-11:] if answered else answers

    with Port(max_connections=4) as port, ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask, port) for _ in range(4)]
        wait_until(lambda: len(port.requests) > 400)
        assert [port.answers() for _ in range(20)] == [True] * 20
        over.set()
        for each in asking:
            each.result()


def test_those_that_come_at_once_are_read_and_answered_before_one_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepted in one go, and idle as soon as they are answered: as many again as there may be."""
    for _ in range(5):
        monkeypatch.setattr(server, "MOMENT_SECONDS", 60.0)
        with Port(max_connections=4) as port, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(port.connection()) for _ in range(8)]
            wait_until(lambda: port.connections == 8)  # one that comes while all others are being answered is refused
            for client in clients:
                client.sendall(GET)
            assert [status(client) for client in clients] == [200] * 8
            monkeypatch.setattr(server, "MOMENT_SECONDS", 0.0)
            wait_until(lambda: port.connections == 4)


def test_the_newest_connection_goes_where_all_others_have_a_request_in_progress() -> None:
    with Port(max_connections=2) as port, contextlib.ExitStack() as stack:
        for number in (1, 2):
            client = stack.enter_context(port.connection())
            client.sendall(post()[:-1])
            wait_until(lambda expected=number: port.busy == expected)  # type: ignore[misc]
        newest = stack.enter_context(port.connection())
        assert closed(newest)
        wait_until(lambda: port.refused == {"too_many_connections": 1})


def test_whoever_holds_half_heads_again_and_again_keeps_nobody_out() -> None:
    over = threading.Event()

    def hold(port: Port) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), port.connection() as client:
                client.sendall(GET[:-2])
                client.recv(1)

    with ThreadPoolExecutor(12) as pool, Port(max_connections=8) as port:
        try:
            for _ in range(12):
                pool.submit(hold, port)
            wait_until(lambda: port.refused["too_many_connections"] > 100)
            assert all(port.answers() for _ in range(20))
        finally:
            over.set()


def test_a_flood_of_connections_leaves_the_port_answering() -> None:
    with Port(max_connections=8) as port, contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(port.connection())
        wait_until(lambda: port.refused["too_many_connections"] == 92)
        assert port.answers()


# --- logs ------------------------------------------------------------------------------------------------------------


def test_nothing_is_logged_of_what_is_refused(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    for garbage in (b"\x00\x01", head("Content-Length: x"), head("Upgrade: x", "Connection: upgrade", method="GET")):
        with port.connection() as client:
            client.sendall(garbage)
            status(client)
    with port.connection() as client:  # which goes while its first answer is written and others wait
        client.sendall(head(method="GET", path="/long") * 3)
        wait_until(lambda: port.unread == 1)
    wait_until(lambda: port.connections == 0)
    assert caplog.text == ""
