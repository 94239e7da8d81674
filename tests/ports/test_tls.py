"""TLS as real clients see it."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from robmon.errors import SettingsError
from robmon.ports import server, tls
from robmon.ports.access import Access
from robmon.ports.protocol import BoundedHttpProtocol
from robmon.ports.server import MOMENT_SECONDS
from robmon.settings import InputsSettings
from tests.certificates import Authority, Certificate
from tests.patience import PATIENCE_SECONDS
from tests.ports.conftest import Port, closed, reset_on_close, status
from tests.servers import wait_until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.sign("server")


def access(certificate: Certificate, client_ca: Path | None = None) -> Access:
    settings = InputsSettings(
        tls_cert_file=certificate.cert, tls_key_file=certificate.key, tls_client_ca_file=client_ca
    )
    return Access("inputs", settings)


@pytest.fixture
def port(certificate: Certificate) -> Iterator[Port]:
    with Port(access=access(certificate), max_connections=8) as served:
        yield served


@contextlib.contextmanager
def secure(port: Port, authority: Authority, client: Certificate | None = None) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(authority.ca))
    if client is not None:
        context.load_cert_chain(client.cert, client.key)
    with port.connection() as plain, context.wrap_socket(plain, server_hostname="robmon") as wrapped:
        yield wrapped


def test_requests_over_tls(port: Port, authority: Authority) -> None:
    with secure(port, authority) as client:
        assert client.version() == "TLSv1.3"
        for body in (b"{}", b"x" * 300_000):
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert status(client) == 200
            assert port.requests[-1] == {"path": "/", "body": body, "scheme": "https"}
    wait_until(lambda: port.connections == 0)
    assert port.refused == {}


def test_a_request_that_comes_with_the_last_message_of_the_handshake(port: Port, authority: Authority) -> None:
    """OpenSSL's own client, fed from the start, sends both in one piece."""
    host, number = port.address
    command = ["openssl", "s_client", "-connect", f"{host}:{number}", "-CAfile", str(authority.ca), "-quiet"]
    for version in ("-tls1_2", "-tls1_3"):
        request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        done = subprocess.run(
            [*command, version], input=request, capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.stdout.endswith(b"ok"), done.stderr


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_no_version_older_than_1_2(port: Port, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else this client would not even try
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with port.connection() as plain, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(plain, server_hostname="robmon")
    wait_until(lambda: port.refused == {"tls_handshake": 1})


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (GET, "not_http"),
        (b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "not_http"),
        (b"\x00\x01\x02\x03" * 100, "tls_handshake"),
        (b"\x16\x03\x01\x00\x05hello", "tls_handshake"),
        (b"", "tls_handshake"),
    ],
    ids=["GET", "POST", "garbage", "broken hello", "nothing"],
)
def test_what_is_no_tls(port: Port, sent: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    with port.connection() as client:
        client.sendall(sent)
        with contextlib.suppress(OSError):  # it may have been refused already
            client.shutdown(socket.SHUT_WR)
        wait_until(lambda: port.refused == {reason: 1})
        wait_until(lambda: port.connections == 0)
    assert port.requests == []
    assert caplog.text == ""


def test_a_handshake_that_never_ends(port: Port, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.3)
    with port.connection() as silent, port.connection() as half:
        half.sendall(HALF_HELLO)
        assert closed(silent) and closed(half)
    wait_until(lambda: port.refused == {"tls_handshake": 2})
    with secure(port, authority) as client:
        client.sendall(GET)
        assert status(client) == 200


def test_handshakes_are_connections_that_count(port: Port) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(port.connection()) for _ in range(8)]
        wait_until(lambda: port.connections == 8)
        time.sleep(1.1 * MOMENT_SECONDS)  # what has just come does not give way
        stack.enter_context(port.connection())
        assert closed(clients[0]), "the oldest handshake gives way"
        wait_until(lambda: port.refused["too_many_connections"] == 1)


