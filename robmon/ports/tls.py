"""TLS of a port: the context of its connections, and the handshake before the first byte of HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from robmon.errors import SettingsError
from robmon.ports.protocol import BoundedHttpProtocol

if TYPE_CHECKING:
    from robmon.ports.server import PortServer

HANDSHAKE_SECONDS: Final = 10.0
SHUTDOWN_SECONDS: Final = 2.0


def server_context(files: Mapping[str, Path], _contents: list[bytes]) -> ssl.SSLContext:
    """A context of the files of `tls_cert_file`, `tls_key_file` and, where clients need a certificate too, their CA.

    TLS 1.2 is the oldest version spoken.

    Raises:
        SettingsError: the certificate is not the key's, or a file is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    cert, key, *client_ca = files.values()
    used = list(files)[:2]
    try:
        context.load_cert_chain(cert, key, password="")  # without any, OpenSSL would ask the terminal
        for ca in client_ca:
            used = list(files)[2:]
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        named = " with ".join(f"{name} = {str(files[name])!r}" for name in used)
        raise SettingsError(f"{named} cannot be used: {_why(error)}") from None
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        is_mismatch = error.reason == "KEY_VALUES_MISMATCH"
        return "the key is not the certificate's" if is_mismatch else "it must be PEM, and a key without a passphrase"
    return error.strerror or type(error).__name__


class TlsHandshake(asyncio.Protocol):
    """A connection on which TLS is not spoken yet; when it is, a `BoundedHttpProtocol` takes its place.

    asyncio's own TLS servers tell nobody of a handshake that fails, and a connection that never begins one is not among
    those that are counted.
    """

    idle_since = inf

    def __init__(self, server: PortServer, context: ssl.SSLContext) -> None:
        self._server = server
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._deadline = inf

    def check(self, now: float) -> None:
        """End the connection if the handshake takes too long."""
        if now > self._deadline:
            self.refuse("tls_handshake")

    def refuse(self, reason: str) -> None:
        """Count the reason and end the connection."""
        if not self._transport.is_closing():
            self._server.refuse(reason)
        self._transport.abort()

    def shutdown(self) -> None:
        """The server ends."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.pause_reading()
        self._deadline = self._loop.time() + HANDSHAKE_SECONDS
        self._server.connections.add(self)
        self._server.make_room(self)
        task = self._loop.create_task(self._shake_hands())
        self._server.server_state.tasks.add(task)
        task.add_done_callback(self._server.server_state.tasks.discard)

    async def _shake_hands(self) -> None:
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=2 * HANDSHAKE_SECONDS,  # `check` is earlier
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError as error:
            self._server.refuse("not_http" if getattr(error, "reason", "") == "HTTP_REQUEST" else "tls_handshake")
            return
        finally:
            self._server.connections.discard(self)
        if transport is not None and not transport.is_closing():
            http = BoundedHttpProtocol(self._server)
            transport.set_protocol(http)
            http.connection_made(transport)
