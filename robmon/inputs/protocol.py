"""HTTP/1.1 on uvicorn's httptools protocol, with the bounds that it leaves to a proxy in front of it.

uvicorn limits neither the head of a request nor the time it takes, nor how long a fresh connection may stay silent.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Largest head of a request; the piece in which its end arrives (at most 256 KiB) is not counted."""
HEAD_TIMEOUT_SECONDS = 10.0
"""Longest time from the first piece of a head to its end."""
MAX_CONNECTIONS = 512


class RefusalCounter(Protocol):
    """What the application of a `BoundedHttpProtocol` offers: a place to count what never becomes a request."""

    def refuse(self, reason: str) -> None:
        """Count one refusal."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection whose head, silence and number are bounded. Refusals are counted, not logged one by one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logging.getLogger(__name__)  # errors of the application only; see `uvicorn_config`
        self.access_log = False
        self._head_open = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse("too_many_connections")
            return
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._head_open:
            if self._head_timer is not None:
                self._unwatch_head()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse("head_too_large")
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self._refuse, "head_timeout")

    def shutdown(self) -> None:
        super().shutdown()
        if self.cycle is not None and self.cycle.more_body:
            self.transport.close()  # a body that has not arrived by now is not waited for

    def send_400_response(self, msg: str) -> None:
        if self.cycle is None or not self.cycle.more_body:  # else it is a broken body, which the application counts
            self._count("not_http")
        super().send_400_response(msg)

    def on_message_begin(self) -> None:
        self._head_open = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_open:
            raise ValueError("trailers are not accepted")  # llhttp turns it into a 400; nothing bounds them otherwise
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_open = False
        super().on_headers_complete()

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, reason: str) -> None:
        self._unwatch_head()
        if not self.transport.is_closing():
            self._count(reason)
            self.transport.close()

    def _count(self, reason: str) -> None:
        cast(RefusalCounter, self.app).refuse(reason)
