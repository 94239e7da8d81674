"""The daemon's own HTTP face: `/metrics`, `/healthz`, `/readyz` and a status page at `/`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from robmon.export.published import Published
from robmon.export.status import status_page

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

TEXT = "text/plain; charset=utf-8"


def http_application(published: Published, registry: CollectorRegistry) -> ASGIApplication:
    """The ASGI application. It holds no state: every answer is made from what is published at that moment."""

    def answer(path: str, accept: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return 200, content_type, encode(registry)
        if path == "/healthz":
            return 200, TEXT, b"ok\n"
        if path == "/readyz":
            if published.loaded is not None:
                return 200, TEXT, b"ok\n"
            return 503, TEXT, f"no model is loaded yet\n{published.problem}".strip().encode() + b"\n"
        if path == "/":
            return 200, "text/html; charset=utf-8", status_page(published).encode()
        return 404, TEXT, b"there is /metrics, /healthz, /readyz and /\n"

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            status, content_type, body = 405, TEXT, b"only GET\n"
        else:
            accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
            status, content_type, body = answer(scope["path"], accept.decode("latin-1"))
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return application
