"""What Python holds of a thing, in bytes: the objects and what the allocator rounds them up to, not the content alone.

Of small things that is far more: a request of 17 bytes takes over a thousand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

_SMALL: Final = 512
"""Above it an object is the C library's, which adds a head of its own."""

SLOT: Final = 9
"""Bytes a thing takes in a list or a heap that grows by an eighth."""
KEY: Final = 100
"""Bytes a thing takes in a dictionary besides key and value: its table is between a third and two thirds full."""


def held(thing: object) -> int:
    """Bytes of one object, and of nothing that it refers to.

    >>> held(b""), held(b"x" * 1000) - held(b"x" * 1000 + b"y" * 16)
    (48, -16)
    """
    size = sys.getsizeof(thing)
    return (size + 15) & ~15 if size <= _SMALL else (size + 8 + 15) & ~15


def all_held(things: Iterable[object]) -> int:
    """Bytes of several, each counted once however often it comes."""
    return sum(held(thing) for thing in {id(thing): thing for thing in things}.values())
