"""HTTP/1.1 on uvicorn's httptools protocol, with the bounds that it leaves to a proxy in front of it.

Every connection has a deadline at every moment, whatever its client does or leaves undone, and everything that is held
for it has a largest size. uvicorn itself bounds only the silence between two requests.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import Final

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from robmon.ports.connections import Port

MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest head of a request."""
MAX_HEADERS: Final = 128
MAX_CHUNKS: Final = 32_768
"""Chunks of a body; more where it is large, see `CHUNK_BYTES`."""
CHUNK_BYTES: Final = 32
"""Least average size of chunks beyond `MAX_CHUNKS`, with what frames them: each of them takes a call."""
MAX_PIPELINED: Final = 64
"""Requests that may wait for the answer to the one before them. A piece of 256 KiB can hold 14,000, 2 KiB each."""
IDLE_SECONDS: Final = 75
"""Longest silence between two requests: over a minute, so that Prometheus keeps its connection."""
HEAD_SECONDS: Final = 10.0
"""Longest time from the first byte of a head to its end."""
REQUEST_SECONDS: Final = 20.0
"""Longest time from the end of a head to the end of the answer, which the client has to read."""
LINGER_SECONDS: Final = 2.0
"""How long the rest of a body is thrown away after an answer that did not wait for it. To close at once would reset the
connection, and the client might never see the answer."""


