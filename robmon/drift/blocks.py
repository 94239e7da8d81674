"""The "hours" of a baseline: consecutive ones joined until they hold enough rows; their errors at hand, or in bins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robmon.drift.hourly import FEWEST_ROWS, Hour, HourlyErrors
from robmon.drift.log_histogram import BINS_PER_OCTAVE, NONFINITE, LogHistogram
from robmon.drift.statistic import Flips, Statistic
from robmon.drift.trial_pairs import TrialPairs
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.vocabulary import FEWEST_HOURS

Law = tuple[Float64, Float64]
"""A distribution: values and their shares."""


class Block(Protocol):
    """Consecutive hours of a baseline that hold enough rows together; usually one."""

    @property
    def first_hour(self) -> int:
        """The first of them."""

    @property
    def last_hour(self) -> int:
        """The last of them."""

    @property
    def rows(self) -> int:
        """Rows in them."""

    def moments(self, statistic: Statistic, ratio: float) -> tuple[float, float]:
        """Mean and variance over rows of a row's mean over its trials, of `ratio` times the errors."""

    def law(self, statistic: Statistic, ratio: float) -> Law:
        """The statistic's distribution over rows, of errors that are `ratio` times as large, or flips as frequent."""


@dataclass(frozen=True, eq=False)
class RowBlock:
    """A block whose row errors are at hand, shape `(n, T)`."""

    first_hour: int
    last_hour: int
    row_errors: Float64

    @property
    def rows(self) -> int:
        """Rows in it."""
        return len(self.row_errors)

    def moments(self, statistic: Statistic, ratio: float) -> tuple[float, float]:
        """Exactly."""
        means = statistic.value(ratio * self.row_errors).mean(axis=1)
        return float(means.mean()), float(means.var(ddof=1))

    def law(self, statistic: Statistic, ratio: float) -> Law:
        """The law of its rows."""
        of_flips = isinstance(statistic, Flips)
        means = statistic.value(self.row_errors if of_flips else ratio * self.row_errors).mean(axis=1)
        law = means, np.full(len(means), 1.0 / len(means))
        return _more_frequent(law, ratio) if of_flips else law


@dataclass(frozen=True, eq=False)
class HourBlock:
    """A block of which bins are known, and how alike trials are."""

    first_hour: int
    last_hour: int
    hour: Hour
    pairs: TrialPairs

    @property
    def rows(self) -> int:
        """Rows in it."""
        return self.hour.rows

    def moments(self, statistic: Statistic, ratio: float) -> tuple[float, float]:
        """Within what bins leave open: the variance of single trials, times what of it rows share."""
        (values, shares), per_trial = self._of_trials(statistic, ratio), self._per_trial()
        mean = float(np.sum(shares * values))
        variance = float(np.sum(shares * (values - mean) ** 2))
        correlation = self.pairs.correlation(lambda given: statistic.value(ratio * given))
        return mean, variance * (per_trial + (1.0 - per_trial) * correlation)

    def law(self, statistic: Statistic, ratio: float) -> Law:
        """The law of other trials' average given one, mixed with single trials: mean and variance are right."""
        at = 1.0 if isinstance(statistic, Flips) else ratio
        values, shares = self._of_trials(statistic, at)
        mean, variance = self.moments(statistic, at)
        averaged = self._averaged(statistic, at, values)
        averaged = np.minimum(averaged * mean / max(float(np.sum(shares * averaged)), 1e-300), 1.0)
        least, most = (float(np.sum(shares * (law - mean) ** 2)) for law in (averaged, values))
        single = min(max((variance - least) / (most - least), 0.0), 1.0) if most > least else 1.0
        law = np.concatenate([averaged, values]), np.concatenate([(1.0 - single) * shares, single * shares])
        return _more_frequent(law, ratio) if isinstance(statistic, Flips) else law

    def _averaged(self, statistic: Statistic, ratio: float, values: Float64) -> Float64:
        """A row's mean over trials, given the bin of one: the others are what they are on average beside such a one."""
        if not len(self.pairs.counts):
            return values
        bins, per_trial = self.hour.errors.bins, self._per_trial()
        octaves = np.where(np.abs(bins) < NONFINITE, np.rint(bins / BINS_PER_OCTAVE).astype(np.int64), bins)
        others = self.pairs.expected(lambda given: statistic.value(ratio * given), octaves)
        return per_trial * values + (1.0 - per_trial) * np.where(np.isnan(others), values, others)

    def _of_trials(self, statistic: Statistic, ratio: float) -> Law:
        errors = self.hour.errors
        return statistic.value(ratio * errors.values), errors.counts / errors.entries

    def _per_trial(self) -> float:
        return self.rows / self.hour.errors.entries


