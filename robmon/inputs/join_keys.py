"""The ids by which a label, or the answer that was served, finds its request."""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

MAX_ID_CHARACTERS: Final = 256
"""Longer ids are cut."""
HEAD_BYTES: Final = 4096
"""The `id` of a V2 body, and the attributes of an event in structured mode, are looked for this far: clients write them
first."""

_GZIP_OR_ZLIB: Final = 47  # zlib's windowBits: the largest window, and the format by its first bytes
# Possessive, and a text that never ends is one token too: else the head would be searched again from every quote in it.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)
_VALUE: Final = re.compile(rb'\s*+:\s*+("(?:[^"\\]|\\.)*+")', re.DOTALL)
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-")


def join_keys(headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
    """The ids of a request, the most telling first; empty where it has none.

    They are the `id` of a V2 body, `X-Request-Id`, `Ce-Id`, SageMaker's inference id and the id of the trace.

    Args:
        headers: by name in lower case.
        body: as it came.

    >>> join_keys({"x-request-id": "a", "ce-id": "b"}, b'{"id": "c", "inputs": []}')
    ('c', 'a', 'b')
    """
    return tuple(dict.fromkeys(key for key in map(as_key, _found(headers, body)) if key))


def as_key(text: str | None) -> str:
    """An id as it is compared."""
    return (text or "").strip()[:MAX_ID_CHARACTERS]


def event_id(header: str) -> str:
    """The id of an event, from `Ce-Id`; some senders encode it as the standard says, others do not."""
    return as_key(unquote(header))


def texts_in_head(body: bytes, names: Collection[str]) -> dict[str, str]:
    """The texts of these names in the object that a body begins with, as far as its head goes: an event's attributes.

    >>> texts_in_head(b'{"id": "a", "data": {"id": "b"}, "type": "c", "n": 1}', ["id", "n", "type"])
    {'id': 'a', 'type': 'c'}
    """
    return dict(_texts(_head(body), names))


def _found(headers: Mapping[str, str], body: bytes) -> Iterator[str | None]:
    yield _id_in_json(_head(body))
    yield headers.get("x-request-id")
    yield event_id(headers.get("ce-id", ""))
    yield headers.get("x-amzn-sagemaker-inference-id")
    trace = _TRACE.match(headers.get("traceparent", ""))
    yield trace[1] if trace is not None else None


def _head(body: bytes) -> bytes:
    if body[:1] not in (b"\x1f", b"\x78"):
        return body[:HEAD_BYTES]
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body[:HEAD_BYTES], HEAD_BYTES)
    except zlib.error:
        return b""


def _id_in_json(head: bytes) -> str | None:
    """The text under `id` in the object that begins here.

    >>> _id_in_json(b'{"inputs": [{"id": "no", "name": "id"}], "id": "yes"')
    'yes'
    """
    if b'"id"' not in head:
        return None
    return next((text for _, text in _texts(head, ["id"])), None)


def _texts(head: bytes, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """The texts of these names in the object that begins here; nothing is parsed but these."""
    if not head.lstrip().startswith(b"{"):
        return
    wanted = {f'"{name}"'.encode() for name in names}
    depth = 0
    for token in _TOKEN.finditer(head):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and (token[0] in wanted or b"\\" in token[0]) and (value := _VALUE.match(head, token.end())):
            with contextlib.suppress(ValueError):
                name = str(json.loads(token[0]))
                if name in names:
                    yield name, str(json.loads(value[1]))
