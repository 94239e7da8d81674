"""Compressed bodies: told by header or first bytes, never larger than their bound, broken ones refused."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robmon.errors import CodecError
from robmon.inputs.codecs.compression import decompress, limit_bytes

BODY = json.dumps({"inputs": [[1.5, 2.5]] * 100}).encode()
GZIP = gzip.compress(BODY, mtime=0)  # its bytes name tests, which must not change with the clock


def reason_of(body: bytes, encoding: str = "") -> str:
    with pytest.raises(CodecError) as caught:
        decompress({"content-encoding": encoding}, body)
    return caught.value.reason


@given(st.binary(min_size=1), st.integers(0, 9))
def test_what_was_compressed_comes_back(body: bytes, level: int) -> None:
    for encoding, compressed in (("gzip", gzip.compress(body, level)), ("deflate", zlib.compress(body, level))):
        for header in (encoding, "", f" {encoding.upper()} "):
            assert decompress({"content-encoding": header}, compressed) == body


@given(st.binary())
def test_what_was_not_compressed_stays_or_is_refused(body: bytes) -> None:
    assert decompress({"content-encoding": "identity"}, b"{" + body) == b"{" + body
    try:
        decompress({}, body)
    except CodecError as error:
        assert error.reason == "bad_compression"
        assert body.startswith(b"\x1f\x8b")


def test_text_that_begins_like_zlib() -> None:
    body = b"x^2,y\n1,2\n"
    assert int.from_bytes(body[:2], "big") % 31 == 0
    assert decompress({}, body) == body
    assert reason_of(body, "deflate") == "bad_compression"


def test_a_raw_tensor_is_not_looked_at() -> None:
    assert decompress({"inference-header-content-length": "0"}, GZIP) == GZIP
    assert decompress({"inference-header-content-length": "0", "content-encoding": "gzip"}, GZIP) == BODY


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x" * 32])
def test_other_encodings(encoding: str) -> None:
    assert reason_of(BODY, encoding) == "unsupported_encoding"


BROKEN = GZIP[:30] + b"\xff\xff" + GZIP[32:]


@pytest.mark.parametrize("body", [GZIP[:-1], GZIP[:20], b"\x1f\x8b", GZIP + b"x", GZIP + GZIP, BROKEN, b"", BODY])
def test_broken(body: bytes) -> None:
    assert reason_of(body, "gzip") == "bad_compression"


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_bomb_costs_its_bound(encoding: str) -> None:
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(bytes(2**20)) for _ in range(64)) + compressor.flush()
    assert len(bomb) < 2**17
    tracemalloc.start()
    try:
        assert reason_of(bomb, encoding) == "too_large_decompressed"
        assert tracemalloc.get_traced_memory()[1] < 3 * limit_bytes(len(bomb))
    finally:
        tracemalloc.stop()


def test_the_bound_is_exact() -> None:
    assert len(decompress({}, gzip.compress(bytes(2**20)))) == 2**20
    assert reason_of(gzip.compress(bytes(2**20 + 1))) == "too_large_decompressed"


def test_the_bound_grows_with_the_body() -> None:
    bounds = {2**10: 2**20, 2**16: 2**21, 2**20: 2**25, 2**22: 2**26, 2**24: 2**27}
    assert {size: limit_bytes(size) for size in bounds} == bounds