def _more_frequent(law: Law, ratio: float) -> Law:
    """Flips `ratio` times as frequent: rows that flip wholly are mixed in, or rows that do not."""
    values, shares = law
    mean = float(np.sum(shares * values))
    if ratio <= 1.0:
        return np.append(values, 0.0), np.append(ratio * shares, 1.0 - ratio)
    more = min((ratio - 1.0) * mean / (1.0 - mean), 1.0) if mean < 1.0 else 0.0
    return np.append(values, 1.0), np.append((1.0 - more) * shares, more)


def row_blocks(row_errors: Float64, hours: NDArray[np.int64]) -> list[Block]:
    """Blocks of rows whose errors are at hand: shapes `(n, T)` and `(n,)`.

    Raises:
        InvalidInputError: too few hours, or too few rows.
    """
    order = np.argsort(hours, kind="stable")
    known, counts = np.unique(hours, return_counts=True)
    ends = np.cumsum(counts)
    blocks: list[Block] = []
    for first, last in _joined(known.tolist(), counts.tolist()):
        rows = order[ends[first] - counts[first] : ends[last]]
        blocks.append(RowBlock(int(known[first]), int(known[last]), row_errors[rows]))
    return blocks


def hour_blocks(hourly: HourlyErrors) -> list[Block]:
    """Blocks of hours that are kept in bins.

    Raises:
        InvalidInputError: too few hours, or too few rows.
    """
    known = sorted(hourly.hours)
    blocks: list[Block] = []
    for first, last in _joined(known, [hourly.hours[hour].rows for hour in known]):
        joined = hourly.hours[known[first]]
        for hour in known[first + 1 : last + 1]:
            joined = joined.merged(hourly.hours[hour])
        blocks.append(HourBlock(known[first], known[last], joined, hourly.pairs))
    return blocks


def _joined(hours: Sequence[int], rows: Sequence[int]) -> list[tuple[int, int]]:
    """Positions of the first and the last hour of each block: hours are joined until they hold `FEWEST_ROWS`.

    >>> _joined([0, 1, 2, 3, 23], [300, 100, 100, 100, 200])
    [(0, 0), (1, 4)]
    """
    span = hours[-1] - hours[0] + 1 if hours else 0
    if span < FEWEST_HOURS:
        raise InvalidInputError(
            f"a limit in time needs a baseline that spans {FEWEST_HOURS} hours, since traffic has its worst hour in "
            f"every day: this one spans {span}"
        )
    if sum(rows) < FEWEST_ROWS:
        raise InvalidInputError(f"a limit in time needs {FEWEST_ROWS} rows of baseline, there are {sum(rows)}")
    blocks: list[tuple[int, int]] = []
    first = held = 0
    for position, count in enumerate(rows):
        held += count
        if held >= FEWEST_ROWS:
            blocks.append((first, position))
            first, held = position + 1, 0
    if held:  # what is left at the end goes with the block before it
        blocks[-1] = (blocks[-1][0], len(hours) - 1)
    return blocks


def whole_law(histograms: Iterable[LogHistogram]) -> Law:
    """Errors of several histograms together: values, rising, and how often each occurs."""
    values, counts = zip(*((histogram.values, histogram.counts) for histogram in histograms), strict=True)
    joined = np.concatenate(values)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate(counts)[order].astype(np.float64)
