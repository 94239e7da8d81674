"""CloudEvents 1.0 in structured mode: the whole event is JSON. In binary mode the body is the data itself."""

from __future__ import annotations

from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs.json_body import of_base64


def is_event(content: Any) -> bool:
    """Whether a JSON value is a structured event."""
    return isinstance(content, dict) and "specversion" in content and ("data" in content or "data_base64" in content)


def decode(content: dict[str, Any]) -> tuple[dict[str, str], Any]:
    """The headers that the data of a request's event had, and the data: bytes, or JSON that is parsed already.

    Raises:
        CodecError: response_event (the answer to a prediction, not an input of one), bad_event.
    """
    if str(content.get("type", "")).endswith("inference.response"):
        raise CodecError("response_event", "the event tells the answer to a prediction")
    return decode_any(content)


def decode_any(content: dict[str, Any]) -> tuple[dict[str, str], Any]:
    """The same of any event.

    Raises:
        CodecError: bad_event.
    """
    media_type = content.get("datacontenttype")
    headers = {"content-type": media_type} if isinstance(media_type, str) else {}
    if "data_base64" in content:
        error = CodecError("bad_event", "the data of the event is not base64")
        return headers, of_base64(content["data_base64"], error)
    data = content["data"]
    return headers, data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
