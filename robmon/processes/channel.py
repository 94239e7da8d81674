"""Messages on a socket of their own, so that what model code prints or closes on the standard descriptors is no answer.

A frame is a JSON header, validated on arrival, followed by raw blobs (request bodies, arrays); nothing is ever
unpickled. The first message of every process is `Hello`, which carries the protocol version.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import struct
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from robmon.errors import ProtocolError
from robmon.models.json_values import MOST_VALUES, most_values
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.every_process import PROTOCOL_VERSION, Hello

MAX_HEADER_BYTES = 256 * 2**20  # the headers of a whole sample are in it
MAX_BLOBS = 2**20
MAX_BLOB_BYTES = 2**31
MOST_TOLD = 16
"""Fields that a message without sense is told to be wrong in: all of them may be millions."""

_ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(Annotated[AnyMessage, Field(discriminator="type")])
_PREFIX = struct.Struct("!II")
_BLOB_LENGTH = struct.Struct("!Q")

Frame = tuple[AnyMessage, list[bytes]]


def encode(message: AnyMessage, blobs: Sequence[bytes] = ()) -> Iterator[bytes]:
    """The pieces of one frame: header length and number of blobs, header, then each blob behind its length."""
    header = message.model_dump_json().encode()
    yield _PREFIX.pack(len(header), len(blobs)) + header
    for blob in blobs:
        yield _BLOB_LENGTH.pack(len(blob))
        yield blob


@dataclass(frozen=True)
class Bounds:
    """Limits of one frame: bytes of its header, what is in it, number of its blobs, and bytes of all of them.

    A value may be two bytes of JSON, and a hundred in Python: 16 MiB of empty lists are 500 MB, and take seconds. A
    list or object takes as long as several numbers, a name as ten.
    """

    header_bytes: int = MAX_HEADER_BYTES
    values: int | None = None
    containers: int | None = None
    """Lists and objects."""
    names: int | None = None
    """Names of the objects' members."""
    blobs: int = MAX_BLOBS
    blob_bytes: int = MAX_BLOB_BYTES


OF_A_FRAME = Bounds()
OF_A_WORKERS_ANSWER = Bounds(
    header_bytes=16 * 2**20,
    values=MOST_VALUES,
    containers=250_000,
    names=500_000,
    blobs=16,
    blob_bytes=64 * 2**20,
)
"""Model code can write to its worker's socket. What is honest has at most a few MiB, with a scale for each of 150,000
pixels. A baseline that watches 1,024 columns, as many as it may, has some 20 lists of each, or of text 450 names."""


def decode(bounds: Bounds = OF_A_FRAME) -> Generator[int, bytes, Frame]:
    """Parse one frame without doing any I/O: yields how many bytes it needs next, returns the frame.

    Raises:
        ProtocolError: the other side speaks another version, or nonsense.
    """
    header_length, blob_count = _PREFIX.unpack((yield _PREFIX.size))
    if header_length > bounds.header_bytes or blob_count > bounds.blobs:
        raise ProtocolError("the other process sent something that is not a robmon message")
    header = yield header_length
    if _has_more_than(bounds, header):
        raise ProtocolError("the other process sent more values than any message holds")
    try:
        message = _understood(header)
    except ValidationError as error:
        raise ProtocolError(f"the other process sent a message that is not valid in: {_fields(error)}") from None
    except (RecursionError, ValueError):
        raise ProtocolError("the other process sent a message that is not JSON") from None
    if isinstance(message, Hello) and message.protocol != PROTOCOL_VERSION:
        raise ProtocolError(f"the other process speaks protocol {message.protocol}, this one {PROTOCOL_VERSION}")
    blobs: list[bytes] = []
    remaining = bounds.blob_bytes
    for _ in range(blob_count):
        (length,) = _BLOB_LENGTH.unpack((yield _BLOB_LENGTH.size))
        remaining -= length
        if remaining < 0:
            raise ProtocolError("the other process sent more data than any message holds")
        blobs.append((yield length))
    return message, blobs


def _has_more_than(bounds: Bounds, header: bytes) -> bool:
    """Whether there may be more in a header: it is not parsed for that, and what stands in texts counts too."""
    if bounds.values is None or bounds.containers is None or bounds.names is None:
        return False
    containers, names = header.count(b"[") + header.count(b"{"), header.count(b":")
    return most_values(header) > bounds.values or containers > bounds.containers or names > bounds.names


def _understood(header: bytes) -> AnyMessage:
    """Without looking for garbage meanwhile: each look would go through all that was made so far.

    By json: for pydantic's own parser an empty object is 1.6 kB, and 8 MiB of them are 5 GB.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _ADAPTER.validate_python(json.loads(header))
    finally:
        if was_enabled:
            gc.enable()


def _fields(error: ValidationError) -> str:
    """Where it is wrong. To ask pydantic for more places than a few takes gigabytes where there are millions."""
    if error.error_count() > MOST_TOLD:
        return f"{error.error_count()} places"
    return ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))


class Channel:
    """The blocking end of the socket: what a worker or fetch process uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._reader = sock.makefile("rb")

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Take over the socket that the parent process left at this descriptor."""
        sock = socket.socket(fileno=fd)
        sock.set_inheritable(False)
        return cls(sock)

    def close(self) -> None:
        """Let go of this end, without waiting for whoever reads from it: what is sent or received from now on fails."""
        os.close(self._socket.detach())

    def send(self, message: AnyMessage, blobs: Sequence[bytes] = ()) -> None:
        """Send one message. Raises OSError when the peer is gone."""
        for piece in encode(message, blobs):
            self._socket.sendall(piece)

    def receive(self) -> Frame:
        """Wait for one message. Raises EOFError when the peer is gone, ProtocolError on nonsense."""
        parser = decode()
        needed = next(parser)
        while True:
            try:
                needed = parser.send(self._read(needed))
            except StopIteration as stop:
                frame: Frame = stop.value
                return frame

    def _read(self, count: int) -> bytes:
        data = self._reader.read(count)
        if len(data) < count:
            raise EOFError("the other process is gone")
        return data
