"""Whether a model version has become worse than it was in its baseline's worst hour, with a bound on false alarms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from robmon.drift.evidence import (
    FRACTIONS,
    MOST_EVIDENCE,
    advanced,
    advanced_where_told,
    bets_above,
    bets_below,
    clearing_evidence,
    log_factors,
    mean_evidence,
    nothing,
)
from robmon.drift.hourly import FEWEST_ROWS, HourlyErrors, Score, checked_errors
from robmon.drift.log_histogram import whole
from robmon.drift.time_limits import TimeLimits, above_zero
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.vocabulary import detection_threshold

CLEAR_EVIDENCE: Final = 60.0
FORMAT: Final = 1


class RegressionDetector:
    """Detects that a model version has become worse over time, with a bound on false alarms however long it watches.

    After each assessment it holds the evidence M that row errors lie above the limit m: their mean in the worst hour of
    a baseline that spans at least a day, times `1 + tolerance`, plus 2.33 standard errors. The error of a row enters as
    X, the mean over trials of a number between 0 and 1. There are separate bets on `min(e/c, 1)` and on ln e between
    two quantiles and, where half of the errors or more are next to nothing, on the size of the others too; flips enter
    as their share. For every row the evidence of each of K bets is raised by 1 and multiplied by `1 + lambda (X - m)`;
    M is the mean over bets. An alarm stands from the assessment at which M reaches the threshold,
    `30 days / interval_seconds / false_alarms_per_month`.

    Promise: `E[alarms in H assessments] <= H / threshold` as long as the conditional mean of X stays at or below m
    (Shin, Ramdas & Rinaldo, NEJSDS 2024). That traffic keeps to its worst hour is an assumption: six kinds of traffic
    were simulated (docs/evidence/detection.md).

    An alarm stands until bets in the opposite direction hold evidence of `clear_evidence` that each statistic is below
    its limit; then both start again from 0. Until then M goes on, each bet's up to 1e12.

    The caller must see to it that rows are fresh, from the primary level and noise only, and that each counts once (a
    row topped up from an earlier sample, or from a request already counted, must be left out); several rows of one
    request must be passed as their mean.

    Attributes:
        limits: what errors are measured against: limits, tolerance, worst hour, how long its "hour" is, notes on what
            was deduced.
        threshold: evidence at which an alarm begins: the mean number of assessments between two false alarms.
        clear_evidence: evidence of the opposite at which it ends.
        standing: whether an alarm stands.
        since_update: number of the update that began it, from 1; None where none stands.
        updates: number of updates that brought at least one row.
        rows_seen: rows in all of them.

    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> detector = RegressionDetector(generator.exponential(size=(6144, 4)), np.repeat(np.arange(24), 256))
    >>> detector.update(generator.exponential(size=(256, 4))) < detector.threshold
    True
    >>> detector.delay(2.5), detector.update(2.5 * generator.exponential(size=(256, 4))) > detector.threshold
    ((1.0, 256.0), True)
    >>> detector.standing, detector.since_update
    (True, 2)
    """

    def __init__(
        self,
        row_errors: ArrayLike,
        hours: ArrayLike | None,
        *,
        false_alarms_per_month: float = 1.0,
        interval_seconds: float = 60,
        tolerance: float | None = None,
        score: Score | None = None,
        clear_evidence: float = CLEAR_EVIDENCE,
    ) -> None:
        """A detector that has seen nothing yet.

        Args:
            row_errors: shape `(n, T)`, errors of the baseline's rows by trial, in any one unit; infinite and NaN count
                as the worst.
            hours: shape `(n,)`, whole numbers: the hour in which each row arrived.
            false_alarms_per_month: how many false alarms in 30 days are allowed on average.
            interval_seconds: between two assessments.
            tolerance: how much worse than the worst hour is not yet a regression; None: 0.10 where the baseline spans
                168 hours, else 0.25.
            score: what errors are, `mse` (squared changes) or `flips` (shares of changed classes, 0 to 1; a single
                statistic). None: `flips` where every error is 0 or 1 (`limits.notes` says so), else `mse`.
            clear_evidence: evidence of the opposite at which an alarm ends.

        Raises:
            InvalidInputError: there are no hours or fewer than 24, or fewer than 256 rows; no error is above 0; or a
                number is out of range.
        """
        limits = TimeLimits.of_rows(row_errors, hours, score, tolerance)
        self._begin(limits, threshold(false_alarms_per_month, interval_seconds), clear_evidence)

    @classmethod
    def of_hours(
        cls,
        hourly: HourlyErrors,
        *,
        false_alarms_per_month: float = 1.0,
        interval_seconds: float = 60,
        tolerance: float | None = None,
        clear_evidence: float = CLEAR_EVIDENCE,
    ) -> RegressionDetector:
        """The same from a baseline of which hourly histograms were kept; these know what their errors are.

        Raises:
            InvalidInputError: as the constructor.
        """
        detector = cls.__new__(cls)
        limits = TimeLimits.of_hours(hourly, tolerance)
        detector._begin(limits, threshold(false_alarms_per_month, interval_seconds), clear_evidence)
        return detector

    def _begin(self, limits: TimeLimits, begins_at: float, clear_evidence: float) -> None:
        self.limits = limits
        self.threshold = begins_at
        self.clear_evidence = _of_evidence(clear_evidence, "clear_evidence")
        self.updates = self.rows_seen = 0
        self._forget()

    def _forget(self) -> None:
        self.standing = False
        self.since_update: int | None = None
        self._log_evidence = self._log_clearing = nothing(len(self.limits.each))

    @property
    def evidence(self) -> float:
        """M: 0 at first, at most 1e12."""
        return float(mean_evidence(self._log_evidence))

    def update(self, row_errors: ArrayLike) -> float:
        """Take the fresh rows of one more assessment, each of which must count for the first time.

        Args:
            row_errors: shape `(m, T)`, in the units of the baseline, with any number T of trials; infinite and NaN
                count as the worst. Without rows nothing changes.

        Returns:
            The evidence.

        Raises:
            InvalidInputError: another shape, or errors that the score does not allow.
        """
        errors = checked_errors(row_errors, self.limits.score)
        if not len(errors):
            return self.evidence
        values, means = self.limits.values(errors), self.limits.means
        self.updates += 1
        self.rows_seen += len(errors)
        self._log_evidence = advanced_where_told(self._log_evidence, log_factors(values, means, bets_above(means)))
        if self.standing:
            self._log_clearing = advanced(self._log_clearing, log_factors(values, means, bets_below(means)))
            if clearing_evidence(self._log_clearing) >= self.clear_evidence:
                self._forget()
        elif self.evidence >= self.threshold:
            self.standing, self.since_update = True, self.updates
        return self.evidence

    def delay(self, ratio: float, *, rows: int | None = None) -> tuple[float, float]:
        """How soon a change to `ratio` times the worst hour's errors will be detected, as predicted.

        It is computed from the errors of that hour, as if rows were independent and the evidence started at 0: accurate
        within a factor of 2 for such rows (docs/evidence/detection.md).

        Args:
            ratio: above 0; for flips, the ratio of their shares.
            rows: fresh rows per assessment; None: as many as updates brought on average, 256 before the first.

        Returns:
            Assessments until detection, and rows in them; both infinite where it is never detected.

        Raises:
            InvalidInputError: a number is out of range.
        """
        each = self._rows(rows)
        assessments = self.limits.power.assessments(above_zero(ratio, "ratio"), self.threshold, each)
        return assessments, assessments * each

    def detectable_ratio(self, within: float, *, rows: int | None = None) -> float:
        """The smallest ratio to the worst hour's errors that is detected within so many assessments; `rows` as in
        `delay`.

        Infinite where none is.

        Raises:
            InvalidInputError: a number is out of range.
        """
        return self.limits.power.smallest_ratio(above_zero(within, "within"), self.threshold, self._rows(rows))

    def _rows(self, rows: int | None) -> int:
        if rows is None:
            return round(self.rows_seen / self.updates) if self.updates else FEWEST_ROWS
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
            raise InvalidInputError(f"rows must be a whole number of at least 1, not {rows!r}")
        return int(rows)

    def to_dict(self) -> dict[str, Any]:
        """The complete state as JSON, every number exact to the bit."""
        return {
            "format": FORMAT,
            "limits": self.limits.to_dict(),
            "threshold": self.threshold,
            "clear_evidence": self.clear_evidence,
            "log_evidence": _hexes(self._log_evidence),
            "log_clearing": _hexes(self._log_clearing),
            "standing": self.standing,
            "since_update": self.since_update,
            "updates": self.updates,
            "rows_seen": self.rows_seen,
        }

    @classmethod
    def from_dict(cls, data: Any) -> RegressionDetector:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: the data is not the state of a detector, or is of another format.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise InvalidInputError(f"the state of a detector must be a dictionary of format {FORMAT}")
        detector = cls.__new__(cls)
        try:
            detector._restore(data)
        except InvalidInputError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidInputError(f"the state of a detector is damaged: {type(error).__name__} in it") from None
        return detector

    def _restore(self, data: Mapping[str, Any]) -> None:
        limits = TimeLimits.from_dict(data["limits"])
        self._begin(limits, _of_evidence(data["threshold"], "the threshold"), data["clear_evidence"])
        self._log_evidence = _from_hexes(data["log_evidence"], len(limits.each))
        self._log_clearing = _from_hexes(data["log_clearing"], len(limits.each))
        since = data["since_update"]
        self.updates, self.standing = whole(data["updates"], "updates"), since is not None
        self.since_update = None if since is None else whole(since, "since_update")
        self.rows_seen = whole(data["rows_seen"], "rows_seen")
        counts_fit = 0 <= (since or 0) <= self.updates <= self.rows_seen
        if data["standing"] != self.standing or not counts_fit or bool(self.rows_seen) != bool(self.updates):
            raise InvalidInputError("the state of a detector is damaged: its counts do not fit")


def threshold(false_alarms_per_month: float, interval_seconds: float) -> float:
    """The evidence at which an alarm begins: how many assessments there are, on average, to one false alarm.

    >>> threshold(1.0, 60)
    43200.0

    Raises:
        InvalidInputError: a number is not above 0, or what follows is out of range.
    """
    allowed = above_zero(false_alarms_per_month, "false_alarms_per_month")
    seconds = above_zero(interval_seconds, "interval_seconds")
    return _of_evidence(detection_threshold(allowed, seconds), "the threshold")


def _of_evidence(value: float, name: str) -> float:
    if not 1.0 < above_zero(value, name) <= MOST_EVIDENCE / 100:
        raise InvalidInputError(f"{name} must lie between 1 and 1e10, it would be {value:g}")
    return float(value)


def _hexes(values: Float64) -> list[list[str]]:
    return [[value.hex() for value in row] for row in values.tolist()]


def _from_hexes(rows: list[list[str]], statistics: int) -> Float64:
    values = np.array([[float.fromhex(value) for value in row] for row in rows], dtype=np.float64)
    if values.shape != (statistics, len(FRACTIONS)) or not bool(np.all(values <= math.log(MOST_EVIDENCE))):
        raise InvalidInputError("the state of a detector is damaged: its evidence has another shape")
    return values
