"""What the detector adds up: numbers between 0 and 1 that rise with a row's error, fixed with the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

KEPT_SHARE: Final = 0.9
"""Share of the baseline's mean error that clipping must leave."""
INNER: Final = (0.05, 0.95)
"""Quantiles of the positive errors that the logarithmic statistic puts at 0.25 and 0.75."""
OUTER: Final = (0.5, 0.95)
"""Quantiles of the errors that count at which the statistic of their size is 0 and 1."""
NEGLIGIBLE: Final = 1e-4
"""Share of the sum of all errors: the smallest ones that make up no more do not count for it."""
FEWEST_IDLE: Final = 0.5
"""Share of errors that do not count, from which on the size of those that do is a statistic of its own."""
NARROWEST: Final = 1e-3
"""Least distance of their logarithms: errors that are all alike have none."""


@dataclass(frozen=True)
class Clip:
    """`min(e / point, 1)`: sees what moves the mean, without letting single rows rule it."""

    point: float

    def value(self, errors: Float64) -> Float64:
        """The statistic of errors of any shape, at least 0 or infinite."""
        with np.errstate(over="ignore"):
            return np.minimum(errors / self.point, 1.0)

    def wider(self) -> Clip:
        """The same with twice the range."""
        return Clip(2.0 * self.point)


@dataclass(frozen=True)
class Log:
    """`clamp(0.25 + 0.5 (ln e - low) / width, 0, 1)`, 0 for no error: sees many small errors beside few large ones."""

    low: float
    width: float

    def value(self, errors: Float64) -> Float64:
        """The statistic of errors of any shape, at least 0 or infinite."""
        with np.errstate(divide="ignore"):
            return np.clip(0.25 + 0.5 * (np.log(errors) - self.low) / self.width, 0.0, 1.0)

    def wider(self) -> Log:
        """The same with twice the range."""
        return Log(self.low, 2.0 * self.width)


@dataclass(frozen=True)
class Size:
    """`clamp((ln e - low) / width, 0, 1)` of the errors that count, those above `least`; the others say nothing.

    Where few rows carry all the error, how many of them a sample has rules the other statistics. What rows have that
    hardly move at all, exact zeros or rounding, is `neutral` here: the limit itself, so that no bet is won or lost by
    it. The promise is then one on `E[(X - limit) 1{e > least}]`: that errors, where there are any, are no larger.
    """

    least: float
    low: float
    width: float
    neutral: float = 0.0

    def value(self, errors: Float64) -> Float64:
        """The statistic of errors of any shape, at least 0 or infinite."""
        with np.errstate(divide="ignore"):
            sizes = np.clip((np.log(errors) - self.low) / self.width, 0.0, 1.0)
        return np.where(errors > self.least, sizes, self.neutral)

    def wider(self) -> Size:
        """The same with twice the range."""
        return Size(self.least, self.low, 2.0 * self.width)

    def with_neutral(self, neutral: float) -> Size:
        """The same where what does not count is that."""
        return replace(self, neutral=neutral)


@dataclass(frozen=True)
class Flips:
    """The share of flips itself. A ratio multiplies it, above 1 too, so that a tolerance is one of the share."""

    def value(self, errors: Float64) -> Float64:
        """The statistic of shares of any shape; what is not finite counts as flipped."""
        return np.where(np.isinf(errors), 1.0, errors)

    def wider(self) -> None:
        """There is no room above 1."""


Statistic = Clip | Log | Size | Flips
_KINDS: Final[dict[str, type[Statistic]]] = {"clip": Clip, "log": Log, "size": Size, "flips": Flips}


def squared_change_statistics(values: Float64, counts: Float64) -> tuple[Statistic, ...]:
    """The statistics of squared changes, from the errors of a whole baseline: `Clip`, `Log` and, where many, `Size`.

    The clip point is the smallest c that keeps `mean min(e, c) >= 0.9 mean e`. `Size` is among them where half of
    the errors or more are 0, or make up no more than a ten-thousandth of the sum of all.

    Args:
        values: shape `(bins,)`, errors, rising; those that are not finite are left out.
        counts: shape `(bins,)`, how often each occurs.

    Raises:
        InvalidInputError: no error is above 0 and finite.
    """
    counted = np.isfinite(values) & (values > 0.0)
    errors, often = values[counted], counts[counted].astype(np.float64)
    if not len(errors):
        raise InvalidInputError(
            "a limit in time needs errors above 0: the baseline's are all 0 or not finite, so nothing moves at this "
            "level, and no change could be measured against it; a higher level (assess.levels) may move it"
        )
    both = Clip(_clip_point(errors, often)), _log(errors, often)
    size = _size(errors, often, float(counts[values == 0.0].sum()))
    return both if size is None else (*both, size)


def _clip_point(errors: Float64, counts: Float64) -> float:
    scale = errors[-1]  # sums of errors near the largest number there is would be infinite
    below = np.cumsum(errors / scale * counts)
    above = counts.sum() - np.cumsum(counts)
    kept = below + errors / scale * above
    first = int(np.searchsorted(kept, KEPT_SHARE * below[-1]))
    before = below[first] - errors[first] / scale * counts[first]
    return float(scale * ((KEPT_SHARE * below[-1] - before) / (above[first] + counts[first])))


def _log(errors: Float64, counts: Float64) -> Log:
    shares = np.cumsum(counts) / counts.sum()
    low, high = (math.log(errors[min(int(np.searchsorted(shares, q)), len(errors) - 1)]) for q in INNER)
    return Log(low, max(high - low, NARROWEST))


def _size(errors: Float64, counts: Float64, zeros: float) -> Size | None:
    scale = errors[-1]
    sums = np.cumsum(errors / scale * counts)
    below = sums <= NEGLIGIBLE * sums[-1]
    idle = zeros + float(counts[below].sum())
    if idle < FEWEST_IDLE * (zeros + counts.sum()):
        return None
    larger, often = errors[~below], counts[~below]
    least = float(errors[below][-1]) if bool(below.any()) else 0.0
    shares = np.cumsum(often) / often.sum()
    low, high = (math.log(larger[min(int(np.searchsorted(shares, q)), len(larger) - 1)]) for q in OUTER)
    return Size(least, low, max(high - low, NARROWEST))


def statistic_to_dict(statistic: Statistic) -> dict[str, Any]:
    """JSON-able."""
    return {"kind": type(statistic).__name__.lower(), **asdict(statistic)}


def statistic_from_dict(data: Any) -> Statistic:
    """Inverse of `statistic_to_dict`.

    Raises:
        InvalidInputError: it is no such dictionary.
    """
    kind = _KINDS.get(data.get("kind", "")) if isinstance(data, Mapping) else None
    given = {name: value for name, value in data.items() if name != "kind"} if kind else {}
    if kind is None or given.keys() != kind.__annotations__.keys() or not all(map(_is_number, given.values())):
        raise InvalidInputError(f"a statistic of the detector is damaged: {data!r:.100}")
    if min(given.get("least", 0.0), given.get("neutral", 0.0)) < 0.0 or any(
        value <= 0.0 for name, value in given.items() if name in ("point", "width")
    ):
        raise InvalidInputError("a statistic of the detector is damaged: its range is not above 0")
    return kind(**given)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
