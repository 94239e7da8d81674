"""No client can hold a connection, memory or the log for longer than it should."""

from __future__ import annotations

import socket

import pytest

from tests.ports.conftest import Port, closed, status, wait_until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def head(*headers: str, method: str = "POST", path: str = "/") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def post(body: bytes = b"{}", *headers: str) -> bytes:
    return head(f"Content-Length: {len(body)}", *headers) + body


# --- what is no request ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
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
    ],
)
def test_what_is_no_http(port: Port, garbage: bytes) -> None:
    with port.connection() as client:
        client.sendall(garbage)
        assert status(client) == 400
        assert closed(client)
    assert port.refused == {"not_http": 1}
    assert port.requests == []
    assert port.answers()


@pytest.mark.parametrize(
    "smuggled",
    [
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
    ],
)
def test_a_request_of_which_two_ends_can_be_read_is_refused(port: Port, smuggled: bytes) -> None:
    """A proxy in front may have read another end; what follows must not become a request of its own."""
    with port.connection() as client:
        client.sendall(smuggled + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        status(client)
        wait_until(lambda: port.connections == 0)
    assert "/smuggled" not in [request["path"] for request in port.requests]
