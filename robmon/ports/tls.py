"""TLS of a port: the context of its connections, and the handshake before the first byte of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Final

from robmon.errors import SettingsError
from robmon.ports.connections import Port
from robmon.ports.protocol import BoundedHttpProtocol
from robmon.ports.secret_files import SecretFiles

HANDSHAKE_SECONDS: Final = 10.0
SHUTDOWN_SECONDS: Final = 2.0
ACCEPT_AGAIN_SECONDS: Final = 0.1


def server_context(files: Mapping[str, Path], _contents: list[bytes]) -> ssl.SSLContext:
    """A context of the files of `tls_cert_file`, `tls_key_file` and, where clients need a certificate too, their CA.

    TLS 1.2 is the oldest version spoken.

    Raises:
        SettingsError: the certificate is not the key's, or a file is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
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


async def accept(server: Port, listener: socket.socket, files: SecretFiles[ssl.SSLContext]) -> None:
    """Accept connections until cancelled, and shake hands on each.

    asyncio's own TLS servers do not: they tell nobody of a handshake that fails, and count no connection before it has
    succeeded.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            connected, _ = await loop.sock_accept(listener)
        except OSError:  # too many open files, or a client that has gone again
            await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
            continue
        if server.admit():
            Handshake(server, connected, files.value)
        else:
            server.refuse("too_many_connections")
            connected.close()


class Handshake:
    """A connection on which TLS is not spoken yet; when it is, a `BoundedHttpProtocol` takes its place."""

    idle_since = unread_since = answering_since = inf

    def __init__(self, server: Port, connected: socket.socket, context: ssl.SSLContext) -> None:
        self._server = server
        self._connected = connected
        self.unfinished_since = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._shake_hands(context))
        server.connections.add(self)
        server.server_state.tasks.add(self._task)
        self._task.add_done_callback(self._over)

    def check(self, now: float) -> None:
        """asyncio itself ends a handshake that takes too long."""

    def refuse(self, reason: str) -> None:
        """Count the reason and end the connection."""
        self._server.refuse(reason)
        self._task.cancel()

    def shutdown(self) -> None:
        """The server ends."""
        self._task.cancel()

    async def _shake_hands(self, context: ssl.SSLContext) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: BoundedHttpProtocol(self._server, admitted=True),
                self._connected,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:
            self._server.refuse("not_http" if getattr(error, "reason", "") == "HTTP_REQUEST" else "tls_handshake")

    def _over(self, task: asyncio.Task[None]) -> None:
        self._server.connections.discard(self)
        self._server.server_state.tasks.discard(task)
        if task.cancelled():
            self._connected.close()  # it may not have been given to asyncio yet