def test_half_a_hello_gives_way_before_a_handshake(
    port: Port, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although it is newer: a client that means it says hello at once and in one piece."""
    monkeypatch.setattr(server, "MOMENT_SECONDS", 60.0)
    context = ssl.create_default_context(cafile=str(authority.ca))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = context.wrap_bio(incoming, outgoing, server_hostname="robmon")
    with port.connection() as plain, contextlib.ExitStack() as stack:
        with pytest.raises(ssl.SSLWantReadError):
            wrapped.do_handshake()
        hello = outgoing.read()
        for piece in (hello[:3], hello[3:100], hello[100:]):
            plain.sendall(piece)
            time.sleep(0.01)
        incoming.write(plain.recv(65536))
        for _ in range(40):
            stack.enter_context(port.connection()).sendall(HALF_HELLO)
        wait_until(lambda: port.refused["too_many_connections"] == 25)
        while wrapped.version() is None or outgoing.pending:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                incoming.write(plain.recv(65536))
            plain.sendall(outgoing.read())
        wrapped.write(GET)
        plain.sendall(outgoing.read())
        wait_until(lambda: len(port.requests) == 1)


@pytest.mark.parametrize("resets", [False, True])
def test_no_handshake_is_begun_before_a_whole_hello(
    resets: bool, port: Port, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    class Protocol(BoundedHttpProtocol):
        def __init__(self, *args: Any, **options: Any) -> None:
            begun.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(tls, "BoundedHttpProtocol", Protocol)
    for _ in range(20):
        with port.connection() as client:
            client.sendall(HALF_HELLO)
            if resets:
                reset_on_close(client)
    wait_until(lambda: port.refused["tls_handshake"] == 20)
    assert begun == []
    with secure(port, authority) as client:
        client.sendall(GET)
        assert status(client) == 200
    assert len(begun) == 1


def test_many_that_have_gone_are_taken_in_one_turn_of_the_loop(port: Port, authority: Authority) -> None:
    with secure(port, authority) as client:
        client.sendall(GET)
        assert status(client) == 200
    loop, free, turns = port.loop, threading.Event(), itertools.count()
    assert loop is not None

    def turn() -> None:
        next(turns)
        if port.refused.total() < 100:
            loop.call_later(0, turn)

    loop.call_soon_threadsafe(free.wait)
    loop.call_soon_threadsafe(turn)
    for _ in range(100):
        with port.connection():
            pass
    free.set()
    wait_until(lambda: port.refused == {"tls_handshake": 100})
    assert next(turns) < 50


@pytest.mark.parametrize("over_tls", [True, False])
def test_whoever_resets_without_a_word_is_never_accepted(over_tls: bool, certificate: Certificate) -> None:
    with Port(access=access(certificate) if over_tls else None) as port:
        admit, asked = port.server.admit, []
        port.server.admit = lambda: asked.append(1) or admit()  # type: ignore[method-assign, func-returns-value]

        def accepted() -> int:
            """Of 200 clients that reset and one that asks."""
            asked.clear()
            for _ in range(200):
                with port.connection() as client:
                    reset_on_close(client)
            with port.connection() as client:
                client.sendall(GET)
                closed(client)
            return len(asked)

        # The kernel gives up waiting for a word after a second, which those of a busy machine may take to reset: of
        # several rounds one is quick. A port that accepts whoever connects has 201 in each.
        assert any(0 < accepted() < 20 for _ in range(10))


def test_a_client_cannot_renegotiate(port: Port, authority: Authority) -> None:
    """Each time costs the server a signature."""
    host, number = port.address
    command = ["openssl", "s_client", "-connect", f"{host}:{number}", "-CAfile", str(authority.ca), "-tls1_2"]
    done = subprocess.run(command, input=b"R\n", capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert b"RENEGOTIATING" in done.stderr and b"no renegotiation" in done.stderr
    wait_until(lambda: port.connections == 0)


def test_the_end_of_the_server_waits_for_no_handshake(certificate: Certificate) -> None:
    with contextlib.ExitStack() as stack:
        with Port(access=access(certificate)) as port:
            client = stack.enter_context(port.connection())
            wait_until(lambda: port.connections == 1)
        assert closed(client)


def test_clients_need_a_certificate_where_a_ca_of_theirs_is_named(authority: Authority, tmp_path: Path) -> None:
    clients = Authority(tmp_path, "clients")
    right, wrong = clients.sign("mirror"), Authority(tmp_path, "others").sign("stranger")
    with Port(access=access(authority.sign("mutual"), clients.ca)) as port:
        with secure(port, authority, right) as client:
            client.sendall(GET)
            assert status(client) == 200
        for certificate in (None, wrong):
            with pytest.raises((ssl.SSLError, OSError)), secure(port, authority, certificate) as client:
                client.sendall(GET)  # TLS 1.3: the client learns of the refusal only after its own last message
                if not client.recv(1):
                    raise ConnectionResetError
        wait_until(lambda: port.refused == {"tls_handshake": 2})


def test_a_certificate_that_is_replaced(authority: Authority, tmp_path: Path) -> None:
    """As Kubernetes does it: a link to a folder is moved, so that all files change at once."""
    first, second = tmp_path / "first", tmp_path / "second"
    link, files = tmp_path / "now", Certificate(tmp_path / "now" / "tls.crt", tmp_path / "now" / "tls.key")
    for folder in (first, second):
        folder.mkdir()
        signed = authority.sign(folder.name)
        signed.cert.rename(folder / "tls.crt")
        signed.key.rename(folder / "tls.key")
    link.symlink_to(first)
    held = access(files)

    def served() -> bytes | None:
        with secure(port, authority) as client:
            return client.getpeercert(binary_form=True)

    with Port(access=held) as port, capture_logs() as lines:
        before = served()
        with secure(port, authority) as old:
            held.renew()
            assert lines == []
            link.unlink()
            link.symlink_to(second)
            held.renew()
            assert [line["event"] for line in lines] == ["certificate replaced"]
            assert served() != before
            old.sendall(GET)
            assert status(old) == 200, "a connection that is open stays"

            link.unlink()
            for _ in range(3):
                held.renew()
            assert [line["log_level"] for line in lines] == ["info", "error"], "told once"
            assert "cannot be read" in lines[-1]["error"]
            assert served() != before, "the last good one stays"
            link.symlink_to(first)
            held.renew()
            assert served() == before


def test_bad_files_are_told_in_one_sentence(authority: Authority, certificate: Certificate, tmp_path: Path) -> None:
    locked, other = authority.sign("locked", passphrase=b"sesame"), authority.sign("other")
    text = tmp_path / "text"
    text.write_text("hello")
    for cert, key, client_ca, words in (
        (tmp_path / "none", certificate.key, None, ["tls_cert_file", "none", "cannot be read", "No such file"]),
        (certificate.cert, tmp_path, None, ["tls_key_file", "cannot be read", "directory"]),
        (certificate.cert, other.key, None, ["tls_cert_file", "tls_key_file", "the key is not the certificate's"]),
        (text, certificate.key, None, ["tls_cert_file", "PEM"]),
        (certificate.cert, text, None, ["tls_key_file", "PEM"]),
        (locked.cert, locked.key, None, ["tls_key_file", "without a passphrase"]),
        (certificate.cert, certificate.key, text, ["tls_client_ca_file", "PEM"]),
    ):
        with pytest.raises(SettingsError) as caught:
            access(Certificate(cert, key), client_ca)
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message
        assert ("passphrase" in message) == (key in (text, locked.key) or cert == text)
        assert "sesame" not in message and "hello" not in message


def test_http_client_of_the_standard_library(port: Port, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    with contextlib.closing(http.client.HTTPSConnection(*port.address, context=context)) as client:
        for _ in range(3):
            client.request("GET", "/long")
            assert len(client.getresponse().read()) == 2**24
