"""The records of a TLS connection: how many are decrypted in one turn of the loop, and how many may say nothing.

A record costs the server a microsecond or two, one that changes the keys (KeyUpdate) 15 to 35, and HTTP, which has
bounds of its own, sees nothing of it. Unbounded, OpenSSL is given whatever has come, megabytes in one turn.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from typing import Final, cast

from robmon.ports.protocol import BoundedHttpProtocol

MAX_TURN_BYTES: Final = 2**16
"""Most that is decrypted for a connection before the others have their turn."""
MIN_TURN_BYTES: Final = 2**10
"""The same at first, and after a turn of many records: at most 38 changes of keys, a millisecond."""
MANY_RECORDS: Final = 32
"""So many in a turn are many, and so many OpenSSL is given at once."""
SILENT_RECORDS: Final = 256
"""Most that may come beyond what HTTP is given of them. A handshake takes some 5."""
RECORDS_OF_A_BYTE: Final = 0.75
"""How many records a byte for HTTP makes up for. Records of 2 bytes may come without end, a request that is sent byte
by byte has 1,024."""
UNREAD_BYTES: Final = 20 * 2**10
"""So much waits encrypted while HTTP reads no further, before no more is read from the socket. It has to hold the
largest record, 18 KiB: else its end would never be read."""
HEADER_BYTES: Final = 5


class BoundedTls(SSLProtocol):
    """TLS between a connection and its HTTP. OpenSSL itself ends those that send empty records or warnings in a row.

    Args:
        http: what is spoken over it, once hands are shaken.
        context: of the server.
        shaken: done when the handshake is over. Where it failed an `OSError` is set, or `http` has no transport.
        handshake_seconds: longest time of the handshake.
        shutdown_seconds: longest time from our goodbye to the client's.
    """

    max_size = MIN_TURN_BYTES
    """Of a piece that is read, and so of the buffer for it; one that is full makes it twice as large."""

    def __init__(
        self,
        http: BoundedHttpProtocol,
        context: ssl.SSLContext,
        shaken: asyncio.Future[None],
        *,
        handshake_seconds: float,
        shutdown_seconds: float,
    ) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            http,
            context,
            shaken,
            server_side=True,
            ssl_handshake_timeout=handshake_seconds,  # type: ignore[arg-type]  # typeshed has it as an integer
            ssl_shutdown_timeout=shutdown_seconds,
        )
        self._set_read_buffer_limits(high=UNREAD_BYTES)  # type: ignore[attr-defined]  # typeshed does not know it
        self._http = http
        self._header = b""  # of the record that begins where the last piece ended
        self._rest_bytes = 0  # of the record that the last piece began
        self._silent_records = 0.0
        self._said_bytes = 0  # what HTTP was given when they were last counted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def get_buffer(self, n: int) -> memoryview:
        return super().get_buffer(n)[: self.max_size]

    def buffer_updated(self, nbytes: int) -> None:
        is_full = nbytes == self.max_size
        piece, at, all_records = self.get_buffer(-1)[:nbytes], 0, 0
        for size, records in self._parts(piece):
            piece[:size] = piece[at : at + size]
            super().buffer_updated(size)
            if self._is_silent(records):
                self._end()
                return
            at, all_records = at + size, all_records + records
        if is_full or all_records > MANY_RECORDS:
            size = MIN_TURN_BYTES if all_records > MANY_RECORDS else min(2 * self.max_size, MAX_TURN_BYTES)
            self.max_size = size  # type: ignore[misc]  # asyncio has it for the class, and reads it of the instance
        if is_full and self._tcp.is_reading():
            # Else what has come meanwhile is read in the same turn, up to 32 times. Nobody else pauses it until it is
            # read again: what OpenSSL holds grows nowhere but here.
            self._tcp.pause_reading()
            asyncio.get_running_loop().call_soon(self._tcp.resume_reading)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        del self._http  # whose transport leads here: a circle would hold all of this until it is looked for

    def _parts(self, piece: memoryview) -> list[tuple[int, int]]:
        """The next piece of what comes, in parts: of each its size, and how many records begin in it."""
        begun = self._header
        data: bytes | memoryview = begun + piece if begun else piece
        at, done, records, parts = self._rest_bytes, len(begun), 0, []
        while at + HEADER_BYTES <= len(data):
            at += HEADER_BYTES + int.from_bytes(data[at + 3 : at + HEADER_BYTES], "big")
            records += 1
            if records == MANY_RECORDS and at < len(data):
                parts.append((at - done, records))
                done, records = at, 0
        self._header, self._rest_bytes = bytes(data[at:]), max(at - len(data), 0)
        return [*parts, (len(data) - done, records)]

    def _is_silent(self, records: int) -> bool:
        """Whether those that have been decrypted, these the last of them, said too little."""
        said = self._http.received_bytes - self._said_bytes
        self._said_bytes += said
        self._silent_records = max(self._silent_records + records - RECORDS_OF_A_BYTE * said, 0.0)
        return self._silent_records > SILENT_RECORDS and not self._http.leaves_unread

    def _end(self) -> None:
        if self._http.transport is None:
            self._tcp.abort()
        else:
            self._http.refuse("not_http")
