"""A client of TLS 1.3 that makes its records by hand, so that it can send what no library sends."""

from __future__ import annotations

import contextlib
import hmac
import os
import select
import socket
import ssl
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.patience import PATIENCE_SECONDS

CIPHER, HASH, KEY_BYTES = "TLS_AES_256_GCM_SHA384", "sha384", 32
HANDSHAKE, APPLICATION_DATA = 22, 23
KEY_UPDATE = b"\x18\x00\x00\x01"


class Records:
    """What a client sends once hands are shaken: sections 4.6.3, 5.2 and 7 of RFC 8446."""

    def __init__(self, secret: bytes) -> None:
        """Begin with the client's first traffic secret."""
        self._use(secret)

    def record(self, content: bytes, kind: int = APPLICATION_DATA, padding: int = 0) -> bytes:
        """One record, whose content may be empty."""
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + struct.pack(">H", len(inner) + 16)
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def key_update(self, asks_for_reply: bool) -> bytes:
        """One record that changes the keys: all that follow are made with the next ones."""
        record = self.record(KEY_UPDATE + bytes([asks_for_reply]), HANDSHAKE)
        self._use(_expanded(self._secret, b"traffic upd", len(self._secret)))
        return record

    def _use(self, secret: bytes) -> None:
        self._secret, self._number = secret, 0
        self._cipher = AESGCM(_expanded(secret, b"key", KEY_BYTES))
        self._iv = int.from_bytes(_expanded(secret, b"iv", 12), "big")


def _expanded(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label without a context, of no more than a digest."""
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\x00"
    return hmac.digest(secret, info + b"\x01", HASH)[:size]


def shaken_hands(plain: socket.socket) -> tuple[ssl.SSLSocket, Records]:
    """TLS 1.3 with whoever answers: the socket, to read from, and what makes the records that are sent beside it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        context.keylog_filename = str(keys)
        wrapped = context.wrap_socket(plain, server_hostname="robmon")
        cipher = wrapped.cipher()
        assert cipher is not None and cipher[0] == CIPHER
        lines = [line.split() for line in keys.read_text().splitlines()]
    return wrapped, Records(bytes.fromhex(next(line[2] for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0")))


def send_as_it_is(wrapped: ssl.SSLSocket, data: bytes) -> None:
    """Records that are made already, below TLS; as much as the other side takes within 20 seconds.

    Raises:
        OSError: the other side has ended the connection.
    """
    left = memoryview(data)
    while left:
        if not select.select([], [wrapped], [], 20)[1]:
            raise TimeoutError
        left = left[os.write(wrapped.fileno(), left) :]


def hello() -> bytes:
    """A client's first message, whole."""
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="robmon").do_handshake()
    return outgoing.read()


BEGINNING = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


def pieces(kind: str, records: Records) -> Iterator[bytes]:
    """A flood without end of such records, with which a request that is begun never ends."""
    yield records.record(BEGINNING)
    while True:
        match kind:
            case "key updates":
                yield records.key_update(False)
            case "key updates that ask for replies":
                yield records.key_update(True)
            case "one byte":
                yield records.record(b"x")
            case "empty":
                yield records.record(b"")
            case "one byte and a key update":
                yield records.record(b"x") + records.key_update(True)


def flood(port: int, kind: str) -> None:
    """Send such records to a port without end, on the next connection whenever it is ended."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 20) as plain:
            wrapped, records = shaken_hands(plain)
            piece = pieces(kind, records)
            while True:
                send_as_it_is(wrapped, b"".join(next(piece) for _ in range(64)))


def flood_with_handshakes(port: int, is_answered: bool) -> None:
    """Say hello without end, each time on a connection of its own that is reset, at once or when it is answered."""
    said = hello()
    while True:
        with contextlib.suppress(OSError), socket.socket() as plain:
            plain.settimeout(PATIENCE_SECONDS)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plain.connect(("127.0.0.1", port))
            plain.sendall(said)
            if is_answered:
                plain.recv(1)


if __name__ == "__main__":
    if sys.argv[2].startswith("hello"):
        flood_with_handshakes(int(sys.argv[1]), is_answered=sys.argv[2].endswith("answer"))
    flood(int(sys.argv[1]), sys.argv[2])
