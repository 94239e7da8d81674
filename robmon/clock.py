"""Time that never steps. Wall clocks do: when a node's is corrected after its start, by an administrator, by a leap.

Whatever robmon measures of its own (ages, expiries, when something is due) is measured by `now`; Unix seconds of the
wall clock are for what is shown, what is kept beyond this process, and what others told.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

SLEW_SECONDS: Final = 0.05
"""A smaller difference between the two is none: clocks are kept right by small corrections all the time."""

_START: Final = time.time() - time.monotonic()


def now() -> float:
    """Seconds that never step: Unix seconds as they were when this process began, and the time since."""
    return _START + time.monotonic()


def as_shown(at: float) -> float:
    """A time by `now` as the wall clock would tell it at this moment."""
    return at + _difference()


def from_wall(at: float) -> float:
    """A time that others told, such as when a file was changed, as a time by `now`."""
    return at - _difference()


def utc(at: float) -> str:
    """Unix seconds in words, to the minute.

    >>> utc(1795722060.5)
    '2026-11-26 19:41 UTC'
    """
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def utc_hour(hour: int) -> str:
    """An hour of Unix time in words, as `hour_of` reads them.

    >>> utc_hour(498811)
    '2026-11-26T19'
    """
    return f"{datetime.fromtimestamp(hour * 3600, UTC):%Y-%m-%dT%H}"


def hour_of(text: str) -> int:
    """Inverse of `utc_hour`.

    Raises:
        ValueError: that is no hour.

    >>> hour_of("2026-11-26T19")
    498811
    """
    return int(datetime.strptime(f"{text} +0000", "%Y-%m-%dT%H %z").timestamp() // 3600)


def _difference() -> float:
    difference = time.time() - now()
    return difference if abs(difference) > SLEW_SECONDS else 0.0
