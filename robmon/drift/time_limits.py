"""What a detector measures against, fixed with the baseline: its statistics, their limits, where these come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from robmon.drift.blocks import Block, hour_blocks, row_blocks, whole_law
from robmon.drift.hourly import HourlyErrors, Score, check_score, checked_errors, checked_hours
from robmon.drift.limit import Limit, limits_of
from robmon.drift.log_histogram import whole
from robmon.drift.power import Power, worst_hour_ratio
from robmon.drift.statistic import Flips, Statistic, squared_change_statistics
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.vocabulary import MOST_HOURS

TOLERANCE_OF_A_WEEK: Final = 0.10
TOLERANCE_OF_LESS: Final = 0.25


@dataclass(frozen=True, eq=False)
class TimeLimits:
    """The limits of every statistic, and the baseline they come from.

    Attributes:
        score: what errors are, `mse` or `flips`.
        each: one limit a statistic: of squared changes two, or three where few of the errors count; of flips one.
        tolerance: a rise of the worst hour that is no regression.
        span_hours, rows: of the baseline.
        block_hours: how many hours the longest "hour" of the baseline has; above 1 where hours of fewer than 256 rows
            were joined.
        worst_hour: the worst hour, by the first statistic; where hours were joined the first of them.
        worst_hour_ratio: by how much the errors of the median hour would have to rise to make it the worst hour.
        power: what can be seen, and how soon.
        notes: sentences on what was deduced.
    """

    score: Score
    each: tuple[Limit, ...]
    tolerance: float
    span_hours: int
    rows: int
    block_hours: int
    worst_hour: int
    worst_hour_ratio: float
    power: Power
    notes: tuple[str, ...]

    @classmethod
    def of_rows(
        cls, row_errors: ArrayLike, hours: ArrayLike | None, score: Score | None, tolerance: float | None
    ) -> TimeLimits:
        """From a baseline's row errors, `(n, T)`, and the hours they arrived in, `(n,)`.

        Raises:
            InvalidInputError: no limit can be made of them.
        """
        if hours is None:
            raise InvalidInputError(
                "rows without hours give scales and a curve, never a limit in time: say in hours when each row arrived"
            )
        check_score(score or "mse")
        errors, at = checked_errors(row_errors, score or "mse"), checked_hours(hours)
        if len(at) != len(errors):
            raise InvalidInputError(f"{len(at)} hours do not fit {len(errors)} rows of errors")
        notes: list[str] = []
        if score is None and bool(np.isin(errors, (0.0, 1.0)).all()):
            score, notes = "flips", ["every error of the baseline is 0 or 1: they are taken as flips"]
        errors = np.where(np.isnan(errors), np.inf, errors)
        law = np.sort(errors, axis=None)
        return cls._of_blocks(row_blocks(errors, at), (law, np.ones(len(law))), score or "mse", tolerance, notes)

    @classmethod
    def of_hours(cls, hourly: HourlyErrors, tolerance: float | None) -> TimeLimits:
        """From the histograms by hour that were kept of a baseline.

        Raises:
            InvalidInputError: no limit can be made of them.
        """
        blocks = hour_blocks(hourly)
        law = whole_law(hour.errors for hour in hourly.hours.values())
        return cls._of_blocks(blocks, law, hourly.score, tolerance, [])

    @classmethod
    @np.errstate(over="ignore")  # errors near the largest number there is are infinite when scaled, and so the worst
    def _of_blocks(
        cls,
        blocks: Sequence[Block],
        law: tuple[Float64, Float64],
        score: Score,
        tolerance: float | None,
        notes: list[str],
    ) -> TimeLimits:
        span = blocks[-1].last_hour - blocks[0].first_hour + 1
        if tolerance is None:
            tolerance = TOLERANCE_OF_A_WEEK if span >= MOST_HOURS else TOLERANCE_OF_LESS
        tolerance = above_zero(tolerance, "tolerance", or_zero=True)
        statistics: Sequence[Statistic] = (Flips(),) if score == "flips" else squared_change_statistics(*law)
        limits, worst = limits_of(blocks, statistics, tolerance)
        longest = max(block.last_hour - block.first_hour + 1 for block in blocks)
        if longest > 1:
            notes.append(f"hours with fewer than 256 rows were joined: the longest has {longest} hours")
        return cls(
            score=score,
            each=tuple(limits),
            tolerance=tolerance,
            span_hours=span,
            rows=sum(block.rows for block in blocks),
            block_hours=longest,
            worst_hour=worst.first_hour,
            worst_hour_ratio=worst_hour_ratio(blocks, limits[0].statistic),
            power=Power.of(limits, worst),
            notes=tuple(notes),
        )

    @property
    def means(self) -> Float64:
        """Shape `(statistics,)`."""
        return np.array([limit.mean for limit in self.each])

    def values(self, errors: Float64) -> Float64:
        """Each row's mean of each statistic over trials, `(m, statistics)`, of errors `(m, T)`; NaN is the worst."""
        worst = np.where(np.isnan(errors), np.inf, errors)
        return np.stack([limit.row_means(worst) for limit in self.each], axis=1)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, every number to the bit."""
        return {
            "score": self.score,
            "each": [limit.to_dict() for limit in self.each],
            "tolerance": self.tolerance,
            "span_hours": self.span_hours,
            "rows": self.rows,
            "block_hours": self.block_hours,
            "worst_hour": self.worst_hour,
            "worst_hour_ratio": self.worst_hour_ratio.hex(),
            "power": self.power.to_list(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Any) -> TimeLimits:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError, KeyError, TypeError, ValueError: it is no such dictionary.
        """
        if not isinstance(data, Mapping) or not 1 <= len(data["each"]) <= 3:
            raise InvalidInputError("the limits of a detector must be a dictionary with one to three of them")
        each = tuple(Limit.from_dict(limit) for limit in data["each"])
        score: Score = "flips" if isinstance(each[0].statistic, Flips) else "mse"
        if data["score"] != score:
            raise InvalidInputError("the limits of a detector are damaged: score and statistics do not fit")
        return cls(
            score=score,
            each=each,
            tolerance=above_zero(data["tolerance"], "tolerance", or_zero=True),
            span_hours=whole(data["span_hours"], "span_hours"),
            rows=whole(data["rows"], "rows"),
            block_hours=whole(data["block_hours"], "block_hours"),
            worst_hour=whole(data["worst_hour"], "worst_hour"),
            worst_hour_ratio=float.fromhex(data["worst_hour_ratio"]),
            power=Power.from_list(data["power"], len(each)),
            notes=tuple(str(note) for note in data["notes"]),
        )


def above_zero(value: float, name: str, *, or_zero: bool = False) -> float:
    """A finite number above 0, or at least 0.

    Raises:
        InvalidInputError: it is none.
    """
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0.0 or (value == 0.0 and not or_zero):
        least = "of at least" if or_zero else "above"
        raise InvalidInputError(f"{name} must be a finite number {least} 0, not {value!r}")
    return float(value)
