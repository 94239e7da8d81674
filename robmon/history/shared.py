"""What several processes write, kept in a place that knows no locks: read, merge, write, read again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from robmon.errors import RegistryError
from robmon.history.memory import Entries, Key, merge, to_json, understood

TRIES: Final = 6
LONGEST_PAUSE_SECONDS: Final = 0.5

_Content = TypeVar("_Content")


def settle(
    read: Callable[[], _Content],
    write: Callable[[_Content], None],
    merged: Callable[[_Content], _Content],
    pause: Callable[[float], None] = time.sleep,
) -> _Content:
    """Write what is there with what is added; returns what is there when it was read again after the write.

    Of two processes that write at the same time one overwrites the other, so each waits a moment of a length of its
    own, at least as long as it took itself from reading to having written, before it reads again, and begins anew where
    what it added is gone.

    Args:
        read: what is there.
        write: replaces it.
        merged: that with what is added; where it has that already, it must be equal to what was given.
        pause: waits so many seconds.

    Raises:
        RegistryError: it was never there. Whatever `read` and `write` raise.
    """
    jitter = random.SystemRandom()
    there = read()
    for attempt in range(TRIES):
        began, content = time.monotonic(), merged(there)
        if content == there:
            return there
        write(content)
        took = time.monotonic() - began
        pause(took + jitter.uniform(0.1, 1.0 + attempt) * LONGEST_PAUSE_SECONDS)
        there = read()
    if merged(there) == there:
        return there
    raise RegistryError(f"what was written was not there when it was read again, {TRIES} times: others write too")


def remember(
    read: Callable[[], str | None],
    write: Callable[[str], None],
    entries: Entries,
    without: Iterable[Key] = (),
    pause: Callable[[float], None] = time.sleep,
) -> Entries:
    """Merge entries into the memory there, as `settle` does; what cannot be understood is overwritten.

    Args:
        read: the memory as JSON, None where there is none.
        write: replaces it.
        entries: what is added.
        without: entries that are taken out.
        pause: waits so many seconds.

    Raises:
        RegistryError: it never held the entries. Whatever `read` and `write` raise.
    """
    out = tuple(without)
    there = settle(
        lambda: understood(read()),
        lambda content: write(to_json(content or ())),
        lambda content: merge(content or (), entries, without=out),
        pause,
    )
    return there or ()
