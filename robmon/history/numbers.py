"""Assessment numbers, and so seeds, none of which comes twice, whatever becomes of process and disk."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

NUMBERS_RESERVED: Final = 100
"""At a time: what a crash leaves of them is never used."""


def beyond_all(known: int = 0) -> int:
    """A number beyond all that were ever reserved, and, almost surely, apart from all that were made like it.

    It follows the clock, so that later ones are larger; chance keeps them apart where the clock was set back.

    Args:
        known: the last one that is known.
    """
    return max(int(time.time()) << 20, known) + secrets.randbelow(2**32)


class Numbers:
    """The assessment numbers that this process may use.

    Args:
        ask: has more of them reserved, which `add` is told sooner or later.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._reserved: deque[int] = deque()
        self._is_asked = False
        self._unreserved: int | None = None

    def add(self, numbers: Iterable[int]) -> None:
        """Use these too."""
        self._reserved.extend(numbers)
        self._is_asked = False

    def prepare(self) -> None:
        """Have some reserved in good time."""
        if len(self._reserved) < NUMBERS_RESERVED // 2 and not self._is_asked:
            self._is_asked = True
            self._ask()

    def next(self) -> int:
        """The next one. Where none could be reserved, numbers go on beyond all that ever will be."""
        self.prepare()
        if self._reserved:
            return self._reserved.popleft()
        self._unreserved = beyond_all() if self._unreserved is None else self._unreserved + 1
        return self._unreserved
