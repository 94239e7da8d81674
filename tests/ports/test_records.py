"""Records of TLS that cost more than they say, and those of honest clients."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from robmon.ports import tls
from robmon.ports.protocol import BoundedHttpProtocol
from robmon.ports.records import MAX_TURN_BYTES, SILENT_RECORDS
from tests.certificates import Authority, Certificate
from tests.patience import PATIENCE_SECONDS
from tests.ports.conftest import Port, status
from tests.ports.test_tls import GET, access
from tests.servers import wait_until
from tests.tls_records import Records, pieces, send_as_it_is, shaken_hands

ALWAYS_LET_PASS = SILENT_RECORDS - 8
"""Without the records of a handshake."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Authority(tmp_path_factory.mktemp("authority")).sign("server")


@pytest.fixture
def port(certificate: Certificate) -> Iterator[Port]:
    with Port(access=access(certificate)) as served:
        yield served


@contextlib.contextmanager
def by_hand(port: Port) -> Iterator[tuple[ssl.SSLSocket, Records]]:
    with port.connection() as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped, records = shaken_hands(plain)
        with wrapped:
            yield wrapped, records


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("key updates", 2 * SILENT_RECORDS),
        ("key updates that ask for replies", 2 * SILENT_RECORDS),
        ("one byte", 8 * SILENT_RECORDS),
        ("empty", 100),
    ],
)
def test_who_says_nothing_in_many_records_is_ended(kind: str, count: int, port: Port) -> None:
    with by_hand(port) as (client, records):
        with contextlib.suppress(OSError):
            send_as_it_is(client, b"".join(itertools.islice(pieces(kind, records), count)))
        wait_until(lambda: port.connections == 0)
    assert port.refused == ({} if kind == "empty" else {"not_http": 1})  # OpenSSL itself bears no empty records
    with by_hand(port) as (client, records):
        send_as_it_is(client, records.record(GET))
        assert status(client) == 200


def test_pieces_of_records_are_counted_as_records(port: Port) -> None:
    """However they are cut: here headers come in two or three pieces."""
    with by_hand(port) as (client, records):
        sent = b"".join(records.key_update(False) for _ in range(ALWAYS_LET_PASS))
        for at in range(0, len(sent), 13):
            send_as_it_is(client, sent[at : at + 13])
        send_as_it_is(client, records.record(b"GET / HTTP/1.1\r\n"))
        send_as_it_is(client, b"".join(records.key_update(False) for _ in range(12)))  # the line made up for as many
        send_as_it_is(client, records.record(b"Host: x\r\n\r\n"))
        assert status(client) == 200
    assert port.refused == {}


def test_keys_that_change_with_every_request(port: Port) -> None:
    """Four times as often as a client may that says nothing; each asks for a reply, which has to come."""
    with by_hand(port) as (client, records):
        for _ in range(4 * SILENT_RECORDS):
            send_as_it_is(client, records.key_update(True) + records.record(GET))
            assert status(client) == 200
    assert port.refused == {}


def test_a_request_that_comes_byte_by_byte(port: Port) -> None:
    request = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 600)
    with by_hand(port) as (client, records):
        send_as_it_is(client, b"".join(records.record(bytes([byte])) for byte in request))
        assert status(client) == 200
    assert port.refused == {}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bodies_in_records_of_any_size(version: ssl.TLSVersion, port: Port) -> None:
    """Small and large ones in turn, on one connection: nothing is lost, doubled or refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    chosen = random.Random(1)
    with port.connection() as plain, context.wrap_socket(plain) as client:
        for most in (2, 40, 3000, 40_000, 2, 300_000):
            body = chosen.randbytes(min(300 * most, 2**21))
            client.sendall(post(len(body)))
            at = 0
            while at < len(body):
                size = chosen.randint((most + 1) // 2 if most > 2 else 2, most)
                client.sendall(body[at : at + size])
                at += size
            assert status(client) == 200
            assert port.requests[-1]["body"] == body
    wait_until(lambda: port.connections == 0)
    assert port.refused == {}


def test_how_much_is_decrypted_in_a_turn_of_the_loop(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of megabytes that have come while the loop was busy."""
    turn, heard, free = itertools.count(), list[tuple[int, int]](), threading.Event()
    now = 0

    class Protocol(BoundedHttpProtocol):
        def data_received(self, data: bytes) -> None:
            heard.append((now, len(data)))
            super().data_received(data)

    def next_turn() -> None:
        nonlocal now
        now = next(turn)
        assert port.loop is not None
        if not port.server.should_exit:
            port.loop.call_later(0, next_turn)

    monkeypatch.setattr(tls, "BoundedHttpProtocol", Protocol)
    with by_hand(port) as (client, records):
        send_as_it_is(client, records.record(GET))
        assert status(client) == 200
        loop: Any = port.loop
        loop.call_soon_threadsafe(next_turn)
        loop.call_soon_threadsafe(free.wait)
        body = bytes(2**14)
        sent = b"".join(records.record(part) for part in (post(64 * len(body)), *[body] * 64))
        client.setblocking(False)
        sender = threading.Thread(target=send_as_it_is, args=(client, sent))
        sender.start()
        sender.join(0.2)  # as much as the kernel holds
        heard.clear()
        free.set()
        sender.join()
        wait_until(lambda: sum(size for _, size in heard) >= 64 * len(body))
        client.settimeout(PATIENCE_SECONDS)
        assert status(client) == 200
    by_turn = [sum(size for _, size in group) for _, group in itertools.groupby(heard, key=lambda each: each[0])]
    assert max(by_turn) <= MAX_TURN_BYTES + len(body), "and what was left of the record before"
