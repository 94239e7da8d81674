"""One memory that several processes write, kept in a place that knows no locks: read, merge, write, read again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Final

from robmon.errors import RegistryError
from robmon.history.memory import Entries, Key, merge, to_json, understood

TRIES: Final = 6
LONGEST_PAUSE_SECONDS: Final = 0.5


def remember(
    read: Callable[[], str | None],
    write: Callable[[str], None],
    entries: Entries,
    without: Iterable[Key] = (),
    pause: Callable[[float], None] = time.sleep,
) -> Entries:
    """Merge entries into the memory there; returns what it holds when it was read again after the write.

    Of two processes that write at the same time one overwrites the other, so each waits a moment of a length of its
    own before it reads again, and begins anew where its entries are gone. What cannot be understood is overwritten.

    Args:
        read: the memory as JSON, None where there is none.
        write: replaces it.
        entries: what is added.
        without: entries that are taken out.
        pause: waits so many seconds.

    Raises:
        RegistryError: it never held the entries. Whatever `read` and `write` raise.
    """
    jitter = random.SystemRandom()
    for _ in range(TRIES):
        there = understood(read())
        merged = merge(there or (), entries, without=without)
        if merged == there:
            return merged
        write(to_json(merged))
        pause(jitter.uniform(0.05, 1.0) * LONGEST_PAUSE_SECONDS)
        now = understood(read()) or ()
        if merge(now, entries, without=without) == now:
            return now
    raise RegistryError("what was to be remembered was not in the registry when it was read again")
