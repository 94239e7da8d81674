"""The limit in time: the mean of a statistic in a baseline's worst hour, tolerance and standard error included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from robmon.drift.blocks import Block
from robmon.drift.statistic import Statistic, statistic_from_dict, statistic_to_dict
from robmon.errors import InvalidInputError

STANDARD_ERRORS: Final = 2.33
LEAST_CHANCE: Final = 0.01
"""What 2.33 standard errors leave on one side: none seen in n rows allows a share of `1 - 0.01 ** (1 / n)`."""
HIGHEST: Final = 0.97
"""A limit above this leaves a statistic, which ends at 1, no room to rise."""
MOST_DOUBLINGS: Final = 64


def limits_of(blocks: Sequence[Block], statistics: Sequence[Statistic], tolerance: float) -> tuple[list[Limit], Block]:
    """The limit of each statistic, and the worst hour by the first of them.

    A limit is the largest mean of the statistic in an hour, of `(1 + tolerance)` times the errors, and 2.33 standard
    errors. Where that is above 0.97, the statistic's range is doubled until it is not: a limit cut down to 0.97 would
    lie below the mean of unchanged traffic.

    Raises:
        InvalidInputError: there is no room, because nearly every trial flips, or nearly every error is not finite.
    """
    found = [_with_room(blocks, statistic, tolerance) for statistic in statistics]
    return [Limit(statistic, mean) for statistic, mean, _ in found], found[0][2]


def _with_room(blocks: Sequence[Block], statistic: Statistic, tolerance: float) -> tuple[Statistic, float, Block]:
    tried: Statistic | None = statistic
    for _ in range(MOST_DOUBLINGS):
        if tried is None:
            break
        every = [block.moments(tried, 1.0 + tolerance) for block in blocks]
        worst = int(np.argmax([mean for mean, _ in every]))
        limit = upper_limit(*every[worst], blocks[worst].rows)
        if limit <= HIGHEST:
            return tried, limit, blocks[worst]
        tried = tried.wider()
    raise InvalidInputError(
        "a limit in time has no room: in the baseline's worst hour nearly every trial flips, or nearly every error is "
        "not finite; a lower level (assess.levels) may leave some"
    )


def upper_limit(mean: float, variance: float, rows: int) -> float:
    """Mean of an hour and 2.33 standard errors over its rows; at least what rows without any error allow.

    >>> round(upper_limit(0.25, 0.04, 400), 4), round(upper_limit(0.0, 0.0, 256), 4)
    (0.2733, 0.0178)
    """
    least = 1.0 - math.exp(math.log(LEAST_CHANCE) / rows)
    return max(mean + STANDARD_ERRORS * math.sqrt(variance / rows), least)


@dataclass(frozen=True)
class Limit:
    """What the mean of a statistic may be: between 0 and 0.97."""

    statistic: Statistic
    mean: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, every number to the bit."""
        return {"statistic": statistic_to_dict(self.statistic), "mean": self.mean}

    @classmethod
    def from_dict(cls, data: Any) -> Limit:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: it is no such dictionary.
        """
        mean = data.get("mean") if isinstance(data, Mapping) else None
        if not isinstance(mean, float) or not 0.0 < mean <= HIGHEST:
            raise InvalidInputError("a limit of the detector is damaged: it must lie between 0 and 0.97")
        return cls(statistic_from_dict(data.get("statistic")), mean)
