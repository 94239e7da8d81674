"""What counts as worse than linear: time that more than doubles with the size, twice in a row, and measured again."""

from __future__ import annotations

import gc
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

RATIO = 2.7
"""Of the times of two sizes, one twice the other: 2 is linear, 4 quadratic; between them n log n and a busy machine."""
MOST_RATIO = 3.6
"""As much is let pass where the machine itself takes so much more than twice as long for twice the bytes."""
SMALLEST_SECONDS = 0.001
"""Shorter times are the clock's own and the allocator's."""
TRIES = 3
"""How often a suspicion must be confirmed. Every time is then the best of several."""
BEST_OF = 5
BEST_OF_SECONDS = 2.0
"""Of times this long there are no further ones for the best of them."""
LONGEST_SECONDS = 5.0
"""After one call this long no larger size is tried, and the table tells the size that was reached, not the bound."""
LARGE_BYTES = 2**16
"""Of a larger bound sizes begin here: what is worse than linear is known before it takes minutes."""

Read = Callable[[bytes], object]
Generate = Callable[[int], bytes]


@dataclass(frozen=True)
class Growth:
    """CPU seconds by size, and whether they grow faster than the size.

    Attributes:
        sizes: bytes, each twice the one before.
        seconds: CPU time of one call at each of them.
        is_superlinear: it is certain, and larger sizes were not tried.
        error: the type of an exception that is none of the reader's own; larger sizes were not tried.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    is_superlinear: bool = False
    error: str = ""

    @property
    def exponent(self) -> float:
        """Over the upper part, two doublings; 1 is linear. NaN where the times are too short to tell."""
        if len(self.seconds) < 3 or self.seconds[-3] < SMALLEST_SECONDS / 10:
            return math.nan
        return math.log2(self.seconds[-1] / self.seconds[-3]) / 2

    @property
    def may_go_on(self) -> bool:
        """Whether larger sizes can tell anything new."""
        return not (self.is_superlinear or self.error) and self.seconds[-1] <= LONGEST_SECONDS


def freeze_heap() -> None:
    """Collections of garbage look only at what is made from now on: all that is there would cost more time."""
    gc.collect()
    gc.freeze()


def measure(read: Read, generate: Generate, bound: int) -> Growth:
    """Read hostile bytes of doubling sizes up to a bound, until it is certain that time grows faster than size."""
    sizes: list[int] = []
    seconds: list[float] = []
    for size in doubling(bound):
        sizes.append(size)
        try:
            seconds.append(_seconds(read, generate(size), 1))
        except Exception as error:
            return Growth(tuple(sizes), (*seconds, math.nan), error=type(error).__name__)
        if _is_suspicious(seconds):
            confirmed, seconds[-3:] = _confirmed(read, generate, sizes[-3:], seconds[-3:])
            if confirmed:
                return Growth(tuple(sizes), tuple(seconds), is_superlinear=True)
        if seconds[-1] > LONGEST_SECONDS:
            break
    return Growth(tuple(sizes), tuple(seconds))


def measure_again(growth: Growth, read: Read, generate: Generate) -> Growth:
    """With the best of several times at the largest size, where it was too long at first sight."""
    best = min(growth.seconds[-1], _seconds(read, generate(growth.sizes[-1]), BEST_OF))
    return replace(growth, seconds=(*growth.seconds[:-1], best))


def doubling(bound: int) -> list[int]:
    """Sizes that end with the bound, each half the next: four of a small one, more of a large one."""
    sizes = [bound]
    while len(sizes) < 4 or sizes[0] > LARGE_BYTES:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def _is_suspicious(seconds: Sequence[float], ratio: float = RATIO) -> bool:
    if len(seconds) < 3 or seconds[-1] < SMALLEST_SECONDS:
        return False
    first, second, third = (max(each, 1e-9) for each in seconds[-3:])
    return second / first > ratio and third / second > ratio


def _confirmed(
    read: Read, generate: Generate, sizes: Sequence[int], seconds: Sequence[float]
) -> tuple[bool, list[float]]:
    """Whether the suspicion holds each time that it is looked at anew, and the best times seen."""
    best, ratio = list(seconds), _machine_ratio(sizes)
    for _ in range(TRIES):
        again = [_seconds(read, generate(size), BEST_OF) for size in sizes]
        best = list(map(min, best, again))
        if not _is_suspicious(again, ratio) or not _is_suspicious(best, ratio):
            return False, best
    return True, best


def _machine_ratio(sizes: Sequence[int]) -> float:
    """`RATIO`, or more where what is linear takes more than twice as long for twice the bytes on this machine now.

    Lists in JSON, read by Python, cost five times as much a byte where they are beyond the caches that others leave.
    """
    seconds = [_seconds(json.loads, b"[%s]" % b",".join([b"[1]"] * (size // 4)), BEST_OF) for size in sizes]
    largest = max(after / before for before, after in itertools.pairwise(seconds))
    return min(RATIO * max(largest / 2, 1), MOST_RATIO)


def _seconds(read: Read, body: bytes, times: int) -> float:
    """The shortest of some measurements, fewer where they are long."""
    best, spent = math.inf, 0.0
    for _ in range(times):
        gc.collect()
        began = time.process_time()
        read(body)
        took = time.process_time() - began
        best, spent = min(best, took), spent + took
        if spent > BEST_OF_SECONDS:
            break
    return best
