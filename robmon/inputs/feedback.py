"""The body of `POST /feedback`: one label, a list of them, or one a line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from robmon.inputs.join_keys import MAX_ID_CHARACTERS, as_key

MAX_FEEDBACK_BYTES: Final = 2**20
MAX_LABELS: Final = 10_000
MAX_TARGET_DEPTH: Final = 8
_GZIP: Final = b"\x1f\x8b"
_SEND: Final = 'send {"id": "...", "target": ...}, a list of these, or one a line'


class FeedbackError(Exception):
    """A body that tells no labels: why, and what to send instead, without a value of it."""


class Label(NamedTuple):
    """The target of one request, as compact JSON."""

    id: str
    target: bytes


def parse(body: bytes) -> list[Label]:
    """The labels of a body.

    A target is a number, a class as text or truth value, or a list: one target a row of the request, or the outputs of
    its one row. Other keys of a label are ignored.

    Raises:
        FeedbackError: nothing of the body is taken.

    >>> parse(b'{"id": "a", "target": 1.5}')
    [Label(id='a', target=b'1.5')]
    >>> parse(b'{"id": "a", "target": "cat"}\\n{"id": "b", "target": [1, 2]}')[1]
    Label(id='b', target=b'[1,2]')
    """
    try:
        told = list(_told(body))
        if not told:
            raise FeedbackError(f"there is no label in the body: {_SEND}")
        return [_label(each, place) for place, each in enumerate(told)]
    except RecursionError:
        raise FeedbackError(f"the JSON is nested too deeply: {_SEND}") from None
    except ValueError:  # also UnicodeDecodeError, and integers of too many digits
        raise FeedbackError(f"{_what_is_wrong(body)}: {_SEND}") from None


def _told(body: bytes) -> Iterator[Any]:
    try:
        content = _json(body)
    except ValueError:
        lines = _lines(body)
        if len(lines) < 2:
            raise
        content = [_json(line) for line in lines[: MAX_LABELS + 1]]
    if isinstance(content, list):
        if len(content) > MAX_LABELS:
            raise FeedbackError(f"there are more than {MAX_LABELS} labels in one body: send several requests")
        yield from content
    else:
        yield content


def _json(text: bytes) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(_: str) -> None:
    raise FeedbackError(f"NaN and Infinity are neither JSON nor labels, leave out what has no value: {_SEND}")


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.splitlines() if line.strip()]


def _what_is_wrong(body: bytes) -> str:
    """Of a body that is not JSON."""
    if not body.strip():
        return "the body is empty"
    if body.startswith(_GZIP):
        return "the body is compressed, which is not read here"
    for place, line in enumerate(_lines(body)):
        try:
            _json(line)
        except ValueError:
            return f"line {place + 1} is not JSON" if place else "the body is not JSON"
    return "the body is not JSON"


def _label(told: Any, place: int) -> Label:
    where = f"label {place + 1}"
    if not isinstance(told, dict):
        raise FeedbackError(f"{where} is no object with an id and a target: {_SEND}")
    if "target" not in told:
        raise FeedbackError(f"{where} has no target: {_SEND}")
    key = told.get("id")
    if not isinstance(key, str) or not 0 < len(key.strip()) <= MAX_ID_CHARACTERS:
        raise FeedbackError(f"{where} needs an id, a text of 1 to {MAX_ID_CHARACTERS} characters: {_SEND}")
    if not _is_target(told["target"], MAX_TARGET_DEPTH):
        raise FeedbackError(f"the target of {where} must be a finite number, a text, or a list of them: {_SEND}")
    return Label(as_key(key), json.dumps(told["target"], separators=(",", ":")).encode())


def _is_target(target: Any, depth: int) -> bool:
    if isinstance(target, list):
        return depth > 0 and bool(target) and all(_is_target(each, depth - 1) for each in target)
    return isinstance(target, str | int) or (isinstance(target, float) and math.isfinite(target))
