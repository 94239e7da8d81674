"""The daemon's own HTTP face: `/metrics`, `/healthz`, `/readyz`, `/incident` and a status page at `/`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from robmon.export.incident import BUNDLE_HEADERS, GZIP, IncidentAnswers
from robmon.export.incident import PATH as INCIDENT
from robmon.export.page.document import HEADERS, NOTHING_ALLOWED, content_security_policy
from robmon.export.published import Published
from robmon.export.registry_events import PATH as REGISTRY_EVENT
from robmon.export.registry_events import RegistryEvents
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
PIECE_BYTES: Final = 64 * 1024
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

    async def answer(self, name: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `make` gives, begun after this was asked, by the first of those who wait for the same."""
        if self._waiting >= self._most_waiting:
            return 503, TEXT, b"too many ask at once\n"
        if name not in self._coming:
            self._coming[name] = asyncio.create_task(self._make_in_turn(name, make))
        self._waiting += 1
        try:
            return await asyncio.shield(self._coming[name])
        finally:
            self._waiting -= 1

    async def _make_in_turn(self, name: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        async with self._one_at_a_time:
            await asyncio.sleep(max(self._free_at - time.monotonic(), 0.0))
            return await self._make(name, make)

    async def _make(self, name: str, make: Callable[[], Awaitable[Answer]]) -> Answer:
        del self._coming[name]
        began = time.monotonic()
        try:
            return await make()
        finally:
            ended = time.monotonic()
            self._free_at = 2 * ended - began


def http_application(
    published: Published,
    registry: CollectorRegistry,
    *,
    most_waiting: int = MOST_WAITING,
    incident: IncidentAnswers | None = None,
    events: RegistryEvents | None = None,
) -> ASGIApplication:
    """The ASGI application: every answer is made from what is published when it is made.

    Args:
        published: what is told.
        registry: of the metrics.
        most_waiting: requests for metrics and page that may wait at once; more of them are answered 503.
        incident: how `/incident` is answered; None: it is not there.
        events: takes what the registry tells; None: it tells nothing.
    """
    pages, bundles = _Pages(most_waiting), _Pages(max(most_waiting // 4, 1))

    makers: dict[str, Callable[[Scope], Awaitable[Answer]]] = {
        "/": lambda scope: _page(published, pages, scope),
        "/metrics": lambda scope: _metrics(registry, pages, scope),
        "/healthz": lambda _: _at_once(lambda: (200, TEXT, b"ok\n"))(),
        "/readyz": lambda _: _at_once(lambda: _readiness(published))(),
    }
    if incident is not None:
        makers[INCIDENT] = lambda scope: _incident(incident, bundles, scope)

    async def answer(scope: Scope) -> Answer:
        if (make := makers.get(scope["path"])) is not None:
            return await make(scope)
        return 404, TEXT, f"there is {', '.join(sorted(makers))}\n".encode()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if events is not None and (scope["method"], scope["path"]) == ("POST", REGISTRY_EVENT):
            status, body = await events.take(scope["headers"], receive)
            await _send_answer(scope, send, (status, TEXT, body))
        elif scope["method"] not in ("GET", "HEAD"):
            await _send_answer(scope, send, (405, TEXT, b"only GET\n"))
        else:
            await _send_answer(scope, send, await answer(scope))

    return application


async def _send_answer(scope: Scope, send: Send, answer: Answer) -> None:
    status, content_type, body = answer
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    policy = content_security_policy() if content_type == HTML else NOTHING_ALLOWED
    headers += [*HEADERS, (b"content-security-policy", policy.encode())]
    if content_type == GZIP:
        headers += BUNDLE_HEADERS
    if status in (413, 503):  # whoever sends or asks for too much does not get the others either
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in _pieces(b"" if scope["method"] == "HEAD" else body):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _at_once(make: Callable[[], Answer]) -> Callable[[], Awaitable[Answer]]:
    """What takes milliseconds and is made without a pause."""

    async def made() -> Answer:
        return make()

    return made


async def _metrics(registry: CollectorRegistry, pages: _Pages, scope: Scope) -> Answer:
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    encode, content_type = _encoder(accept.decode("latin-1"))
    return await pages.answer(content_type, _at_once(lambda: (200, content_type, encode(registry))))


async def _page(published: Published, pages: _Pages, scope: Scope) -> Answer:
    refreshes = scope["query_string"] != STILL
    make = _at_once(lambda: (200, HTML, status_page(published, refreshes=refreshes).encode()))
    return await pages.answer(f"/{refreshes}", make)


def _readiness(published: Published) -> Answer:
    if published.view.loaded is not None:
        return 200, TEXT, b"ok\n"
    return 503, TEXT, f"no model is loaded yet\n{published.view.problem}".strip().encode() + b"\n"


async def _incident(incident: IncidentAnswers, bundles: _Pages, scope: Scope) -> Answer:
    with_inputs = incident.wants_inputs(scope["query_string"])
    if with_inputs is None:
        return 400, TEXT, b"inputs is true or false\n"
    if with_inputs and not incident.may_have_inputs(scope):
        incident.refuse("forbidden")
        return 403, TEXT, b"production inputs are given on this machine alone, or with the token of http.token_file\n"

    async def make() -> Answer:
        return 200, GZIP, await incident.bundle(with_inputs)

    return await bundles.answer(f"{INCIDENT}/{with_inputs}", make)


def _pieces(body: bytes) -> Iterator[bytes]:
    """A body in pieces, so that not all of it is copied for a client which reads slowly."""
    return (body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES))


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """How metrics are written for who accepts that; whoever names a version that is no number gets plain text."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")
