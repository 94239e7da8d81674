"""What a request is, told without its body: by `Ce-Type`, then by its path. Of an event in structured mode by its head.

Neither is trusted further than that: how a body is read is decided by its shape, later. KServe's logger, for one, sends
no path, and other senders no content type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

from robmon.inputs.join_keys import texts_in_head
from robmon.vocabulary import PROBE_HEADER, PROBE_ID_PREFIX

SOURCES: Final = ("mlflow", "v1", "v2", "cloudevents", "file", "kafka")
NO_SOURCE: Final = "none"
"""Source of what is no prediction request, or cannot be told."""
FEEDBACK_SOURCE: Final = "feedback"
"""Source of rejected labels."""

MAX_PATH_CHARACTERS: Final = 512
"""A longer path is not looked at."""
MAX_MODEL_BYTES: Final = 256
REMEMBERED_PATHS: Final = 1024

_CONTENT_LENGTH: Final = b"content-length"
CONTENT_TYPE: Final = b"content-type"
_STRUCTURED: Final = b"application/cloudevents+json"
_EVENT_TYPE: Final = b"ce-type"
EVENT_ID: Final = b"ce-id"
_EVENT_METADATA: Final = b"ce-metadata"
_EVENT_SERVICE: Final = b"ce-inferenceservicename"
_ATTRIBUTES: Final = {
    header: header.removeprefix(b"ce-").decode() for header in (_EVENT_TYPE, EVENT_ID, _EVENT_SERVICE, _EVENT_METADATA)
}
"""The names of these headers in structured mode."""
_RESPONSE_EVENT: Final = b"inference.response"
_PROBE_ID: Final = PROBE_ID_PREFIX.encode()

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Headers as ASGI gives them: names in lower case."""


class Kind(Enum):
    """What is to be done with a request."""

    PREDICTION = "prediction"
    """A prediction request: a candidate for the sample."""
    RESPONSE = "response"
    """The answer to one, as KServe's logger tells it."""
    EVENT = "event"
    """An event in structured mode: either of them, which its body tells."""
    FEEDBACK = "feedback"
    """Labels of earlier requests."""
    LLM = "llm"
    """A request to a language model, which cannot be assessed."""
    OTHER = "other"
    """Anything else (health checks, metadata, unknown paths), and what the filters leave out."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a request is, the source it counts for, and the model that it names."""

    kind: Kind
    source: str = NO_SOURCE
    model: str | None = None
    is_of_another_model: bool = False
    """Whether it is left out for that: it names another model than the one wanted, or none."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which prediction requests are left out.

    Attributes:
        model: the only model wanted, by the name in the path or in the event; None: all, named or not.
        exclude_headers: names of headers that mark what is left out, in any case.
        exclude_paths: beginnings of paths that are left out.
    """

    model: str | None = None
    exclude_headers: tuple[str, ...] = ()
    exclude_paths: tuple[str, ...] = ()


NO_FILTERS: Final = Filters()

