"""Which batches a torch module is fast with, by trying some at its first assessment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Final

from robmon.robustness.arrays import Array, default_batch_rows, is_on_cuda
from robmon.robustness.engine.device_memory import free_bytes, release_memory, taken_bytes

FEWEST_ROWS: Final = 16
MOST_ROWS: Final = 4096
"""Batches of fewer rows are not tried, nor, on a processor, of more."""
GAIN: Final = 0.03
"""Further batches are tried as long as a row takes so much less time in them."""
CLOSE: Final = 0.01
"""Of two batches in which a row's times differ no more, the smaller one is taken."""
PROBES: Final = 3
"""How often a batch is timed after a call to warm up; the shortest time counts."""
PATIENT_SECONDS: Final = 1.0
"""What is spent on it, at most."""
WORTH_SECONDS: Final = 1.0
"""On a processor, where usual batches are not far off, an assessment that takes less is worth no search."""
SHARE: Final = 0.05
"""And of one that takes longer such a share is spent on it, at most."""
MEMORY_SHARE: Final = 0.5
"""Of the memory that is free on a device, what a batch may take."""
Run = Callable[[int], None]


def fastest_rows(run: Run, inputs: Array, usual: int, passes: int, patience_seconds: float) -> int:
    """The batch in which a row takes the least time.

    On a CUDA device twice as many rows are tried as long as that is a gain. On a processor half as many than usual, and
    else twice as many.

    Args:
        run: runs a batch of so many rows, and waits for it.
        inputs: shape `(n, *input_shape)`; batches are parts of the rows, or all of them so many times.
        usual: the batch of which nothing need be known.
        passes: how often the assessment will predict each row.
        patience_seconds: what may be spent on it.
    """
    n, tried = int(inputs.shape[0]), _Tried(run, inputs, patience_seconds)
    if is_on_cuda(inputs):
        tried.extend(_candidates(n), misses=2)
        release_memory()
        return tried.best(usual)
    most = default_batch_rows(tuple(inputs.shape), MOST_ROWS)
    sizes = list(takewhile(lambda rows: rows <= most, _candidates(n))) or [n]
    middle = max((at for at, rows in enumerate(sizes) if rows <= usual), default=0)
    tried.extend(sizes[middle : middle + 1])
    in_all_seconds = passes * n * tried.least_seconds()
    if not WORTH_SECONDS <= in_all_seconds < math.inf:
        return usual
    tried.patience_seconds = min(patience_seconds, SHARE * in_all_seconds)
    tried.extend(reversed(sizes[:middle]))
    if tried.best(usual) == sizes[middle]:
        tried.extend(sizes[middle + 1 :])
    return tried.best(usual)


class _Tried:
    """Batches that were tried.

    Args:
        run, inputs: as in `fastest_rows`.
        patience_seconds: no batch is tried with which they would be exceeded, but for the first.
    """

    def __init__(self, run: Run, inputs: Array, patience_seconds: float) -> None:
        self._run, self._inputs, self.patience_seconds = run, inputs, patience_seconds
        self._seconds: dict[int, float] = {}
        """Seconds that a row takes, by the batch's rows."""
        self._last = 0

    def extend(self, sizes: Iterable[int], misses: int = 1) -> None:
        """Try these one after the other, until so many are no gain, or there is no time or memory for the next."""
        missed = 0
        for rows in sizes:
            least = self.least_seconds()
            if missed == misses or self._spent_seconds(rows) > self.patience_seconds:
                return
            try:
                seconds, bytes_per_row = self._measure(rows)
            except Exception as error:  # whatever the model raises: where nothing is known it is asked in earnest
                release_memory(error)
                return
            self._seconds[rows], self._last = seconds, rows
            missed = missed + 1 if seconds > (1.0 - GAIN) * least else 0
            if bytes_per_row and 2 * rows * bytes_per_row > MEMORY_SHARE * free_bytes(self._inputs):
                return

    def least_seconds(self) -> float:
        """What a row takes in the best batch, infinite where none was tried."""
        return min(self._seconds.values(), default=math.inf)

    def best(self, usual: int) -> int:
        """The best batch, or the usual one where nothing can be said."""
        return best_of(self._seconds) if len(self._seconds) > 1 else usual

    def _spent_seconds(self, rows: int) -> float:
        """What was spent, and is about to be on a batch of so many rows; 0 before the first."""
        if not self._seconds:
            return 0.0
        batches = {**self._seconds, rows: self._seconds[self._last]}
        return (1 + PROBES) * sum(rows * seconds for rows, seconds in batches.items())

    def _measure(self, rows: int) -> tuple[float, float]:
        """Seconds a row of a batch of so many, and bytes of a CUDA device that it takes a row."""
        # What other processes take of a processor does not count, as it would by the wall's clock.
        clock = time.perf_counter if is_on_cuda(self._inputs) else time.process_time
        seconds, before = [], taken_bytes(self._inputs)
        for _ in range(1 + PROBES):
            began = clock()
            self._run(rows)
            seconds.append(clock() - began)
        return min(seconds[1:]) / rows, (taken_bytes(self._inputs, at_most=True) - before) / rows


def best_of(seconds: Mapping[int, float]) -> int:
    """The fewest rows in which a row takes hardly more time than in any other batch, of seconds a row by rows.

    >>> best_of({64: 2.0, 128: 2.5, 32: 2.01, 16: 3.0})
    32
    """
    least = min(seconds.values())
    return min(rows for rows, each in seconds.items() if each * (1.0 - CLOSE) <= least)


def _candidates(rows: int) -> Iterator[int]:
    """Sizes to try: so many rows, halved as often as leaves enough, then doubled again and again.

    >>> from itertools import islice
    >>> list(islice(_candidates(70), 5))
    [18, 35, 70, 140, 280]
    """
    halvings = max(0, math.ceil(math.log2(rows / FEWEST_ROWS)) - 1)
    for exponent in range(halvings, 0, -1):
        yield -(-rows // 2**exponent)
    while True:
        yield rows
        rows *= 2