class _RefusedError(Exception):
    """Stops the parser, which makes uvicorn answer 400 and close."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. What it refuses is counted, and never logged one by one."""

    def __init__(self, server: Port, *, admitted: bool = False) -> None:
        super().__init__(server.config, server.server_state, {}, asyncio.get_running_loop())
        self.logger = logging.getLogger(__name__)
        self.access_log = False
        self._server = server
        self._admitted = admitted
        self.received_bytes = 0
        """All that it was given, however little of it was HTTP."""
        self._in_head = False
        self._head_since = self.loop.time()
        self._piece_bytes = 0  # of the piece that is parsed
        self._head_bytes = 0  # of the head that is arriving: those of the pieces that are all its own
        self._ended_message = False  # whether the piece that is parsed ended a request, so that a head is not all of it
        self._head_deadline = inf
        self._answer_deadline = inf
        self._answering_since = inf
        self._closing_since = inf
        self._answered: RequestResponseCycle | None = None  # of several on their way, while `cycle` is the last of them
        self._body_bytes = 0  # of the pieces since the head
        self._framing_bytes = 0  # of the pieces since anything of the body came
        self._chunks = 0
        self._reason = "not_http"

    @property
    def unfinished_since(self) -> float:
        """When the head that is arriving began, in the loop's time; infinite where none is.

        The first is waited for from the beginning of the connection: one that has said nothing yet may be a probe whose
        head is on its way, and those that have held half a head for longer go before it.
        """
        return inf if self.transport.is_closing() else self._head_since

    @property
    def idle_since(self) -> float:
        """When its last answer was complete, in the loop's time; infinite while a request is in progress."""
        busy = self._head_since < inf or self._is_answering
        seconds = LINGER_SECONDS if self._is_in_body else IDLE_SECONDS
        return inf if busy or self.transport.is_closing() else self._answer_deadline - seconds

    @property
    def unread_since(self) -> float:
        """When the answer began that its client does not read, or the end that it holds up; infinite where none is."""
        if self.transport.is_closing():
            return self._closing_since
        unread = self.flow.write_paused and not self._in_head
        return self._answer_deadline - REQUEST_SECONDS if unread and self.idle_since == inf else inf

    @property
    def answering_since(self) -> float:
        """Since when one whole request after the other is answered, in the loop's time; infinite where none is.

        A client that always has a further request on its way is never idle.
        """
        is_whole = self._answered is not None and not self._answered.more_body
        return self._answering_since if self._is_answering and is_whole and not self.transport.is_closing() else inf

    @property
    def leaves_unread(self) -> bool:
        """Whether it reads no further for now, until what it has read is used."""
        return self.transport is not None and self.flow.read_paused and not self.transport.is_closing()

    def check(self, now: float) -> None:
        """End the connection if it is past a deadline."""
        if self.transport.is_closing():
            self._closing_since = min(self._closing_since, now)
        if now > self._head_deadline:
            self.refuse("head_timeout")
        elif now > self._answer_deadline and (self._is_answering or not self._in_head):
            if self._is_answering or self.transport.is_closing():
                self.refuse("answer_timeout")
            else:
                self.transport.close()  # one that waits for its client to read the last answer is aborted next time

    def refuse(self, reason: str) -> None:
        """Count the reason and end the connection without an answer."""
        if not self.transport.is_closing():
            self._server.refuse(reason)
        self._in_head = False
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        admitted = self._admitted or self._server.admit()
        super().connection_made(transport)
        self._wait_for_request()
        if not admitted:
            self.refuse("too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._in_head:
            self._server.refuse("disconnected")
        self._unset_keepalive_if_required()
        if self._answered is not None and not self._answered.response_complete:  # uvicorn tells the last one alone
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        self._ended_message = False
        self._piece_bytes = len(data)
        self._body_bytes += len(data)
        self._framing_bytes += len(data)
        super().data_received(data)
        if not self._in_head:
            if self._is_in_body and self._framing_bytes > MAX_HEAD_BYTES:
                self.refuse("not_http")  # an extension of a chunk, or a trailer: the parser holds it until it ends
            return
        if self._head_deadline == inf:
            now = self.loop.time()
            self._head_deadline = now + HEAD_SECONDS
            self._head_since = min(self._head_since, now)
        if not self._ended_message:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.refuse("head_too_large")

    def shutdown(self) -> None:
        super().shutdown()
        if self.cycle is not None and self.cycle.more_body:
            self.transport.close()  # a body that has not arrived by now is not waited for

    def send_400_response(self, msg: str) -> None:
        if self.cycle is None or not self.cycle.more_body:  # else it is a broken body, which the application counts
            self._server.refuse(self._reason)
        self._in_head = False
        self._head_since = inf
        super().send_400_response(msg)

    # --- what the parser calls ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing("too_many_pipelined")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            self._stop_parsing("not_http")  # trailers: nothing bounds their number
        if len(self.headers) == MAX_HEADERS:
            self._stop_parsing("head_too_large")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_since = self._head_deadline = inf
        self._body_bytes = self._piece_bytes  # which the head that ends is a part of
        self._framing_bytes = self._chunks = 0
        if self._is_too_large():
            self._stop_parsing("head_too_large")
        is_next = not self._is_answering
        if is_next:
            self._answer_deadline = self.loop.time() + REQUEST_SECONDS
        super().on_headers_complete()
        if is_next:
            self._answered = self.cycle
        if self.parser.should_upgrade() or self.expect_100_continue:
            self.cycle.keep_alive = False  # what follows may be another protocol, or no body although one is announced

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > MAX_CHUNKS + self._body_bytes // CHUNK_BYTES:
            self._stop_parsing("not_http")

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        cycle = self.cycle
        if not cycle.body and not cycle.response_complete:
            # As it is: uvicorn copies it into a bytearray and out of it again, half of what 64 KiB cost.
            cycle.body, body = body, b""  # type: ignore[assignment]
        elif isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._ended_message = True
        super().on_message_complete()
        self.cycle.more_body = False  # uvicorn leaves that of a request that is answered already
        if self.cycle.response_complete:
            self._wait_for_request()
        else:
            self._answering_since = min(self._answering_since, self.loop.time())

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        if not is_last:
            self._answered = self.pipeline[-1][0]
        super().on_response_complete()
        if not is_last:
            if len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()  # uvicorn reads on after each answer, whatever waits unread already
            self._answer_deadline = self.loop.time() + REQUEST_SECONDS
        elif self.cycle.more_body:
            self._answer_deadline = self.loop.time() + LINGER_SECONDS
        elif not self.transport.is_closing():
            self._wait_for_request()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_in_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body

    def _wait_for_request(self) -> None:
        self._answering_since = inf
        self._answer_deadline = self.loop.time() + IDLE_SECONDS

    def _is_too_large(self) -> bool:
        """Whether the head that is complete now, with all or a part of this piece, is larger than it may be."""
        if self._head_bytes + self._piece_bytes <= MAX_HEAD_BYTES:
            return False
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES

    def _stop_parsing(self, reason: str) -> None:
        self._reason = reason
        raise _RefusedError
