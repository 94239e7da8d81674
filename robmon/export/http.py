"""The daemon's own HTTP face: `/metrics`, `/healthz`, `/readyz` and a status page at `/`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from robmon.export.page.document import HEADERS, NOTHING_ALLOWED, content_security_policy
from robmon.export.published import Published
from robmon.export.status import status_page

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
STILL = b"refresh=off"
"""Asks for the page as it is, which does not load itself again."""
MOST_WAITING: Final = 32
Answer: TypeAlias = tuple[int, str, bytes]
"""Status, content type and body."""


class _Pages:
    """Answers that take milliseconds to make: never for longer than the time that is left free after the one before.

    Who asks meanwhile waits for the next one, which all of them get: however many ask, and however fast, half of the
    event loop's time is left to probes and to production inputs. Only so many wait that a place is left for a probe.
    """

    def __init__(self, most_waiting: int) -> None:
        self._coming: dict[str, asyncio.Task[Answer]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._free_at = 0.0
        self._most_waiting = most_waiting
        self._waiting = 0

    async def answer(self, name: str, make: Callable[[], Answer]) -> Answer:
        """What `make` gives, begun after this was asked, by the first of those who wait for the same."""
        if self._waiting >= self._most_waiting:
            return 503, TEXT, b"too many ask at once\n"
        if name not in self._coming:
            self._coming[name] = asyncio.create_task(self._made(name, make))
        self._waiting += 1
        try:
            return await asyncio.shield(self._coming[name])
        finally:
            self._waiting -= 1

    async def _made(self, name: str, make: Callable[[], Answer]) -> Answer:
        async with self._one_at_a_time:
            await asyncio.sleep(max(self._free_at - time.monotonic(), 0.0))
            return self._make(name, make)

    def _make(self, name: str, make: Callable[[], Answer]) -> Answer:
        del self._coming[name]
        began = time.monotonic()
        try:
            return make()
        finally:
            ended = time.monotonic()
            self._free_at = 2 * ended - began


def http_application(
    published: Published, registry: CollectorRegistry, *, most_waiting: int = MOST_WAITING
) -> ASGIApplication:
    """The ASGI application: every answer is made from what is published when it is made.

    Args:
        published: what is told.
        registry: of the metrics.
        most_waiting: requests for metrics and page that may wait at once; more of them are answered 503.
    """
    pages = _Pages(most_waiting)

    async def answer(path: str, query: bytes, accept: str) -> Answer:
        if path == "/metrics":
            encode, content_type = _encoder(accept)
            return await pages.answer(content_type, lambda: (200, content_type, encode(registry)))
        if path == "/healthz":
            return 200, TEXT, b"ok\n"
        if path == "/readyz":
            if published.view.loaded is not None:
                return 200, TEXT, b"ok\n"
            return 503, TEXT, f"no model is loaded yet\n{published.view.problem}".strip().encode() + b"\n"
        if path == "/":
            refreshes = query != STILL
            return await pages.answer(
                f"/{refreshes}", lambda: (200, HTML, status_page(published, refreshes=refreshes).encode())
            )
        return 404, TEXT, b"there is /metrics, /healthz, /readyz and /\n"

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            status, content_type, body = 405, TEXT, b"only GET\n"
        else:
            accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
            status, content_type, body = await answer(scope["path"], scope["query_string"], accept.decode("latin-1"))
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        policy = content_security_policy() if content_type == HTML else NOTHING_ALLOWED
        headers += [*HEADERS, (b"content-security-policy", policy.encode())]
        if status == 503:  # whoever asks for many at once does not get the others either
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return application


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """How metrics are written for who accepts that; whoever names a version that is no number gets plain text."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")
