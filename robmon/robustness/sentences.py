"""How sentences on rows and columns say lists, and names that strangers chose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_NAME_CHARACTERS: Final = 64
"""Of a name of others, such as a column's, in a sentence or a label."""


def short_name(name: str) -> str:
    """A name fit for a sentence or a label: without a signature columns are called whatever strangers call them.

    >>> short_name("x" + chr(10)), len(short_name("a" * 1000))
    ('x?', 64)
    """
    return "".join(c if c.isprintable() else "?" for c in name[:MAX_NAME_CHARACTERS])


def some_of(items: Iterable[object], most: int) -> str:
    """The first of some things, and how many more there are.

    >>> some_of(["a", "b"], 2), some_of(range(5), 2)
    ('a, b', '0, 1 and 3 more')
    """
    words = [str(item) for item in items]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
