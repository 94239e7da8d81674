"""The messages between the processes, and the frames that carry them."""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robmon.drift.names import MOST_KEYS, MOST_NAMES
from robmon.errors import ProtocolError
from robmon.models.served.watched import MOST_FEATURES
from robmon.processes.channel import OF_A_FRAME, OF_A_WORKERS_ANSWER, Bounds, Channel, decode, encode
from robmon.processes.messages.curve import LevelResult
from robmon.processes.messages.every_process import PROTOCOL_VERSION, Failure, Hello, Stop
from robmon.processes.messages.findings import DriftValue


def fed(data: bytes, bounds: Bounds = OF_A_FRAME) -> object:
    """Parse a frame from bytes that are all there."""
    parser = decode(bounds)
    needed = next(parser)
    try:
        while True:
            piece, data = data[:needed], data[needed:]
            needed = parser.send(piece)
    except StopIteration as stop:
        assert not data
        return stop.value


@given(
    reason=st.text(max_size=20),
    blobs=st.lists(st.binary(max_size=50), max_size=4),
)
def test_frames_round_trip(reason: str, blobs: list[bytes]) -> None:
    message = Failure(reason=reason)
    assert fed(b"".join(encode(message, blobs))) == (message, blobs)


def test_infinity_survives() -> None:
    point = LevelResult(level=0.1, mean_mse=math.inf, bound=math.inf, request_bound=None, agreement=0.5)
    assert LevelResult.model_validate_json(point.model_dump_json()) == point
    assert DriftValue(feature="a", statistic="psi", value=math.inf).value == math.inf


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!II", 2**31, 0),
        struct.pack("!II", 2, 2**31) + b"{}",
        struct.pack("!II", 2, 0) + b"{}",
        struct.pack("!II", 4, 0) + b"\xff\xfe\x00\x00",
        struct.pack("!II", 15, 0) + b'{"type": "nix"}',
        b"".join(encode(Hello(pid=1, protocol=PROTOCOL_VERSION + 1))),
        b"".join(encode(Stop(), [b""]))[:-8] + struct.pack("!Q", 2**40),
    ],
)
def test_nonsense_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        fed(data)


def test_the_text_of_a_protocol_error_holds_no_data() -> None:
    header = b'{"type": "failure", "reason": 77123.4567, "secret": "77123.4567"}'
    with pytest.raises(ProtocolError) as caught:
        fed(struct.pack("!II", len(header), 0) + header)
    assert "77123" not in str(caught.value)


def test_of_what_is_wrong_in_millions_of_places_little_is_held_and_told() -> None:
    """Model code can write such a message; to note each place takes kilobytes of memory for every byte."""
    header = b'{"type": "assessed", "levels": [' + b"{}," * 50_000 + b'{}], "notes": [' + b"1," * 50_000 + b"1]}"
    with pytest.raises(ProtocolError, match=r"not valid in: \d\d places$"):
        fed(struct.pack("!II", len(header), 0) + header)


@pytest.mark.parametrize(
    ("value", "count"),
    [(b"[]", 250_001), (b"{}", 250_001), (b"1", 2_000_001), (b'{"a":0}', 250_001), (b'"a":0', 500_001)],
)
def test_a_worker_may_not_answer_with_millions_of_values(value: bytes, count: int) -> None:
    """They are few bytes in the message, and hundreds of megabytes, and seconds of the event loop, in the daemon."""
    header = b'{"type": "failure", "reason": [' + b",".join([value] * count) + b"]}"
    with pytest.raises(ProtocolError, match="more values than any message holds"):
        fed(struct.pack("!II", len(header), 0) + header, OF_A_WORKERS_ANSWER)


def test_what_a_baseline_may_keep_of_columns_of_text_is_not_too_much() -> None:
    """Counts of categories for drift and for what is unusual, names of some; and lists, as columns of numbers have."""
    keys = [f"{key:016x}" for key in range(MOST_KEYS)]
    column = {"drift": dict.fromkeys(keys, 1), "unusual": dict.fromkeys(keys, 1), "lists": [[1], [2], {}] * 7}
    named = column | {"names": dict.fromkeys(keys[:MOST_NAMES], "[a, b]")}
    header = json.dumps({"type": "failure", "reason": [named] * MOST_FEATURES}).encode()
    with pytest.raises(ProtocolError, match=r"not valid in: failure\.reason"):  # it is read: a reason is a text
        fed(struct.pack("!II", len(header), 0) + header, OF_A_WORKERS_ANSWER)


@pytest.mark.parametrize("value", [b"[" * 200_000, b"9" * 10_000, b'"\xff"'])
def test_what_json_cannot_be_read_of_is_a_protocol_error(value: bytes) -> None:
    header = b'{"type": "assessed", "baseline": {"a": ' + value
    with pytest.raises(ProtocolError, match="not JSON"):
        fed(struct.pack("!II", len(header), 0) + header)


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), Channel(theirs)


def test_a_channel_carries_large_blobs_and_tells_the_end(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    blob = bytes(range(256)) * 8192
    sender = threading.Thread(target=ours.send, args=(Hello(pid=7), [blob, b""]))
    sender.start()
    assert theirs.receive() == (Hello(pid=7), [blob, b""])
    sender.join()
    ours._socket.shutdown(socket.SHUT_RDWR)
    with pytest.raises(EOFError):
        theirs.receive()
