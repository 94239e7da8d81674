"""The few headers that are kept of a request: what decoding it and joining its label take."""

from __future__ import annotations

from typing import Final

from robmon.inputs.routing import RawHeaders

KEPT_HEADERS: Final = {
    b"content-type": 128,
    b"content-encoding": 32,
    b"inference-header-content-length": 32,
    b"ce-id": 256,
    b"ce-type": 128,
    b"ce-specversion": 8,
    b"ce-source": 256,
    b"ce-time": 64,
    b"ce-metadata": 4096,
    b"x-request-id": 256,
    b"x-amzn-sagemaker-inference-id": 256,
    b"traceparent": 64,
}
"""The headers kept of a sampled request, and the bytes beyond which each is cut. Every other header is dropped here:
mirrors copy Authorization and cookies."""
_NAMES: Final = {name: name.decode("ascii") for name in KEPT_HEADERS}


def kept_headers(headers: RawHeaders) -> dict[str, str]:
    """The headers that are kept, by name, each cut to its bytes."""
    return {
        _NAMES[name]: value[: KEPT_HEADERS[name]].decode("latin-1") for name, value in headers if name in KEPT_HEADERS
    }
