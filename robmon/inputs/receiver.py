"""The receiver of mirrored requests: one ASGI function, no framework.

It answers on the model server's own paths. A request costs one random number; only the body of one that the sample
keeps is stored, and nothing is parsed here. Full means refuse and count, never wait: a sink that waits stalls the proxy
in front of the model.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
import uvicorn

from robmon.inputs import protocol
from robmon.inputs.sample import Sample

SOURCES: Final = ("mlflow", "v1", "v2", "cloudevents", "file", "kafka")
NO_SOURCE: Final = "none"
"""Source of what is no prediction request, or cannot be told."""
BODY_TIMEOUT_SECONDS: Final = 10.0
LOG_INTERVAL_SECONDS: Final = 60.0
MAX_CONTENT_TYPE_BYTES: Final = 128

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = structlog.get_logger(__name__)

_ROUTES: Final = {"/invocations": "mlflow"}


def route(method: str, path: str) -> str | None:
    """The format of a prediction request, which is also its source; None for anything else.

    >>> route("POST", "/invocations"), route("GET", "/ping")
    ('mlflow', None)
    """
    return _ROUTES.get(path) if method == "POST" else None


@dataclass
class InputCounts:
    """Requests since the start, by source. Each is counted once it has been answered or has failed.

    `received` are prediction requests, whatever became of them; `sampled` and `rejected` are among them. `skipped` are
    the others (GET, health checks, unknown paths) and prediction requests without a body.
    """

    received: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SOURCES, 0)))
    sampled: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SOURCES, 0)))
    skipped: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys((*SOURCES, NO_SOURCE), 0)))
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source and reason: too_large, inflight_full, timeout, disconnected; of connections, with source `none`:
    not_http, head_too_large, head_timeout, too_many_connections; whatever the codecs refuse later."""


class RejectionLog:
    """At most one line a minute about refused requests, with their number since the line before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = clock()
        self._reasons: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        """Note one refused request."""
        self._reasons[reason] += 1
        now = self._clock()
        if now >= self._next:
            log.warning("requests rejected", count=self._reasons.total(), reasons=dict(self._reasons))
            self._reasons.clear()
            self._next = now + LOG_INTERVAL_SECONDS


class _RefusedError(Exception):
    """A request whose body is not read to its end."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason


class Receiver:
    """The ASGI application of the input port.

    Args:
        sample: where requests are kept.
        max_body_bytes: largest body; beyond it 413, as soon as it is known.
        max_inflight_bytes: most bytes held of bodies that are still arriving; beyond it 503.
        clock: Unix seconds.
    """

    def __init__(
        self, sample: Sample, *, max_body_bytes: int, max_inflight_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.counts = InputCounts()
        self.inflight_bytes = 0
        """Bytes held of bodies that are still arriving."""
        self._sample = sample
        self._max_body_bytes = max_body_bytes
        self._max_inflight_bytes = max_inflight_bytes
        self._clock = clock
        self._rejections = RejectionLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: 202 for a prediction, 200 for anything else, an error for what exceeds a bound."""
        if scope["type"] != "http":
            return
        source = route(scope["method"], scope["path"])
        length, content_type = _content_headers(scope["headers"])
        try:
            if length > self._max_body_bytes:
                raise _RefusedError(413, "too_large")
            key = self._sample.draw() if source is not None else None
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                size, body = await self._read(receive, keep=key is not None)
        except _RefusedError as refusal:
            self._reject(source, refusal.reason)
            await _answer(send, refusal.status, close=True)
            return
        except TimeoutError:
            self._reject(source, "timeout")
            await _answer(send, 408, close=True)
            return
        if source is None or size == 0:
            self.counts.skipped[source or NO_SOURCE] += 1
            await _answer(send, 200)
            return
        self.counts.received[source] += 1
        if key is not None and self._sample.add(key, body, source, content_type, self._clock()):
            self.counts.sampled[source] += 1
        await _answer(send, 202)

    def refuse(self, reason: str) -> None:
        """Count what was refused before it became a request."""
        self._reject(None, reason)

    def _reject(self, source: str | None, reason: str) -> None:
        if source is not None:
            self.counts.received[source] += 1
        self.counts.rejected[source or NO_SOURCE, reason] += 1
        self._rejections.add(reason)

    async def _read(self, receive: Receive, keep: bool) -> tuple[int, bytes]:
        """The size of the body, and the body itself if it is to be kept."""
        size = 0
        held = 0
        pieces: list[bytes] = []
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _RefusedError(400, "disconnected")
                piece: bytes = message["body"]
                size += len(piece)
                if size > self._max_body_bytes:
                    raise _RefusedError(413, "too_large")
                if keep:
                    pieces.append(piece)
                if not message["more_body"]:
                    return size, pieces[0] if len(pieces) == 1 else b"".join(pieces)
                if keep:
                    held += len(piece)
                    self.inflight_bytes += len(piece)
                    if self.inflight_bytes > self._max_inflight_bytes:
                        raise _RefusedError(503, "inflight_full")
        finally:
            self.inflight_bytes -= held


def uvicorn_config(receiver: Receiver, host: str, port: int) -> uvicorn.Config:
    """How the receiver is served: fast parser and loop, bounded connections, nothing logged per request."""
    logging.getLogger(protocol.__name__).setLevel(logging.ERROR)
    return uvicorn.Config(
        receiver,
        host=host,
        port=port,
        loop="uvloop",
        http=protocol.BoundedHttpProtocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )


def _content_headers(headers: list[tuple[bytes, bytes]]) -> tuple[int, str]:
    """Content-Length (0 where there is none) and Content-Type; every other header is dropped here."""
    length = 0
    content_type = ""
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"content-type":
            content_type = value[:MAX_CONTENT_TYPE_BYTES].decode("latin-1")
    return length, content_type


_EMPTY = (b"content-length", b"0")
_CLOSE = (b"connection", b"close")


async def _answer(send: Send, status: int, *, close: bool = False) -> None:
    headers = [_EMPTY, _CLOSE] if close else [_EMPTY]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body"})
