"""Streams of assessments for `detection.py`: laws of traffic, laws of errors, and the detector over many at once.

An assessment is drawn from a pool of simulated ones, whose logarithmic factors were worked out for every level of
the traffic and a grid of limits; the recursion, the bets and the limits are those of `robmon.drift`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from robmon.drift.detector import CLEAR_EVIDENCE
from robmon.drift.evidence import FRACTIONS, advanced, bets_above, bets_below, clearing_evidence, mean_evidence
from robmon.drift.hourly import HourlyErrors, Score
from robmon.drift.limit import limit_of_size, upper_limit
from robmon.drift.statistic import Clip, Flips, Log, Size, Statistic
from robmon.drift.time_limits import TimeLimits

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
ROWS, TRIALS, HOUR, DAY = 256, 39, 60, 1440
MONTH = 43_200
THRESHOLD = 43_200.0
LOWEST, STEP, LEVELS = -0.8, 0.025, 97
"""Logarithms of the levels that are worked out."""
LIMIT_STEP = 0.06


# --- traffic ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traffic:
    """How the level of the errors moves: an autoregressive part of the logarithm, a day, a weekend."""

    name: str
    memory_minutes: float = 0.0
    spread: float = 0.0
    day: float = 0.0
    weekend: float = 0.0


LAWS = (
    Traffic("iid"),
    Traffic("AR 20 minutes", 20.0, 0.10),
    Traffic("AR 8 hours", 480.0, 0.10),
    Traffic("day 20 %", day=0.20),
    Traffic("day and weekend", day=0.20, weekend=0.15),
    Traffic("day and AR 8 hours", 480.0, 0.10, day=0.20),
)


class Walk:
    """The logarithm of the level of several streams of one law by the minute; each begins at its own time of a week."""

    def __init__(self, law: Traffic, streams: int, generator: np.random.Generator) -> None:
        self.law, self.generator = law, generator
        self.minute = generator.integers(0, 7 * DAY, size=streams)
        self.state = generator.normal(size=(streams, 1)) * law.spread

    def next(self, minutes: int) -> Float64:
        """Shape `(streams, minutes)`."""
        at = self.minute[:, None] + np.arange(minutes)
        self.minute = self.minute + minutes
        level = np.log1p(self.law.day * np.sin(2 * np.pi * at / DAY))
        level += np.log1p(self.law.weekend) * (at // DAY % 7 >= 5)
        if self.law.spread:
            kept = np.exp(-1.0 / self.law.memory_minutes)
            news = self.generator.normal(size=at.shape) * self.law.spread * np.sqrt(1 - kept**2)
            moves = lfilter([1.0], [1.0, -kept], news, axis=1, zi=kept * self.state)[0]
            self.state = moves[:, -1:]
            level += moves
        return level


# --- errors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ErrorLaw:
    """Errors of rows and trials. `draw(generator, rows, level)` has shape `(rows, TRIALS)`."""

    name: str
    score: Score
    draw: Callable[[np.random.Generator, int, float], Float64]


def squared(
    spread: float, spikes: float = 1.0, elsewhere: float = 0.0
) -> Callable[[np.random.Generator, int, float], Float64]:
    """Lognormal over rows, a squared normal number over trials; a share of the rows has them, others hardly any."""

    def draw(generator: np.random.Generator, rows: int, level: float) -> Float64:
        of_row = np.exp(spread * generator.normal(size=(rows, 1)))
        scale = level * of_row * np.where(generator.random((rows, 1)) < spikes, 1.0, elsewhere)
        return np.asarray(scale * generator.normal(size=(rows, TRIALS)) ** 2)

    return draw


def flips(generator: np.random.Generator, rows: int, level: float) -> Float64:
    """Every row flips with its own probability, Beta with a mean of 5 % times the level."""
    mean = min(0.05 * level, 0.9)
    return (generator.random((rows, TRIALS)) < generator.beta(mean, 1.0 - mean, size=(rows, 1))).astype(float)


ERRORS = (
    ErrorLaw("MSE, sd 0.5", "mse", squared(0.5)),
    ErrorLaw("MSE, sd 1", "mse", squared(1.0)),
    ErrorLaw("MSE, sd 1.5", "mse", squared(1.5)),
    ErrorLaw("MSE, 5 % of the rows", "mse", squared(1.0, 0.05)),
    ErrorLaw("MSE, 5 % of the rows, alike", "mse", squared(0.0, 0.05)),
    ErrorLaw("MSE, a trace beside 5 %", "mse", squared(1.0, 0.05, 1e-6)),
    ErrorLaw("flips", "flips", flips),
)


@dataclass(frozen=True, eq=False)
class Pool:
    """Simulated assessments of one law of errors.

    Attributes:
        values: shape `(LEVELS, assessments, ROWS, statistics)`, each row's statistics at each level.
        tenth: the same where a tenth of the rows has errors 3.2 times as large.
        counting, tenth_counting: shape `(LEVELS, assessments, ROWS)`, the share of a row's trials that the size of
            errors counts; its values are 0 for the others. None where it is no statistic of this law.
        errors: shape `(LEVELS, assessments)`, mean error.
        rows: shape `(assessments * ROWS, TRIALS)`, errors at a level of 1.
    """

    law: ErrorLaw
    statistics: tuple[Statistic, ...]
    values: NDArray[np.float32]
    tenth: NDArray[np.float32]
    counting: NDArray[np.float32] | None
    tenth_counting: NDArray[np.float32] | None
    errors: Float64
    rows: NDArray[np.float32]

    @classmethod
    def of(cls, law: ErrorLaw, assessments: int, generator: np.random.Generator) -> Pool:
        """Simulated; the statistics are those of a detector on a day of such errors."""
        hourly = HourlyErrors(law.score)
        for hour in range(24):
            hourly.add(np.full(8 * ROWS, hour), law.draw(generator, 8 * ROWS, 1.0))
        statistics = tuple(limit.statistic for limit in TimeLimits.of_hours(hourly, 0.1).each)
        rows = assessments * ROWS
        base = law.draw(generator, rows, 1.0).astype(np.float32)
        worse = np.where(generator.random((rows, 1)) < 0.1, 3.2, 1.0).astype(np.float32)
        shape = (LEVELS, assessments, ROWS, len(statistics))
        values, tenth = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        size = next((statistic for statistic in statistics if isinstance(statistic, Size)), None)
        counting, tenth_counting = (None if size is None else np.empty(shape[:3], dtype=np.float32) for _ in range(2))
        errors = np.empty((LEVELS, assessments))
        for at, level in enumerate(np.exp(LOWEST + STEP * np.arange(LEVELS))):
            if law.score == "flips":
                plain = law.draw(generator, rows, level).astype(np.float32)
                other = np.where(worse > 1.0, law.draw(generator, rows, 3.2 * level).astype(np.float32), plain)
            else:
                plain, other = np.float32(level) * base, np.float32(level) * worse * base
            for where, counts, drawn in ((values, counting, plain), (tenth, tenth_counting, other)):
                means = [_value(statistic, drawn).mean(axis=1) for statistic in statistics]
                where[at] = np.stack(means, axis=1).reshape(shape[1:])
                if counts is not None and size is not None:
                    counts[at] = (drawn > size.least).mean(axis=1).reshape(shape[1:3])
            errors[at] = plain.reshape(assessments, -1).mean(axis=1)
        return cls(law, statistics, values, tenth, counting, tenth_counting, errors, base)


def _value(statistic: Statistic, errors: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `Statistic.value` gives, in single precision, which is five times as fast."""
    if isinstance(statistic, Flips):
        return errors
    if isinstance(statistic, Clip):
        return np.minimum(errors * np.float32(1.0 / statistic.point), np.float32(1.0))
    with np.errstate(divide="ignore"):
        logs = np.log(errors)
    slope, at_low = (0.5, 0.25) if isinstance(statistic, Log) else (1.0, 0.0)
    slope /= statistic.width
    values = np.clip(logs * np.float32(slope) + np.float32(at_low - slope * statistic.low), 0.0, 1.0)
    return values if isinstance(statistic, Log) else np.where(errors > statistic.least, values, np.float32(0.0))


