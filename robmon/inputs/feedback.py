"""The body of `POST /feedback`: one label, a list of them, or one a line."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from robmon.inputs.join_keys import MAX_ID_CHARACTERS, as_key

MAX_FEEDBACK_BYTES: Final = 2**20
MAX_LABELS: Final = 10_000
MAX_TARGET_DEPTH: Final = 8
MAX_LABEL_CHARACTERS: Final = 128 * 1024
"""Of one label, the target of 10,000 rows; each is read in one go, while nobody else has a turn."""
_SHORT_LABEL: Final = 1024
"""Most are no longer: they are looked for so far at first."""
_GZIP: Final = b"\x1f\x8b"
_BLANK: Final = re.compile(r"[ \t\r\n]*+")
_KINDS: Final = {int, float, bool, str, list}
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
    return list(read(body))


def read(body: bytes) -> Iterator[Label]:
    """The labels of a body, each read only when it is asked for: ten thousand at once would hold up an event loop.

    Raises:
        FeedbackError: somewhere on the way; then those before it do not count either.
    """
    place = 0
    try:
        for place, told in enumerate(_labels_in(_text(body)), 1):
            if place > MAX_LABELS:
                raise FeedbackError(f"there are more than {MAX_LABELS} labels in one body: send several requests")
            yield _label(told, place)
    except RecursionError:
        raise FeedbackError(f"the JSON is nested too deeply: {_SEND}") from None
    if place == 0:
        raise FeedbackError(f"there is no label in the body: {_SEND}")


def _text(body: bytes) -> str:
    if not body.strip():
        raise FeedbackError(f"the body is empty: {_SEND}")
    if body.startswith(_GZIP):
        raise FeedbackError(f"the body is compressed, which is not read here: {_SEND}")
    try:
        return body.decode(json.detect_encoding(body), "surrogatepass")
    except UnicodeDecodeError:
        raise _not_json() from None


def _labels_in(text: str) -> Iterator[Any]:
    """The values of a list, or those that stand one a line; a single one may go over several lines."""
    at = _after_blank(text, 0)
    if text.startswith("[", at):
        yield from _listed(text, _after_blank(text, at + 1))
        return
    line = 0
    while at < len(text):
        line += 1
        value, end = _value(text, at, line)
        yield value
        at = _after_blank(text, end)
        if at < len(text) and not {*text[end:at]} & {"\r", "\n"}:
            raise _not_json(line)


def _listed(text: str, at: int) -> Iterator[Any]:
    is_first = True
    while not text.startswith("]", at):
        if not is_first:
            if not text.startswith(",", at):
                raise _not_json()
            at = _after_blank(text, at + 1)
        is_first = False
        value, at = _value(text, at)
        yield value
        at = _after_blank(text, at)
    if _after_blank(text, at + 1) < len(text):
        raise _not_json()


def _after_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank is not None else at


def _value(text: str, at: int, line: int = 1) -> tuple[Any, int]:
    """The value that begins here, and where it ends."""
    for length in (_SHORT_LABEL, MAX_LABEL_CHARACTERS):
        with contextlib.suppress(ValueError):  # also integers of too many digits
            value, end = _DECODER.raw_decode(text[at : at + length])
            if end < length or len(text) == at + length:  # else it may go on
                return value, at + end
    if len(text) - at > MAX_LABEL_CHARACTERS:
        raise _not_json(line, f"not JSON, or one label of it is longer than {MAX_LABEL_CHARACTERS} characters")
    raise _not_json(line)


def _refuse(_: str) -> None:
    raise FeedbackError(f"NaN and Infinity are neither JSON nor labels, leave out what has no value: {_SEND}")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _not_json(line: int = 1, why: str = "not JSON") -> FeedbackError:
    return FeedbackError(f"{'the body' if line == 1 else f'line {line}'} is {why}: {_SEND}")


def _label(told: Any, place: int) -> Label:
    where = f"label {place}"
    if not isinstance(told, dict):
        raise FeedbackError(f"{where} is no object with an id and a target: {_SEND}")
    if "target" not in told:
        raise FeedbackError(f"{where} has no target: {_SEND}")
    key = told.get("id")
    if not isinstance(key, str) or not 0 < len(key.strip()) <= MAX_ID_CHARACTERS:
        raise FeedbackError(f"{where} needs an id, a text of 1 to {MAX_ID_CHARACTERS} characters: {_SEND}")
    try:
        if _is_target(told["target"]):
            return Label(as_key(key), _ENCODER.encode(told["target"]).encode())
    except ValueError:  # a number is too large to be finite
        pass
    raise FeedbackError(f"the target of {where} must be a finite number, a text, or a list of them: {_SEND}")


def _is_target(target: Any) -> bool:
    """Whether it has the form of one: a whole level of lists is looked at in one go."""
    level, depth = [target], 0
    while level:
        lists = [each for each in level if isinstance(each, list)]
        if not {*map(type, level)} <= _KINDS or not all(lists) or (lists and depth == MAX_TARGET_DEPTH):
            return False
        level, depth = list(chain.from_iterable(lists)), depth + 1
    return True
