"""Bodies that have come before, byte for byte: hashes of the last ones in a fixed amount of memory.

The hashes are keyed with a number that is drawn when the process starts and never told, so that nobody who reads them
can look up a body that he guesses. A body is hashed while it arrives, piece by piece, so that no size of it holds up
the event loop. Clients that retry and traffic that is replayed show here; whoever changes one byte does not.
"""

from __future__ import annotations

import secrets
from array import array
from hashlib import blake2b
from typing import Final

HASH_BYTES: Final = 8
WAYS: Final = 8
"""Hashes that share a place; the oldest of them gives way. So each is compared with 8 and not with all."""


class Repeats:
    """Hashes of about the last so many different bodies.

    Args:
        bodies: how many hashes are kept, rounded up to whole places, of 8 bytes each and one byte a place.

    >>> repeats = Repeats(1024)
    >>> [repeats.is_repeat(repeats.hasher(body)) for body in (b"a", b"b", b"a")]
    [False, False, True]
    """

    def __init__(self, bodies: int) -> None:
        self._places = max(1, -(-bodies // WAYS))
        self._hashes = array("Q", [0]) * (WAYS * self._places)  # 0: none yet
        self._next = bytearray(self._places)
        self._key = secrets.token_bytes(16)

    @property
    def held_bytes(self) -> int:
        """Bytes of the hashes, from the beginning on and for good."""
        return len(self._hashes) * HASH_BYTES + len(self._next)

    def hasher(self, begin: bytes = b"") -> blake2b:
        """What hashes a body that begins like that: give it the rest as it comes."""
        return blake2b(begin, digest_size=HASH_BYTES, key=self._key)

    def is_repeat(self, hashed: blake2b) -> bool:
        """Whether the same body is among the last ones; it is from now on."""
        number = int.from_bytes(hashed.digest(), "little") or 1
        place = number % self._places
        start = place * WAYS
        if number in self._hashes[start : start + WAYS]:
            return True
        self._hashes[start + self._next[place]] = number
        self._next[place] = (self._next[place] + 1) % WAYS
        return False
