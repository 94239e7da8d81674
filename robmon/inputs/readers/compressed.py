"""Files that were compressed with gzip, read as if they were not; what they unpack to is bounded."""

from __future__ import annotations

import gzip
import zlib
from typing import BinaryIO, Final

from robmon.inputs.readers.batches import BadFileError

ALWAYS_BYTES: Final = 2**20
MAX_RATIO: Final = 100
"""Logs become 10 to 30 times smaller; gzip's bombs a thousand times."""
BROKEN: Final = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading raises where the file is cut short, damaged, or no gzip."""


class Unpacked(gzip.GzipFile):
    """What is in a gzip file of so many bytes: at most 1 MiB, or a hundredfold.

    Raises:
        BadFileError: too_large_decompressed, when reading goes beyond that.
    """

    def __init__(self, packed: BinaryIO, packed_bytes: int) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self._packed = packed
        self._limit = max(ALWAYS_BYTES, MAX_RATIO * packed_bytes)

    def read(self, size: int | None = -1) -> bytes:
        """As of any file."""
        plain = super().read(size)
        if self.tell() > self._limit:
            raise BadFileError("too_large_decompressed")
        return plain

    def close(self) -> None:
        """Close the packed file too."""
        super().close()
        self._packed.close()
