"""Compressed bodies: gzip and deflate, from the header or, where a logger lost it, by their first bytes.

The size of what comes out is bounded while it comes out.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from robmon.errors import CodecError

ALWAYS_BYTES = 2**20
USUAL_RATIO = 32
LARGE_BYTES = 64 * 2**20
LARGE_RATIO = 8
_GZIP_OR_ZLIB = 47  # zlib's windowBits: the largest window, and the format by its first bytes


def decompress(headers: Mapping[str, str], body: bytes) -> bytes:
    """The body as the client wrote it.

    Raises:
        CodecError: unsupported_encoding, bad_compression, too_large_decompressed.

    >>> decompress({"content-encoding": "deflate"}, zlib.compress(b"{}")), decompress({}, b"{}")
    (b'{}', b'{}')
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _inflate(body)
    if encoding not in ("", "identity"):
        raise CodecError("unsupported_encoding", "the body is compressed in a way that is not read")
    is_raw_tensor = headers.get("inference-header-content-length", "").strip() == "0"
    if is_raw_tensor or not _looks_compressed(body):
        return body
    try:
        return _inflate(body)
    except CodecError as error:
        if error.reason == "bad_compression" and not body.startswith(b"\x1f\x8b"):
            return body  # text may begin like zlib: "x^2,y"
        raise


def limit_bytes(body_bytes: int) -> int:
    """The most bytes that a compressed body of this size may become: 1 MiB, or 32-fold; beyond 64 MiB eightfold.

    The sample bounds the bytes of all bodies together, so that a ratio bounds the work of decoding them.
    """
    return min(max(ALWAYS_BYTES, USUAL_RATIO * body_bytes), max(LARGE_BYTES, LARGE_RATIO * body_bytes))


def _looks_compressed(body: bytes) -> bool:
    """Whether the first bytes are those of gzip, or of zlib with its largest window (RFC 1950: a multiple of 31)."""
    return body.startswith(b"\x1f\x8b") or (body[:1] == b"\x78" and int.from_bytes(body[:2], "big") % 31 == 0)


def _inflate(body: bytes) -> bytes:
    limit = limit_bytes(len(body))
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        raise CodecError("bad_compression", "the compressed body is broken") from None
    except MemoryError:
        raise CodecError("too_large", "the body needs more memory than there is") from None
    if len(plain) > limit:
        raise CodecError("too_large_decompressed", f"the body is more than {limit} bytes when decompressed")
    if not stream.eof or stream.unused_data:
        raise CodecError("bad_compression", "the compressed body is cut short, or something follows it")
    return plain
