"""Bounds of the error under noise: of a further trial, of a further prediction, of the whole curve.

Each is a different quantity with its own promise; none is ever published under another's name. The bound of the mean
over all inputs is in `mean_bound`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError, TooFewTrialsError
from robmon.robustness.arrays import Float64, numbers
from robmon.robustness.checks import ASSURANCE, needed_trials
from robmon.robustness.statistics import beta, student
from robmon.vocabulary import order_statistic_rank

CALIBRATION_STEP = 20
"""Trials that calibrate the band are a multiple of this, less one: then 50, 80, 90 and 95 % are met exactly."""


@lru_cache(maxsize=1024)
def tolerance_rank(count: int, confidence: float) -> int:
    """The smallest rank k whose order statistic covers at least `confidence` with 95 % assurance.

    That of `count` i.i.d. draws covers a share distributed as Beta(k, count + 1 - k), or more where draws tie (Wilks
    1941). Above `count` where no rank is enough.

    >>> tolerance_rank(59, 0.95), tolerance_rank(93, 0.95), tolerance_rank(58, 0.95)
    (59, 92, 59)
    """

    def is_assured(rank: int) -> bool:
        return beta.cdf(confidence, rank, count + 1 - rank) <= 1.0 - ASSURANCE

    return 1 + bisect_left(range(1, count + 1), True, key=is_assured)


def upper_bound(trial_mse: ArrayLike, confidence: float = 0.95, method: str = "order_statistic") -> float:
    """The trial bound U: the MSE of a further trial on the same rows is at most U with probability `confidence`.

    Args:
        trial_mse: shape `(T,)`, the MSE of each trial, in squared output units. The trials must be independent and
            their number fixed beforehand.
        confidence: the stated probability, an average over assessments.
        method:
            - `order_statistic`: the k-th smallest trial MSE, `k = ceil((T + 1) * confidence)`; a further trial is at
              most that with probability `k / (T + 1)`, more where trials tie. Assumes nothing but i.i.d. trials. Given
              one set of trials the probability is Beta(k, T + 1 - k) distributed (David & Nagaraja, Order Statistics,
              2003, section 7.3).
            - `tolerance`: the smallest order statistic whose probability, given the trials, is at least `confidence`
              for 95 % of all sets of trials. Assumes i.i.d. trials (Wilks, Ann. Math. Statist. 12, 1941).
            - `cantelli`: `mean + s * sqrt((1 + 1/T) * confidence / (1 - confidence))`: Cantelli's inequality with mean
              and standard deviation s estimated, which costs it its guarantee. A comparator, and for most laws a very
              loose one (Cantelli, Sui confini della probabilità, 1928).
            - `student_t`: `mean + t * s * sqrt(1 + 1/T)`, t the quantile with T - 1 degrees of freedom: the prediction
              interval of normal trial MSEs, exact for them only. A comparator (Hahn & Meeker, Statistical Intervals,
              1991, chapter 4).

    Returns:
        U, in the units of `trial_mse`; +Inf when any trial is not finite.

    Raises:
        TooFewTrialsError: the bound does not exist with so few trials; names the number needed.
        InvalidInputError: no trials in one row, confidence or method not usable.

    >>> upper_bound(range(1, 20))
    19.0
    >>> upper_bound([1.0, 2.0, 3.0])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    robmon.errors.TooFewTrialsError: 3 trials are too few for a 0.95 bound by order_statistic: at least 19 ...
    """
    trials = numbers(trial_mse, "trial MSEs")
    if trials.ndim != 1:
        raise InvalidInputError(f"trial MSEs must be one row of numbers, not of shape {trials.shape}")
    needed = needed_trials(confidence, method)
    if trials.size < needed:
        raise TooFewTrialsError(trials.size, needed, confidence, method)
    if not np.all(np.isfinite(trials)):
        return math.inf
    return _METHODS[method](trials, confidence)


def _order_statistic(trials: Float64, confidence: float) -> float:
    return _smallest(trials, order_statistic_rank(trials.size, confidence))


def _tolerance(trials: Float64, confidence: float) -> float:
    return _smallest(trials, tolerance_rank(trials.size, confidence))


def _smallest(values: Float64, rank: int) -> float:
    """The value of this rank; of the largest one where rounding alone has put the rank above it."""
    index = min(rank, values.size) - 1
    return float(np.partition(values, index)[index])


def _cantelli(trials: Float64, confidence: float) -> float:
    return float(trials.mean() + _spread(trials) * math.sqrt(confidence / (1.0 - confidence)))


def _student_t(trials: Float64, confidence: float) -> float:
    return float(trials.mean() + _spread(trials) * _student_quantile(confidence, trials.size - 1))


_student_quantile = lru_cache(maxsize=1024)(student.quantile)


def _spread(trials: Float64) -> float:
    """Standard deviation of a further trial about the mean of these."""
    return float(trials.std(ddof=1)) * math.sqrt(1.0 + 1.0 / trials.size)


_METHODS: dict[str, Callable[[Float64, float], float]] = {
    "order_statistic": _order_statistic,
    "tolerance": _tolerance,
    "cantelli": _cantelli,
    "student_t": _student_t,
}


def request_bound(row_errors: ArrayLike, confidence: float = 0.95) -> float | None:
    """The request bound V: the row error of a further prediction is at most V with probability `confidence`.

    The k-th smallest of n row errors, `k = ceil((n + 1) * confidence)`: split conformal prediction without a model
    (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005). The rows, new one included, must be
    exchangeable, and the noise of one row independent of another's.

    Args:
        row_errors: shape `(n,)`, the row errors of one trial (never averages over trials), in squared output units.
        confidence: the stated probability.

    Returns:
        V in squared output units; None where `k > n`; +Inf when an error is not finite.

    Raises:
        InvalidInputError: no row errors in one row, or the confidence is no probability.

    >>> request_bound(range(1, 40)), request_bound([1.0, 2.0])
    (38.0, None)
    """
    errors = np.asarray(row_errors, dtype=np.float64)
    if errors.ndim != 1:
        raise InvalidInputError(f"row errors must be one row of numbers, not of shape {errors.shape}")
    if errors.size < needed_trials(confidence):
        return None
    return _order_statistic(errors, confidence) if np.all(np.isfinite(errors)) else math.inf


def curve_band(trial_mse: ArrayLike, confidence: float = 0.95) -> Float64 | None:
    """An upper band of the whole curve: with probability `confidence` a further trial stays under it at every level.

    The first trials give its shape, mean and standard deviation per level; the m others calibrate its height: the score
    of a trial is its largest excess over the mean in standard deviations, and the band is the k-th smallest score,
    `k = ceil((m + 1) * confidence)`. Exact for i.i.d. trials, whatever the dependence between levels (split conformal
    prediction; Diquigiovanni, Fontana & Vantini, J. Multivariate Anal. 189, 2022, arXiv 2106.01792). A band by largest
    ranks over the levels, made exact likewise, is infinite for most curves of 39 trials and wider for most of 199.

    m is at least 19, else at most two thirds, and always one less than a multiple of 20, whatever the confidence: so
    nothing is lost to rounding at the usual ones, and the band rises with confidence.

    Args:
        trial_mse: shape `(T, levels)`, squared output units, levels rising from 0. A first level without variation is
            the known point of the curve. At another one, where no trial differs yet, a further one may: it gets the
            width of the narrowest level that varies.
        confidence: the stated probability.

    Returns:
        shape `(levels,)`, +Inf at a level with an infinite trial; None where trials are too few: 21 are the least, and
        19 of those that calibrate (39 of 59 trials, 99 of 149) serve 95 % (97.5 %, 99 %).

    Raises:
        InvalidInputError: no row of levels a trial, or the confidence is no probability.

    >>> trials = np.random.default_rng(0).chisquare(50, size=(39, 2))
    >>> curve_band(trials).round(1).tolist(), curve_band(trials[:20]) is None
    ([64.8, 73.2], True)
    """
    trials = np.asarray(trial_mse, dtype=np.float64)
    if trials.ndim != 2:
        raise InvalidInputError(f"trial MSEs must be of shape (trials, levels), not {trials.shape}")
    calibrating = _calibrating(len(trials))
    if calibrating < needed_trials(confidence):
        return None
    band = np.full(trials.shape[1], np.inf)
    finite = np.all(np.isfinite(trials), axis=0)
    known = np.zeros_like(finite)
    known[:1] = finite[:1] & np.all(trials[:, :1] == trials[0, :1])
    band[known] = trials[0, known]
    if (uncertain := finite & ~known).any():
        those = trials[:, uncertain]
        band[uncertain] = _calibrated(those[:-calibrating], those[-calibrating:], confidence)
    return band


def _calibrating(trials: int) -> int:
    """How many of the trials give the band its height; 0 where at least two for its shape do not remain."""
    steps = max(1, (2 * trials // 3 + 1) // CALIBRATION_STEP)
    return steps * CALIBRATION_STEP - 1 if trials > CALIBRATION_STEP else 0


def _calibrated(shape: Float64, calibration: Float64, confidence: float) -> Float64:
    mean = shape.mean(axis=0)
    # Not every constant column has a standard deviation of exactly 0.
    deviation = np.where(np.ptp(shape, axis=0) > 0.0, shape.std(axis=0, ddof=1), np.inf)
    narrowest = deviation.min()
    deviation = np.where(np.isfinite(deviation), deviation, narrowest if np.isfinite(narrowest) else 1.0)
    scores = np.max((calibration - mean) / deviation, axis=1)
    return np.asarray(mean + _smallest(scores, order_statistic_rank(len(scores), confidence)) * deviation)