# --- baselines --------------------------------------------------------------------------------------------------------


def limits_of_baselines(
    pool: Pool, walk: Walk, days: int, tolerance: float, generator: np.random.Generator, *, worst: bool = True
) -> Float64:
    """The limits `(streams, statistics)` that baselines of so many days give, of their worst hour or of their mean.

    Hour by hour the rows are those of 60 assessments of the pool.
    """
    scaled = tolerance if pool.law.score == "flips" else 0.0
    means = (1.0 + scaled) * pool.values.mean(axis=2, dtype=np.float64)
    squares = (1.0 + scaled) ** 2 * np.square(pool.values, dtype=np.float64).mean(axis=2)
    counting = None if pool.counting is None else pool.counting.mean(axis=2, dtype=np.float64)
    hours, sizes = [], []
    for _ in range(24 * days):
        level = walk.next(HOUR) + (0.0 if scaled else np.log1p(tolerance))
        at, which = _position(level, generator), generator.integers(0, means.shape[1], size=level.shape)
        mean = means[at, which].mean(axis=1)
        hours.append((mean, squares[at, which].mean(axis=1) - mean**2))
        if counting is not None:
            sizes.append((mean[:, -1], counting[at, which].mean(axis=1)))
    of_mean, of_variance = (np.stack([hour[part] for hour in hours]) for part in (0, 1))  # (hours, streams, statistics)
    if worst:
        place = of_mean.argmax(axis=0)[None]
        at_worst = (np.take_along_axis(of, place, axis=0)[0] for of in (of_mean, of_variance))
        limits = _upper(*at_worst, HOUR * ROWS)
    else:
        limits = _upper(of_mean.mean(axis=0), of_variance.mean(axis=0), 24 * days * HOUR * ROWS)
    if counting is not None:
        limits[:, -1] = _of_size(np.array(sizes), worst)
    return limits


