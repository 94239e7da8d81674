"""The share of time for which an assessment keeps a device busy."""

from __future__ import annotations

import time
from collections.abc import Callable

from robmon.robustness.arrays import Array, wait_for


class Pace:
    """Rests after every batch for as long as the share of time asks.

    Args:
        duty_cycle: the share of time that is worked, above 0, at most 1; None: all of it, and nothing is waited for.
        clock, sleep: seconds, and how to wait for some.

    >>> rests = []
    >>> pace = Pace(0.2, clock=iter([0.0, 3.0, 15.0]).__next__, sleep=rests.append)
    >>> pace.rest(None), rests
    (None, [12.0])
    """

    def __init__(
        self,
        duty_cycle: float | None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._duty_cycle, self._clock, self._sleep = duty_cycle, clock, sleep
        self._began = 0.0 if duty_cycle is None else clock()

    def rest(self, outputs: Array) -> None:
        """Wait until the device has made the outputs, and then as long as the work since the last rest asks for."""
        if self._duty_cycle is None:
            return
        wait_for(outputs)
        self._sleep((self._clock() - self._began) * (1.0 / self._duty_cycle - 1.0))
        self._began = self._clock()
