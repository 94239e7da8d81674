"""How sentences say times, counts and the text of strangers. Imports nothing of robmon."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

MAX_TEXT_CHARACTERS: Final = 300
"""Of a text of others in a sentence."""
SAID_IN_SECONDS: Final = 300
"""A time shorter than so many seconds is said in seconds."""
_UNITS: Final = (
    *((3600, 60, "minute", 1, "second"), (172800, 3600, "hour", 60, "minute")),
    *((864000, 86400, "day", 3600, "hour"),),
)
"""Up to so many seconds a time is said in these two units: their seconds and their names."""


def printable(text: object) -> str:
    """A text of others as one short line that a terminal shows and does not obey: names come from registries.

    >>> printable("a" + chr(27) + "[31m") == "a" + chr(92) + "x1b[31m"
    True
    """
    shown = str(text)[:MAX_TEXT_CHARACTERS]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def counted(count: int, name: str) -> str:
    """So many of a thing.

    >>> counted(1, "hour"), counted(2, "hour")
    ('1 hour', '2 hours')
    """
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def duration(seconds: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """A time as people say it, rounded as one of the modes of `decimal`.

    >>> from decimal import ROUND_CEILING, ROUND_FLOOR
    >>> duration(0.125), duration(64.2), duration(4380.0), duration(8040.0), duration(4e5)
    ('0.125 s', '64.2 s', '1 hour 13 minutes', '2 hours 14 minutes', '4 days 15 hours')
    >>> duration(10.001, ROUND_CEILING), duration(9.999, ROUND_FLOOR), duration(3599.5), duration(1e7)
    ('10.1 s', '9.99 s', '1 hour', '116 days')
    """
    exact = Decimal(repr(float(seconds)))
    if exact < SAID_IN_SECONDS:
        return f"{float(Context(3, rounding).plus(exact)):.6g} s"
    for longest, large, large_name, small, small_name in _UNITS:
        exact = (exact / small).to_integral_value(rounding) * small
        if exact < longest:
            first, rest = divmod(int(exact), large)
            second = f" {counted(rest // small, small_name)}" if rest else ""
            return counted(first, large_name) + second
    return counted(int((exact / 86400).to_integral_value(rounding)), "day")