def _of_size(sizes: Float64, worst: bool) -> Float64:
    """The limit of the size of errors, from sums of it and of those that count, shape `(hours, 2, streams)`."""
    if not worst:
        return np.asarray(sizes[:, 0].sum(axis=0) / sizes[:, 1].sum(axis=0))
    means, rows = sizes[:, 0] / sizes[:, 1], HOUR * ROWS * sizes[:, 1].mean(axis=0)
    no_error = 0.0  # to the largest of 24 hours or more none is added
    return np.array([limit_of_size(m, no_error, n, len(means)) for m, n in zip(means.max(axis=0), rows, strict=True)])


def _upper(mean: Float64, variance: Float64, rows: int) -> Float64:
    return np.vectorize(upper_limit)(mean, variance, rows)  # type: ignore[no-any-return]


def _position(level: Float64, generator: np.random.Generator) -> Int64:
    """The grid's level next to each, above or below at random so that the mean is right."""
    at = np.floor((level - LOWEST) / STEP + generator.random(level.shape)).astype(np.int64)
    return np.clip(at, 0, LEVELS - 1)


# --- the detector on many streams -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Factors:
    """Logarithmic factors of the pool's assessments for a grid of limits, forwards and backwards.

    Attributes:
        lowest: shape `(statistics,)`, logarithm of the smallest limit of the grid.
        above, below: a statistic each, shape `(limits, LEVELS, assessments, bets)`.
    """

    lowest: Float64
    above: list[NDArray[np.float32]]
    below: list[NDArray[np.float32]]

    @classmethod
    def of(cls, values: NDArray[np.float32], limits: Float64, counting: NDArray[np.float32] | None = None) -> Factors:
        """For every limit among `limits`, shape `(streams, statistics)`; `counting` is of the last statistic."""
        lowest = np.log(limits.min(axis=0)) - 1e-9
        counts_of_grid = np.ceil((np.log(limits.max(axis=0)) - lowest) / LIMIT_STEP).astype(int) + 1
        above, below = [], []
        for statistic, count in enumerate(counts_of_grid):
            grid = np.exp(lowest[statistic] + LIMIT_STEP * np.arange(count))
            counts = counting if statistic == len(counts_of_grid) - 1 else None
            above.append(_of_bets(values[..., statistic], counts, grid, bets_above(grid)))
            below.append(_of_bets(values[..., statistic], counts, grid, bets_below(grid)))
        return cls(lowest, above, below)

    def places(self, limits: Float64) -> tuple[Int64, NDArray[np.float32]]:
        """For each stream and statistic the limit of the grid below, and how far above it."""
        at = (np.log(limits) - self.lowest) / LIMIT_STEP
        whole = np.floor(at).astype(np.int64)
        return whole, (at - whole).astype(np.float32)

    def look_up(
        self, tables: Sequence[NDArray[np.float32]], places: tuple[Int64, NDArray[np.float32]], at: Int64, which: Int64
    ) -> Float64:
        """Shape `(streams, statistics, bets)`, between two limits of the grid."""
        whole, rest = places
        found = []
        for statistic, table in enumerate(tables):
            low, part = whole[:, statistic], rest[:, statistic, None]
            upper = np.minimum(low + 1, len(table) - 1)
            found.append((1 - part) * table[low, at, which] + part * table[upper, at, which])
        return np.stack(found, axis=1).astype(np.float64)


