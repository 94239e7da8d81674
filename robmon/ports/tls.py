"""TLS of a port: the context of its connections, and the handshake before the first byte of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Final

from robmon.errors import SettingsError
from robmon.ports.connections import Port
from robmon.ports.protocol import BoundedHttpProtocol
from robmon.ports.records import BoundedTls
from robmon.ports.secret_files import SecretFiles

HANDSHAKE_SECONDS: Final = 10.0
SHUTDOWN_SECONDS: Final = 2.0
ACCEPT_AGAIN_SECONDS: Final = 0.1
ACCEPT_SECONDS: Final = 0.005
"""Most time of the processor for accepting in one turn of the loop. Without a bound the turn would not end while a
flood lasts, because those who come meanwhile are taken as well; on a full port each costs more than elsewhere."""
HANDSHAKE_RECORD: Final = 22
RECORD_HEADER_BYTES: Final = 5
MAX_RECORD_BYTES: Final = 2**14
ESTABLISHED: Final = 1
"""State of a TCP connection that neither side has ended, in the first byte of the kernel's `TCP_INFO`."""


def server_context(files: Mapping[str, Path], _contents: list[bytes]) -> ssl.SSLContext:
    """A context of the files of `tls_cert_file`, `tls_key_file` and, where clients need a certificate too, their CA.

    TLS 1.2 is the oldest version spoken.

    Raises:
        SettingsError: the certificate is not the key's, or a file is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL 3 has it so already
    cert, key, *client_ca = files
    with _refused_as(files, [cert, key], "they must be PEM, and the key without a passphrase"):
        context.load_cert_chain(files[cert], files[key], password="")  # without any, OpenSSL would ask the terminal
    for ca in client_ca:
        with _refused_as(files, [ca], "it must be PEM"):
            context.load_verify_locations(files[ca])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextlib.contextmanager
def _refused_as(files: Mapping[str, Path], names: list[str], expected: str) -> Iterator[None]:
    """Tell what OpenSSL raises in the words of the settings that name the files."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        if isinstance(error, ssl.SSLError):
            why = "the key is not the certificate's" if error.reason == "KEY_VALUES_MISMATCH" else expected
        named = " with ".join(f"{name} = {str(files[name])!r}" for name in names)
        raise SettingsError(f"{named} cannot be used: {why}") from None


class Listener:
    """Accepts the connections of a port and shakes hands on each.

    asyncio's own TLS servers do not: they tell nobody of a handshake that fails, and count no connection before it has
    succeeded.
    """

    def __init__(self, server: Port, listening: socket.socket, files: SecretFiles[ssl.SSLContext]) -> None:
        self._server = server
        self._listening = listening
        self._files = files
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._start()

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._listening)
        if self._again is not None:
            self._again.cancel()

    def _start(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        """Take many: with one a turn, a probe waits behind hundreds that their clients have left long since."""
        try:
            until = time.thread_time() + ACCEPT_SECONDS
            while time.thread_time() < until:
                self._take(self._listening.accept()[0])
        except BlockingIOError:
            return
        except OSError:  # too many open files
            self.close()
            self._again = self._loop.call_later(ACCEPT_AGAIN_SECONDS, self._start)

    def _take(self, connected: socket.socket) -> None:
        if _is_over(connected):
            self._server.refuse(_reason(connected))
        elif self._server.admit():
            Handshake(self._server, connected, self._files)
            return
        else:
            self._server.refuse("too_many_connections")
        connected.close()


def _is_over(connected: socket.socket) -> bool:
    """Whether its client has reset or ended it: to learn that from OpenSSL costs ten times as much."""
    return connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED


def _said(connected: socket.socket, size: int) -> bytes:
    """What the client has said, up to that size, which whoever reads next reads again."""
    try:
        return connected.recv(size, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return b""


def _reason(connected: socket.socket) -> str:
    return "not_http" if _said(connected, RECORD_HEADER_BYTES)[:3].isalpha() else "tls_handshake"


class Handshake:
    """A connection on which TLS is not spoken yet; when it is, a `BoundedHttpProtocol` takes its place.

    OpenSSL is asked only when a whole hello has come: until then a connection costs next to nothing, and is the first
    to give way, because a client that means it says hello at once and in one piece.
    """

    idle_since = unread_since = answering_since = inf

    def __init__(self, server: Port, connected: socket.socket, files: SecretFiles[ssl.SSLContext]) -> None:
        self._server = server
        self._connected = connected
        self._files = files
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._beginning: asyncio.Handle | None = None
        self._task: asyncio.Task[None] | None = None
        connected.setblocking(False)
        server.connections.add(self)
        self._await(RECORD_HEADER_BYTES)
        self._loop.add_reader(connected, self._read)
        if len(_said(connected, RECORD_HEADER_BYTES)) == RECORD_HEADER_BYTES:
            self._read()  # at once: the next that is accepted may need its place

    @property
    def unfinished_since(self) -> float:
        """When it began, in the loop's time; a deadline earlier while its hello is not whole, so that it goes first."""
        return self._since if self._beginning is not None else self._since - HANDSHAKE_SECONDS

    def check(self, now: float) -> None:
        """End it if its client takes too long."""
        if now > self._since + HANDSHAKE_SECONDS:
            self.refuse("tls_handshake")

    def refuse(self, reason: str) -> None:
        """Count the reason and end the connection."""
        self._server.refuse(reason)
        self.shutdown()

    def shutdown(self) -> None:
        """The server ends."""
        if self._task is None:
            if self._beginning is not None:
                self._beginning.cancel()
            self._loop.remove_reader(self._connected)
            self._server.connections.discard(self)
            self._connected.close()
        else:
            self._task.cancel()

    def _await(self, size: int) -> None:
        """Be called when so many bytes have come, or no more will."""
        self._awaited_bytes = size
        self._connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _read(self) -> None:
        said = _said(self._connected, self._awaited_bytes)
        if len(said) < self._awaited_bytes or said[0] != HANDSHAKE_RECORD:
            self.refuse(_reason(self._connected))
            return
        size = RECORD_HEADER_BYTES + min(int.from_bytes(said[3:5], "big"), MAX_RECORD_BYTES)
        if self._awaited_bytes < size:
            self._await(size)
            if len(_said(self._connected, size)) < size:
                return
        self._loop.remove_reader(self._connected)
        self._await(1)
        self._beginning = self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._shake_hands())
        self._server.server_state.tasks.add(self._task)
        self._task.add_done_callback(self._over)

    async def _shake_hands(self) -> None:
        http = BoundedHttpProtocol(self._server, admitted=True)
        shaken: asyncio.Future[None] = self._loop.create_future()
        tls = BoundedTls(
            http,
            self._files.value,
            shaken,
            handshake_seconds=HANDSHAKE_SECONDS,
            shutdown_seconds=SHUTDOWN_SECONDS,
        )
        with contextlib.suppress(OSError):
            transport, _ = await self._loop.connect_accepted_socket(lambda: tls, self._connected)
            try:
                failures = await asyncio.gather(shaken, return_exceptions=True)
            finally:
                if http.transport is None:
                    transport.abort()
            for failure in filter(None, failures):
                failure.__traceback__ = None  # its frames hold it, and all of the connection
        if http.transport is None:
            self._server.refuse("tls_handshake")

    def _over(self, task: asyncio.Task[None]) -> None:
        self._server.connections.discard(self)
        self._server.server_state.tasks.discard(task)
        if task.cancelled():
            self._connected.close()  # it may not have been given to asyncio yet
