"""The receiver of mirrored requests: one ASGI function, no framework.

It answers on the model servers' own paths (see `routing`). A request costs one random number, and a hash of its body
where repeats are counted; only the body and a few headers of one that the sample keeps are stored, and nothing is
parsed here but labels and, of an event in structured mode, the head. Full means refuse and count, never wait: a sink
that waits stalls the proxy in front of the model.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, Final

import structlog

from robmon import clock
from robmon.inputs import feedback
from robmon.inputs.counts import InputCounts
from robmon.inputs.join_keys import event_id, join_keys
from robmon.inputs.kept_headers import kept_headers
from robmon.inputs.labels import Labels
from robmon.inputs.repeats import Repeats
from robmon.inputs.routing import (
    EVENT_ID,
    FEEDBACK_SOURCE,
    NO_FILTERS,
    NO_SOURCE,
    Filters,
    Kind,
    RawHeaders,
    Route,
    Router,
    event_headers,
)
from robmon.inputs.sample import Sample
from robmon.inputs.timeouts import Timeouts
from robmon.inputs.turns import in_turns
from robmon.ports.rejections import RejectionLog

log = structlog.get_logger(__name__)

BODY_TIMEOUT_SECONDS: Final = 10.0
LARGE_PIECE_BYTES: Final = 16 * 1024

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


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
        filters: which requests are left out.
        labels: where labels and served answers are joined to the sampled requests.
        repeats: the last bodies, to count those that come again; None: they are not counted.
        clock: seconds that never step.
    """

    def __init__(
        self,
        sample: Sample,
        *,
        max_body_bytes: int,
        max_inflight_bytes: int,
        filters: Filters = NO_FILTERS,
        labels: Labels | None = None,
        repeats: Repeats | None = None,
        clock: Callable[[], float] = clock.now,
    ) -> None:
        self.labels = labels if labels is not None else Labels()
        self.counts = InputCounts(labels=self.labels.counts, repeated=None if repeats is None else Counter())
        self.inflight_bytes = 0
        """Bytes held of bodies that are still arriving, and of labels that are not taken yet."""
        self._sample = sample
        self._repeats = repeats
        self._router = Router(filters)
        self._model = filters.model
        self._max_body_bytes = max_body_bytes
        self._max_feedback_bytes = min(max_body_bytes, feedback.MAX_FEEDBACK_BYTES)
        self._max_inflight_bytes = max_inflight_bytes
        self._clock = clock
        self._rejections = RejectionLog("inputs")
        self._timeouts = Timeouts()
        self._taking_labels = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: 202 for what is taken, 200 for anything else, an error for what exceeds a bound."""
        if scope["type"] != "http":
            return
        headers: RawHeaders = scope["headers"]
        length, picked = self._router.pick(headers)
        route = self._router.route(scope["method"], scope["path"], picked)
        limit = self._max_feedback_bytes if route.kind is Kind.FEEDBACK else self._max_body_bytes
        try:
            if length > limit:
                raise _RefusedError(413, "too_large")
            key = self._sample.draw() if route.kind is Kind.PREDICTION else None
            keep = key is not None or route.kind in _READ_WHOLE
            hashed = self._hasher(route)
            reading = self._read(receive, limit, hashed, keep=keep)
            size, body = await self._timeouts.within(BODY_TIMEOUT_SECONDS, reading)
        except TimeoutError:
            await self._refuse_body(send, route, 408, "timeout")
            return
        except _RefusedError as refusal:
            await self._refuse_body(send, route, refusal.status, refusal.reason)
            return
        if route.kind is Kind.EVENT:
            picked = event_headers(body)
            route, key = self._router.route_event(route, scope["path"], picked), self._sample.draw()
        if route.kind is Kind.FEEDBACK:
            await _answer(send, *await self._take_feedback(body))
        elif route.kind is Kind.LLM:
            self._reject(route, "unsupported_llm")
            await _answer(send, 202)
        elif route.kind is Kind.OTHER or size == 0:
            self._skip(route)
            await _answer(send, 200)
        elif route.kind is Kind.RESPONSE:
            self.labels.tell("answer", event_id(picked.get(EVENT_ID, b"").decode("latin-1")), body, self._clock())
            await _answer(send, 202)
        else:
            self._take_request(route, headers, size, key, body)
            self._count_repeat(route, hashed)
            await _answer(send, 202)

    async def _refuse_body(self, send: Send, route: Route, status: int, reason: str) -> None:
        """Answer a request whose body is not read to its end."""
        self._reject(route, reason)
        too_long = f"the body is larger than {self._max_feedback_bytes} bytes: send the labels in several requests"
        await _answer(send, status, _error_body(too_long) if route.kind is Kind.FEEDBACK and status == 413 else b"")

    def _take_request(self, route: Route, headers: RawHeaders, size: int, key: float | None, body: bytes) -> None:
        self.counts.received[route.source] += 1
        self.counts.body_bytes[route.source].observe(size)
        if key is None:
            return
        now = self._clock()
        kept = kept_headers(headers)
        item = self._sample.add(key, body, route.source, kept, now, model=route.model, ids=join_keys(kept, body))
        if item is not None:
            self.counts.sampled[route.source] += 1
            self.labels.follow(item, now)

    def _hasher(self, route: Route) -> blake2b | None:
        """What hashes the body of a request; None of anything else, and where repeats are not counted."""
        return self._repeats.hasher() if self._repeats is not None and route.kind in _REQUESTS else None

    def _count_repeat(self, route: Route, hashed: blake2b | None) -> None:
        if self._repeats is not None and hashed is not None and self._repeats.is_repeat(hashed):
            self.counts.count_repeated(route.source)

    async def _take_feedback(self, body: bytes) -> tuple[int, bytes]:
        """Status and content of the answer to labels. One body at a time has turns; the others wait within bounds."""
        if self.inflight_bytes + len(body) > self._max_inflight_bytes:
            self._reject(_FEEDBACK, "inflight_full")
            return 503, b""
        self.inflight_bytes += len(body)
        try:
            async with self._taking_labels:
                labels = [label async for label in in_turns(feedback.read(body))]
                async for label in in_turns(labels):
                    self.labels.tell("target", label.id, label.target, self._clock())
        except feedback.FeedbackError as error:
            self._reject(_FEEDBACK, "bad_feedback")
            return 400, _error_body(str(error))
        finally:
            self.inflight_bytes -= len(body)
        return 202, json.dumps({"accepted": len(labels)}).encode()

    def _skip(self, route: Route) -> None:
        self.counts.skipped[route.source] += 1
        if route.is_of_another_model:
            if route.model is not None:
                self.counts.of_other_models += 1
                return
            if not self.counts.unnamed:
                log.warning("requests that name no model are left out", model=self._model, source=route.source)
            self.counts.unnamed += 1

    @property
    def problem(self) -> str:
        """What the filter of the model leaves out that it may not be meant to, in one sentence; mostly empty."""
        counts, why = self.counts, f"inputs.model = {self._model!r} is set"
        if counts.unnamed:
            return (
                f"Left out because {why}: {counts.unnamed} requests that name no model, as all those to /invocations."
            )
        if counts.of_other_models and not counts.received.total():
            return f"Left out because {why}: all requests so far ({counts.of_other_models}), which name other models."
        return ""

    def refuse(self, reason: str) -> None:
        """Count what was refused before it became a request."""
        self._count_rejected(NO_SOURCE, reason)

    def _reject(self, route: Route, reason: str) -> None:
        """Count a request that is refused; one that is left out anyway is skipped, whatever its size."""
        if route.kind is Kind.OTHER:
            self._skip(route)
            return
        if route.kind in _REQUESTS and route.source != NO_SOURCE:
            self.counts.received[route.source] += 1
        self._count_rejected(route.source, reason)

    def _count_rejected(self, source: str, reason: str) -> None:
        self.counts.rejected[source, reason] += 1
        self._rejections.add(reason)

    async def _read(self, receive: Receive, limit: int, hashed: blake2b | None, *, keep: bool) -> tuple[int, bytes]:
        """The size of the body, and the body itself if it is to be kept; `hashed` takes it as it comes."""
        size = 0
        held = 0
        body = _Pieces()
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _RefusedError(400, "disconnected")
                piece: bytes = message["body"]
                size += len(piece)
                if size > limit:
                    raise _RefusedError(413, "too_large")
                if hashed is not None:
                    hashed.update(piece)
                if not message["more_body"]:
                    return size, body.joined_with(piece)
                if keep:
                    body.add(piece)
                    held += len(piece)
                    self.inflight_bytes += len(piece)
                    if self.inflight_bytes > self._max_inflight_bytes:
                        raise _RefusedError(503, "inflight_full")
        finally:
            self.inflight_bytes -= held


class _Pieces:
    """The beginning of a body. Pieces of one byte each take no more than one that is large.

    A single buffer that grows would leave holes wherever it has been: up to half as much memory again.
    """

    def __init__(self) -> None:
        self._large: list[bytes] = []
        self._small = bytearray()

    def add(self, piece: bytes) -> None:
        """Add what has come."""
        is_large = len(piece) >= LARGE_PIECE_BYTES
        if not is_large:
            self._small += piece
        if self._small and (is_large or len(self._small) >= LARGE_PIECE_BYTES):
            self._large.append(bytes(self._small))
            self._small.clear()
        if is_large:
            self._large.append(piece)

    def joined_with(self, last: bytes) -> bytes:
        """All of it, with its last piece."""
        return b"".join((*self._large, self._small, last)) if self._large or self._small else last


def _error_body(error: str) -> bytes:
    return json.dumps({"error": error}).encode()


_FEEDBACK = Route(Kind.FEEDBACK, FEEDBACK_SOURCE)
_READ_WHOLE = (Kind.RESPONSE, Kind.FEEDBACK, Kind.EVENT)
_REQUESTS = (Kind.PREDICTION, Kind.LLM, Kind.EVENT)
_EMPTY = [(b"content-length", b"0")]


async def _answer(send: Send, status: int, content: bytes = b"") -> None:
    headers = _EMPTY
    if content:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
