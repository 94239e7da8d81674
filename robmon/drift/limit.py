"""The limit in time: the mean of a statistic in a baseline's worst hour, tolerance and standard error included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from robmon.drift.blocks import Block
from robmon.drift.statistic import Size, Statistic, statistic_from_dict, statistic_to_dict
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

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
    lie below the mean of unchanged traffic. A size of errors that has no room even so is left out.

    Raises:
        InvalidInputError: there is no room, because nearly every trial flips, or nearly every error is not finite.
    """
    limits: list[Limit] = []
    worst_hour = blocks[0]
    for statistic in statistics:
        found = _with_room(blocks, statistic, tolerance)
        if found is not None:
            limits.append(found[0])
            worst_hour = found[1] if len(limits) == 1 else worst_hour
        elif not isinstance(statistic, Size):
            raise InvalidInputError(
                "a limit in time has no room: in the baseline's worst hour nearly every trial flips, or nearly every "
                "error is not finite; a lower level (assess.levels) may leave some"
            )
    return limits, worst_hour


def _with_room(blocks: Sequence[Block], statistic: Statistic, tolerance: float) -> tuple[Limit, Block] | None:
    tried: Statistic | None = statistic
    for _ in range(MOST_DOUBLINGS):
        if tried is None:
            break
        mean, worst = _limit_of(blocks, tried, 1.0 + tolerance)
        if mean <= HIGHEST:
            return Limit.of(tried, mean), worst
        tried = tried.wider()
    return None


def _limit_of(blocks: Sequence[Block], statistic: Statistic, ratio: float) -> tuple[float, Block]:
    if isinstance(statistic, Size):
        return _limit_of_size(blocks, statistic, ratio)
    every = [block.moments(statistic, ratio) for block in blocks]
    worst = int(np.argmax([mean for mean, _ in every]))
    return upper_limit(*every[worst], blocks[worst].rows), blocks[worst]


def _limit_of_size(blocks: Sequence[Block], statistic: Size, ratio: float) -> tuple[float, Block]:
    every = [_of_those_that_count(block, statistic, ratio) for block in blocks]
    worst = int(np.argmax([mean for mean, _, _ in every]))
    return limit_of_size(*every[worst], len(blocks)), blocks[worst]


def limit_of_size(mean: float, error: float, rows: float, hours: int) -> float:
    """The largest mean of the errors that count in an hour, and as many standard errors as the largest may lack.

    The largest of the means of many hours is above its expectation by chance alone, and where few rows count by much.
    The 2.33 standard errors of a single hour leave 1 % on one side; so does the largest of k hours that are all alike
    with `z` of them where `Phi(-z) ** k = 0.01`, which from 7 hours on is none. Where only one of them is that bad, its
    own mean may lie some standard errors above the limit; but an hour whose rows do that d of them is evidence of no
    more than `exp(d ** 2 / 2)`.

    Args:
        mean, error: of the errors that count in the worst hour, and its standard error.
        rows: to which they come.
        hours: of which it is the worst.

    >>> round(limit_of_size(0.3, 0.02, 500.0, 1), 3), round(limit_of_size(0.3, 0.02, 500.0, 24), 3)
    (0.347, 0.3)
    """
    lacking = NormalDist().inv_cdf(1.0 - LEAST_CHANCE ** (1.0 / hours))
    return max(mean + max(lacking, 0.0) * error, _least(rows))


def _of_those_that_count(block: Block, statistic: Size, ratio: float) -> tuple[float, float, float]:
    """Mean and standard error of the errors that count, and how many rows they come to; no mean where none does."""
    low, high = (block.moments(statistic.with_neutral(neutral), ratio)[0] for neutral in (0.0, 1.0))
    share = 1.0 - (high - low)
    if share * block.rows < 0.5:
        return 0.0, 0.0, 1.0
    mean = low / share
    variance = block.moments(statistic.with_neutral(mean), ratio)[1]
    return mean, math.sqrt(variance / block.rows) / share, max(share * block.rows, 1.0)


def upper_limit(mean: float, variance: float, rows: int) -> float:
    """Mean of an hour and 2.33 standard errors over its rows; at least what rows without any error allow.

    >>> round(upper_limit(0.25, 0.04, 400), 4), round(upper_limit(0.0, 0.0, 256), 4)
    (0.2733, 0.0178)
    """
    return max(mean + STANDARD_ERRORS * math.sqrt(variance / rows), _least(rows))


def _least(rows: float) -> float:
    return 1.0 - math.exp(math.log(LEAST_CHANCE) / rows)


@dataclass(frozen=True)
class Limit:
    """What the mean of a statistic may be: between 0 and 0.97."""

    statistic: Statistic
    mean: float

    @classmethod
    def of(cls, statistic: Statistic, mean: float) -> Limit:
        """The same; what does not count for a size of errors is its limit."""
        return cls(statistic.with_neutral(mean) if isinstance(statistic, Size) else statistic, mean)

    def row_means(self, errors: Float64) -> Float64:
        """Each row's mean over its trials, of errors `(m, T)`, none NaN; exactly the limit where none counts."""
        values = self.statistic.value(errors)
        means = np.asarray(values.mean(axis=1))
        return np.where((values == self.mean).all(axis=1), self.mean, means)

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
