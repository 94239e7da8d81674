"""Errors of a baseline by the hour they arrived in: what a limit in time is made of, small enough to be sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robmon.drift.log_histogram import LogHistogram, whole
from robmon.drift.trial_pairs import TrialPairs
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64, numbers
from robmon.vocabulary import FEWEST_HOURS, MOST_HOURS

FEWEST_ROWS: Final = 256
"""Rows in one hour that a limit can rest on; consecutive hours with fewer are joined."""

Score = Literal["mse", "flips"]
"""What an error is: a squared change, which a ratio multiplies, or a share of flips, which it makes more frequent."""


@dataclass(frozen=True, eq=False)
class Hour:
    """Errors of one hour: how many rows they are of, and the histogram of all their trials."""

    rows: int
    errors: LogHistogram

    def merged(self, other: Hour) -> Hour:
        """Errors of both."""
        return Hour(self.rows + other.rows, self.errors.merged(other.errors))


class HourlyErrors:
    """Row errors at the primary level by absolute hour: the newest 168 hours in which rows arrived.

    For each hour it holds the number of rows and a histogram of errors over rows and trials, in fixed logarithmic bins
    (19 %, zeros and non-finite errors apart; the hour's mean is exact), and over all hours how alike two trials of a
    row are, which the standard error of an hour needs. No single error is kept, and nothing of a production input. As
    JSON it takes 147 kB for 168 hours of errors that spread over 40 octaves (39 kB when compressed), and at most 1.2
    MB.

    The pairs of trials are those of all rows ever added, also of hours dropped since.

    >>> import numpy as np
    >>> hourly = HourlyErrors()
    >>> hourly.add(np.array([480000, 480000, 480023]), np.array([[0.5, 1.0], [0.0, 2.0], [4.0, 4.0]]))
    >>> hourly.rows, hourly.span_hours, hourly.is_sufficient
    (3, 24, False)
    """

    def __init__(self, score: Score = "mse") -> None:
        """No rows yet.

        Args:
            score: `mse` for errors of any size, `flips` for shares of changed classes, 0 to 1.

        Raises:
            InvalidInputError: the score is not known.
        """
        check_score(score)
        self.score: Score = score
        self.hours: dict[int, Hour] = {}
        self.pairs = TrialPairs.none()

    def add(self, hours: ArrayLike, row_errors: ArrayLike) -> None:
        """Count more rows, each of which must be new: neither topped up nor from a request already counted.

        Args:
            hours: shape `(n,)`, whole numbers, the hour in which each row arrived: `int(unix_time // 3600)`.
            row_errors: shape `(n, T)`, its errors by trial; infinite and NaN count as the worst.

        Raises:
            InvalidInputError: shapes do not match, hours are not whole numbers, or errors are negative.
        """
        errors, at = checked_errors(row_errors, self.score), checked_hours(hours)
        if len(at) != len(errors):
            raise InvalidInputError(f"{len(at)} hours do not fit {len(errors)} rows of errors")
        if not len(errors):
            return
        for hour in np.unique(at).tolist():
            rows = errors[at == hour]
            self._put(hour, Hour(len(rows), LogHistogram.of(rows)))
        self.pairs = self.pairs.merged(TrialPairs.of(errors))

    def _put(self, hour: int, errors: Hour) -> None:
        known = self.hours.get(hour)
        self.hours[hour] = known.merged(errors) if known else errors
        if len(self.hours) > MOST_HOURS:
            del self.hours[min(self.hours)]

    @property
    def rows(self) -> int:
        """Rows in all hours."""
        return sum(hour.rows for hour in self.hours.values())

    @property
    def span_hours(self) -> int:
        """Number of hours from the first to the last, both included; 0 without rows."""
        return max(self.hours) - min(self.hours) + 1 if self.hours else 0

    @property
    def is_sufficient(self) -> bool:
        """Whether a limit over time can be computed: 24 hours are spanned, and there are at least 256 rows."""
        return self.span_hours >= FEWEST_HOURS and self.rows >= FEWEST_ROWS

    def merged(self, other: HourlyErrors) -> HourlyErrors:
        """Rows of both, by hour: for pods that saw different requests.

        Raises:
            InvalidInputError: the errors of the two are of different kinds.
        """
        if other.score != self.score:
            raise InvalidInputError(f"hours of {self.score} and of {other.score} cannot be merged")
        result = self._with(self.hours, self.pairs.merged(other.pairs))
        for hour in sorted(other.hours, reverse=True):
            result._put(hour, other.hours[hour])
        return result

    def without_hour(self, hour: int) -> HourlyErrors:
        """All hours but one that was not normal.

        Raises:
            InvalidInputError: that hour has no rows.
        """
        if hour not in self.hours:
            raise InvalidInputError(f"hour {hour} is not among the {len(self.hours)} hours of the baseline")
        return self._with({at: errors for at, errors in self.hours.items() if at != hour}, self.pairs)

    def scaled(self, ratio: float) -> HourlyErrors:
        """The hours of a version whose errors are `ratio` times these: what a version inherits from the one before.

        Squared changes are multiplied; flips become more frequent, up to all.

        Args:
            ratio: above 0: the upper limit of the pooled ratio of the two versions, or of the product of several.

        Raises:
            InvalidInputError: the ratio is not finite or not above 0.
        """
        if not (math.isfinite(ratio) and ratio > 0.0):
            raise InvalidInputError(f"errors can be scaled by a finite ratio above 0, not by {ratio!r}")
        if self.score == "flips":
            hours = {at: Hour(hour.rows, hour.errors.more_frequent(ratio)) for at, hour in self.hours.items()}
            return self._with(hours, self.pairs)
        hours = {at: Hour(hour.rows, hour.errors.scaled(ratio)) for at, hour in self.hours.items()}
        return self._with(hours, self.pairs.scaled(ratio))

    def _with(self, hours: Mapping[int, Hour], pairs: TrialPairs) -> HourlyErrors:
        result = HourlyErrors(self.score)
        result.hours, result.pairs = dict(hours), pairs
        return result

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        hours = [
            {"hour": at, "rows": self.hours[at].rows, **self.hours[at].errors.to_dict()} for at in sorted(self.hours)
        ]
        return {"score": self.score, "hours": hours, "pairs": self.pairs.to_dict()}

    @classmethod
    def from_dict(cls, data: Any) -> HourlyErrors:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: it is no such dictionary.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("hours"), list):
            raise InvalidInputError("hours of errors must be a dictionary with a list of hours")
        if not all(isinstance(entry, Mapping) for entry in [*data["hours"], data.get("pairs")]):
            raise InvalidInputError("hours of errors are damaged: hours and pairs must be dictionaries")
        result = cls(data.get("score", ""))
        result.pairs = TrialPairs.from_dict(data["pairs"])
        for entry in data["hours"]:
            at, rows = whole(entry.get("hour"), "hour"), whole(entry.get("rows"), "rows")
            errors = LogHistogram.from_dict(entry)
            if at in result.hours or not 0 < rows <= errors.entries:
                raise InvalidInputError(f"hours of errors are damaged: hour {at} comes twice, or has no rows")
            result._put(at, Hour(rows, errors))
        return result


def check_score(score: str) -> None:
    """Refuse what is no score."""
    if score not in get_args(Score):
        raise InvalidInputError(f"score {score!r} is not known: it is one of {', '.join(get_args(Score))}")


def checked_errors(row_errors: ArrayLike, score: Score) -> Float64:
    """Errors as a caller gives them, shape `(n, T)`.

    Raises:
        InvalidInputError: they have another shape, or are not what the score says they are.
    """
    errors = numbers(row_errors, "row errors")
    if errors.ndim != 2 or (len(errors) and not errors.shape[1]):
        raise InvalidInputError(f"row errors must have shape (rows, trials), not {errors.shape}")
    if bool(np.any(errors < 0.0)):
        raise InvalidInputError("row errors must be at least 0")
    if score == "flips" and bool(np.any(errors[np.isfinite(errors)] > 1.0)):
        raise InvalidInputError("row errors that are flips must be at most 1; for squared changes say score='mse'")
    return errors


def checked_hours(hours: ArrayLike) -> NDArray[np.int64]:
    """Hours as a caller gives them, shape `(n,)`.

    Raises:
        InvalidInputError: they have another shape, or are no whole numbers.
    """
    given = np.asarray(hours)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise InvalidInputError("hours must be one row of whole numbers, int(unix_time // 3600) of each row's arrival")
    return given.astype(np.int64)
