"""JSON out of a body: the whole of it, or its beginning where tensors follow; and bodies out of JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, TypeVar

from robmon.errors import CodecError

LLM_KEYS = frozenset({"messages", "prompt", "input"})
_SPACE = b" \t\n\r"
_DECODER = json.JSONDecoder()

Result = TypeVar("Result")


def parse(body: bytes) -> Any:
    """A body that is JSON from beginning to end. Of equal keys in one object the last counts, as in the servers.

    Raises:
        CodecError: not_utf8, not_json, too_deep, too_large.
    """
    return _guarded(lambda: _writable(json.loads(body), body))


def _writable(content: Any, body: bytes) -> Any:
    """The content, unless halves of characters are in it: JSON has escapes for them, and no text can hold them."""
    if b"\\u" in body or b"\xed" in body or b"\x00" in body:  # an escape, a half as if it were UTF-8, or UTF-16
        json.dumps(content, ensure_ascii=False).encode()
    return content


def parse_beginning(body: bytes) -> tuple[Any, bytes]:
    """The JSON object at the beginning of a body, and all that follows it.

    Latin-1 has one character a byte, so the end that is found in it is the end among the bytes.

    Raises:
        CodecError: not_utf8, not_json, too_deep, too_large.

    >>> parse_beginning(b'{"a": "\\xc3\\xbc"}\\xff\\x00')
    ({'a': 'ü'}, b'\\xff\\x00')
    """
    try:
        content, end = parse(body), len(body.rstrip(_SPACE))  # a tensor may look like white space
    except CodecError as error:
        if error.reason not in ("not_json", "not_utf8"):
            raise
        start = len(body) - len(body.lstrip(_SPACE))
        end = _guarded(lambda: _DECODER.raw_decode(body.decode("latin-1"), start)[1])
        content = parse(body[:end])
    return content, body[end:]


def of_base64(text: Any, error: CodecError) -> bytes:
    """A body that stands in JSON as base64.

    Raises:
        CodecError: the error given, where it is none.

    >>> of_base64("e30=", CodecError("bad_event", "the data of the event is not base64"))
    b'{}'
    """
    if not isinstance(text, str):
        raise error
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise error from None


def _guarded(read: Callable[[], Result]) -> Result:
    try:
        return read()
    except UnicodeError:
        raise CodecError("not_utf8", "the body is not UTF-8") from None
    except ValueError:  # also an integer of more digits than Python converts
        raise CodecError("not_json", "the body is not JSON") from None
    except RecursionError:
        raise CodecError("too_deep", "the JSON is nested too deeply") from None
    except MemoryError:
        raise CodecError("too_large", "the body needs more memory than there is") from None