_PATHS: Final = (
    (re.compile(r"/invocations$"), Kind.PREDICTION, "mlflow"),
    (re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/infer$"), Kind.PREDICTION, "v2"),
    (re.compile(r"/v1/models/([^/:]+)(?:/(?:versions|labels)/[^/:]+)?:predict$"), Kind.PREDICTION, "v1"),
    (re.compile(r"^/$"), Kind.EVENT, "cloudevents"),
    (re.compile(r"/feedback/?$"), Kind.FEEDBACK, FEEDBACK_SOURCE),
    (re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/generate(?:_stream)?$"), Kind.LLM, "v2"),
    (re.compile(r"/openai/|/v1/(?:chat/)?completions$|/v1/(?:embeddings|responses|rerank)$"), Kind.LLM, NO_SOURCE),
)
_OTHER: Final = Route(Kind.OTHER)


class Router:
    """Routes requests, most of them by two look-ups: paths are few, and each is worked out once.

    >>> router = Router(Filters(exclude_headers=("X-Synthetic-Test",)))
    >>> router.route("POST", "/prefix/v2/models/digits/infer", {})
    Route(kind=<Kind.PREDICTION: 'prediction'>, source='v2', model='digits', is_of_another_model=False)
    >>> router.route("POST", "/invocations", {b"x-synthetic-test": b"1"})
    Route(kind=<Kind.OTHER: 'other'>, source='mlflow', model=None, is_of_another_model=False)
    """

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._marks = frozenset(name.lower().encode() for name in (PROBE_HEADER, *filters.exclude_headers))
        self._looked_at = self._marks | {_CONTENT_LENGTH, CONTENT_TYPE, *_ATTRIBUTES}
        self._by_path = lru_cache(REMEMBERED_PATHS)(self._of_path)

    def pick(self, headers: RawHeaders) -> tuple[int, dict[bytes, bytes]]:
        """Content-Length (0 where there is none), and the headers that decide about a request: mostly none."""
        looked_at, length, picked = self._looked_at, 0, {}
        for name, value in headers:
            if name in looked_at:
                if name == _CONTENT_LENGTH:
                    length = int(value)
                elif name != CONTENT_TYPE or value.startswith(_STRUCTURED):
                    picked[name] = value
        return length, picked

    def route(self, method: str, path: str, picked: Mapping[bytes, bytes]) -> Route:
        """What a request with these headers is."""
        if method != "POST":
            return _OTHER
        route = self._by_path(path[: MAX_PATH_CHARACTERS + 1])
        if not picked:
            return route
        if _EVENT_TYPE in picked:
            route = self._of_event(route, path, picked)
        elif CONTENT_TYPE in picked:
            route = self._filtered(Route(Kind.EVENT, "cloudevents", route.model), path)
        return self._unmarked(route, picked)

    def route_event(self, route: Route, path: str, picked: Mapping[bytes, bytes]) -> Route:
        """What an event in structured mode is, whose attributes are these, as it would be in binary mode."""
        return self._unmarked(self._of_event(route, path, picked), picked)

    def _of_path(self, path: str) -> Route:
        return self._filtered(_recognised(path), path)

    def _of_event(self, by_path: Route, path: str, picked: Mapping[bytes, bytes]) -> Route:
        kind = Kind.RESPONSE if picked.get(_EVENT_TYPE, b"").endswith(_RESPONSE_EVENT) else Kind.PREDICTION
        service = unquote(picked.get(_EVENT_SERVICE, b"")[:MAX_MODEL_BYTES].decode("latin-1"))
        return self._filtered(Route(kind, "cloudevents", by_path.model or service or None), path)

    def _filtered(self, route: Route, path: str) -> Route:
        if route.kind is Kind.FEEDBACK:
            return route
        wanted = None if route.kind is Kind.EVENT else self._filters.model  # its body may name one
        if path.startswith(self._filters.exclude_paths):
            return replace(route, kind=Kind.OTHER)
        if wanted is not None and route.model != wanted:
            return replace(route, kind=Kind.OTHER, is_of_another_model=route.kind is Kind.PREDICTION)
        return route

    def _unmarked(self, route: Route, picked: Mapping[bytes, bytes]) -> Route:
        return replace(route, kind=Kind.OTHER, is_of_another_model=False) if self._is_marked(picked) else route

    def _is_marked(self, picked: Mapping[bytes, bytes]) -> bool:
        """Whether a mark is among the headers, or among those of the original request that an event tells."""
        if not self._marks.isdisjoint(picked) or picked.get(EVENT_ID, b"").startswith(_PROBE_ID):
            return True
        metadata = unquote_to_bytes(picked.get(_EVENT_METADATA, b"")).lower()  # the SDKs differ in what they encode
        return any(b'"%b"' % mark in metadata for mark in self._marks)


def event_headers(body: bytes) -> dict[bytes, bytes]:
    """The attributes of an event in structured mode that decide about it, as the headers of binary mode.

    >>> event_headers(b'{"specversion": "1.0", "id": "a b", "type": "x.inference.response", "data": [1]}')
    {b'ce-type': b'x.inference.response', b'ce-id': b'a%20b'}
    """
    texts = texts_in_head(body, _ATTRIBUTES.values())
    return {
        header: quote(texts[name], errors="surrogatepass").encode()
        for header, name in _ATTRIBUTES.items()
        if name in texts
    }


def _recognised(path: str) -> Route:
    if len(path) > MAX_PATH_CHARACTERS:
        return _OTHER
    for pattern, kind, source in _PATHS:
        if found := pattern.search(path):
            return Route(kind, source, found[1] if pattern.groups else None)
    return _OTHER