def _of_bets(
    values: NDArray[np.float32], counting: NDArray[np.float32] | None, grid: Float64, bets: Float64
) -> NDArray[np.float32]:
    """Sums over rows of `ln(1 + lambda (X - m))`, as logarithms of products of 16 rows.

    Where only some of a row's trials count, X is the limit in the others: `X - m` is that of those that count.
    """
    result = np.empty((len(grid), *values.shape[:2], len(FRACTIONS)), dtype=np.float32)
    blocks = values.reshape(*values.shape[:2], ROWS // 16, 16)
    for at, limit in enumerate(grid):
        limits = np.float32(limit) if counting is None else np.float32(limit) * counting.reshape(blocks.shape)
        for bet, size in enumerate(bets[at]):
            products = np.prod(np.float32(size) * (blocks - limits) + np.float32(1.0), axis=-1)
            result[at, :, :, bet] = np.log(products).sum(axis=-1)
    return result


@dataclass
class Outcome:
    """What became of many streams.

    Attributes:
        episodes: shape `(streams,)`, alarms that began.
        standing: shape `(streams,)`, assessments in which one stood.
        first: shape `(streams,)`, the assessment in which the first began, from 1; 0 where none did.
        errors: shape `(minutes, kept)`, mean errors of the first streams, where they were asked for.
        evidence: shape `(minutes, kept)`, likewise.
    """

    episodes: Int64
    standing: Int64
    first: Int64
    errors: list[Float64] = field(default_factory=list)
    evidence: list[Float64] = field(default_factory=list)


def watch(
    pool: Pool,
    factors: Factors,
    limits: Float64,
    walk: Callable[[int], Float64],
    minutes: int,
    generator: np.random.Generator,
    *,
    state: Float64 | None = None,
    pods: int = 1,
    keep: Sequence[int] = (),
    until_first: bool = False,
    on_assessment: Callable[[Float64], Any] | None = None,
) -> tuple[Outcome, Float64]:
    """Run the detector on every stream: shapes of `limits` `(streams, statistics)`; `walk(n)` gives `(streams, n)`.

    Where `walk` gives fewer, they are repeated: the same assessments are judged by several limits.

    With several pods each stream has so many, one after the other in `limits` and `walk`, and an alarm is that of their
    mean, which stands until the pods that raised it have cleared.
    """
    streams, statistics = limits.shape
    kept = np.asarray(keep, dtype=np.int64)
    groups = streams // pods
    places = factors.places(limits)
    log_evidence = np.full((streams, statistics, len(FRACTIONS)), -np.inf) if state is None else state
    clearing = np.full_like(log_evidence, -np.inf)
    standing = np.zeros(streams, dtype=bool)
    raised = np.zeros((groups, pods), dtype=bool)
    outcome = Outcome(*(np.zeros(groups, dtype=np.int64) for _ in range(3)))
    for begin in range(0, minutes, 240):
        level = walk(min(240, minutes - begin))
        copies = streams // len(level)
        positions = np.tile(_position(level, generator), (copies, 1))
        drawn = np.tile(generator.integers(0, pool.values.shape[1], size=level.shape), (copies, 1))
        for step in range(level.shape[1]):
            at, which = positions[:, step], drawn[:, step]
            log_evidence = advanced(log_evidence, factors.look_up(factors.above, places, at, which))
            evidence = mean_evidence(log_evidence)
            if standing.any():
                those = np.flatnonzero(standing)
                of_those = (places[0][those], places[1][those])
                back = factors.look_up(factors.below, of_those, at[those], which[those])
                clearing[those] = advanced(clearing[those], back)
                cleared = those[clearing_evidence(clearing[those]) >= CLEAR_EVIDENCE]
                log_evidence[cleared] = clearing[cleared] = -np.inf
                evidence[cleared] = 0.0
                standing[cleared] = False
            standing |= evidence >= THRESHOLD
            raised &= standing.reshape(groups, pods)
            begins = (evidence.reshape(groups, pods).mean(axis=1) >= THRESHOLD) & ~raised.any(axis=1)
            raised[begins] = standing.reshape(groups, pods)[begins]
            outcome.episodes += begins
            outcome.standing += raised.any(axis=1)
            outcome.first[begins & (outcome.first == 0)] = begin + step + 1
            if len(kept):
                outcome.errors.append(pool.errors[at[kept], which[kept]])
                outcome.evidence.append(evidence[kept])
            if on_assessment:
                on_assessment(pool.errors[at, which])
        if until_first and bool((outcome.first > 0).all()):
            break
    return outcome, log_evidence
